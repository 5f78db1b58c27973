"""The connection to a MongoDB: options of the URI, indexes, what --check finds, and how errors are reported."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

import pymongo
import pytest
from pymongo.client_session import ClientSession
from pymongo.errors import OperationFailure
from pymongo.uri_parser import parse_uri

import rra_state
from rra_state.base.errors import AccessDenied, ConfigError, StoreError, StoreUnavailable
from rra_state.config.models import ArtdaqDBSection
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import mongo_session, mongo_uri
from rra_state.stores.artdaqdb.mongo import MongoDB
from tests.faults.mongo_proxy import (
    IN_TRANSACTION,
    NO_MAJORITY,
    NOT_PRIMARY,
    STEPPED_DOWN,
    UNAUTHORIZED,
    Answer,
    MongoProxy,
    error,
)
from tests.unit.stores.artdaqdb.artdaqdb_helpers import TIME, record, stage, store

MAKES = ".create_index("


def indexes(uri: str) -> dict[str, dict[str, list[str]]]:
    """The fields of every index, by collection and name."""
    with pymongo.MongoClient(uri) as client:
        database = client.get_default_database()
        return {
            collection: {
                name: [field for field, _ in index["key"]]
                for name, index in database[collection].index_information().items()
            }
            for collection in database.list_collection_names()
        }


def arrays() -> set[str]:
    """The keys of a document that hold arrays."""
    version = documents.RunVersion(7, "7/standard", "7/standard", TIME, 1, "")
    return {key for key, value in documents.tree(record(7).documents[0], version).items() if isinstance(value, list)}


def two_arrays(fields: list[str]) -> bool:
    """Whether MongoDB refuses documents under an index of these fields: "cannot index parallel arrays" (171)."""
    return len({field.partition(".")[0] for field in fields} & arrays()) > 1


def test_no_index_of_ours_covers_two_arrays(uri: str) -> None:
    store(MongoDB(uri), record(7))

    found = indexes(uri)
    assert {"configurations", "entities", "runs"} <= arrays()
    assert found["RunHistory"].keys() > {"_id_"}
    assert not [fields for each in found.values() for fields in each.values() if two_arrays(fields)]


def test_our_old_index_over_two_arrays_is_dropped(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    name, keys = mongo_session.OVER_TWO_ARRAYS
    with pymongo.MongoClient(uri) as client:
        made = client.get_default_database()["RunHistory"].create_index(keys)
    [shown] = [name for name, fields in indexes(uri)["RunHistory"].items() if two_arrays(fields)]
    monkeypatch.setattr(mongo_session, "OVER_TWO_ARRAYS", (shown, keys))

    store(MongoDB(uri), record(7))

    assert made == name
    assert shown not in indexes(uri)["RunHistory"]


def test_an_index_over_two_arrays_that_is_not_ours_stays(uri: str) -> None:
    _, keys = mongo_session.OVER_TWO_ARRAYS
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["RunHistory"].create_index(keys[::-1], name="of_the_site")
    before = indexes(uri)["RunHistory"]

    MongoDB(uri)._prepare()  # without a document, which a MongoDB would refuse under it

    assert before == {name: fields for name, fields in indexes(uri)["RunHistory"].items() if name in before}


def test_case_g1_no_index_in_the_code_covers_two_arrays() -> None:
    """Whatever asks a MongoDB for an index is one call, and each of its indexes has one field."""
    package = Path(rra_state.__file__).parent
    calls = [line.strip() for path in package.rglob("*.py") for line in path.read_text().splitlines() if MAKES in line]

    assert calls == ["self.database[collection].create_index(field)"]
    assert all(isinstance(field, str) for fields in mongo_session.INDEXES.values() for field in fields)
    assert arrays() == set(mongo_session.ARRAYS) - {"aliases"}  # whose arrays are one level below


def test_case_g1_the_server_refuses_an_index_over_two_arrays(uri: str) -> None:
    """Otherwise the tests could not show that none is made."""
    store(MongoDB(uri), record(7))

    with (
        pymongo.MongoClient(uri) as client,
        pytest.raises(OperationFailure, match="cannot index parallel arrays") as no,
    ):
        client.get_default_database()["RunHistory"].create_index(mongo_session.OVER_TWO_ARRAYS[1])

    assert no.value.code == 171


def test_case_g1_check_finds_our_old_index(uri: str) -> None:
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["RunHistory"].create_index(mongo_session.OVER_TWO_ARRAYS[1])

    MongoDB(uri).check()

    [found] = [each for each in MongoDB(uri).remarks() if "index" in each]
    call = f"mongosh '{uri}' --eval 'db.RunHistory.dropIndex(\"configurations.name_1_entities.name_1\")'"
    assert found.endswith(f"the next cycle drops it, or you: {call}")


def test_case_g1_check_fails_with_another_index_over_two_arrays(uri: str) -> None:
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["RunHistory"].create_index([("runs.name", 1), ("entities.name", 1)], name="x")

    with pytest.raises(StoreError, match=r"index x covers two arrays.*dropIndex\(\"x\"\)"):
        MongoDB(uri).check()
    with pytest.raises(StoreError, match=r"cannot index parallel arrays .*\(code 171\) \(--check names the index"):
        MongoDB(uri).stage([record(7)], {})


def test_case_g2_check_names_the_collection_of_an_earlier_version(uri: str) -> None:
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["rra_versions"].insert_one({"_id": "7/standard"})

    assert f"drop it: mongosh '{uri}' --eval 'db.rra_versions.drop()'" in str(MongoDB(uri).remarks())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("tlsCertificateKeyFile=/nowhere/key.pem", "tlsCertificateKeyFile=/nowhere/key.pem cannot be read"),
        ("sslClientCertificateKeyFile=/nowhere/key.pem", "tlsCertificateKeyFile=/nowhere/key.pem cannot be read"),
        ("noSuchOption=s3cret", "pymongo does not know the option noSuchOption"),
        ("w=1&maxPoolSize=s3cret", "the option maxPoolSize has a value that it cannot have"),
    ],
)
def test_case_g6_a_bad_option_is_named(options: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as refused:
        MongoDB(f"mongodb://archiver:s3cret@127.0.0.1:1/db?{options}")

    assert "cret" not in str(refused.value)


def test_case_g6_libmongocs_names_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("")
    uri = f"mongodb://h/db?tls=true&sslCertificateAuthorityFile={file}&serverSelectionTryOnce=false"

    assert parse_uri(mongo_uri._with_todays_names(uri))["options"]["tlsCAFile"] == str(file)


def test_case_g6_the_name_of_the_replica_set_is_compared(uri: str) -> None:
    db = MongoDB(f"{uri}?replicaSet=other&serverSelectionTimeoutMS=300")

    with pytest.raises(StoreError, match=r"is in replica set secantus, not in other \(correct replicaSet"):
        db.check()


def test_case_g7_check_asks_which_database_is_meant(uri: str) -> None:
    store(MongoDB(f"{uri}_archive"), record(7))

    assert f"is {uri.rpartition('/')[2]}_archive meant? It exists" in str(MongoDB(uri).remarks())
    assert "meant?" not in str(MongoDB(f"{uri}_archive").remarks())
    with pymongo.MongoClient(uri) as client:
        client.drop_database(f"{uri.rpartition('/')[2]}_archive")


def test_case_g9_check_says_how_to_index_without_the_right_to(uri: str) -> None:
    store(MongoDB(uri), record(7))
    with pymongo.MongoClient(uri) as client, MongoProxy(uri) as proxy:
        client.get_default_database()["RunHistory"].drop_indexes()
        rights = [{"resource": {"db": "", "collection": ""}, "actions": ["find", "insert", "update", "remove"]}]
        users = {"authenticatedUsers": [{"user": "a", "db": "b"}], "authenticatedUserPrivileges": rights}
        proxy.answer(
            Answer("connectionStatus", {"ok": 1.0, "authInfo": users}, 9), Answer("createIndexes", UNAUTHORIZED, 9)
        )
        db = MongoDB(proxy.uri)

        store(db, record(8))

        assert db.runs() == {7, 8}
        assert sum("""RunHistory.createIndex({"version": 1})'""" in each for each in db.remarks()) == 1


def test_check_names_what_the_user_may_not(uri: str) -> None:
    with MongoProxy(uri) as proxy:
        rights = [{"resource": {"db": "", "collection": ""}, "actions": ["find"]}]
        users = {"authenticatedUsers": [{"user": "a", "db": "b"}], "authenticatedUserPrivileges": rights}
        proxy.answer(Answer("connectionStatus", {"ok": 1.0, "authInfo": users}))

        with pytest.raises(AccessDenied, match="the user may not insert, update, remove documents"):
            MongoDB(proxy.uri).check()


def test_case_g11_check_names_the_server(uri: str, mongodb_alone: str) -> None:
    assert re.fullmatch(r"MongoDB [0-9.]+, replica set secantus", MongoDB(uri).remarks()[0])
    assert MongoDB(f"{mongodb_alone}/db").remarks()[0].endswith("a server by itself, without transactions")


def test_case_g11_a_server_that_is_too_old_is_named(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the driver asks for more than the test server is."""
    monkeypatch.setattr("pymongo.common.MIN_SUPPORTED_WIRE_VERSION", 99)

    with pytest.raises(StoreError, match=r"reports wire version \d+, but this version of PyMongo requires at least 99"):
        MongoDB(uri).check()


def test_case_g5_the_servers_reason_is_reported(uri: str) -> None:
    with MongoProxy(uri) as proxy:
        proxy.answer(Answer("insert", error(14031, "OutOfDiskSpace", "No space left on device"), 9))

        with pytest.raises(StoreError, match=r"No space left on device \(code 14031\)"):
            MongoDB(proxy.uri).stage([record(7)], {})


# ---- elections ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answer",
    [
        Answer("insert", NOT_PRIMARY),
        Answer("update", IN_TRANSACTION),
        Answer("update", IN_TRANSACTION, passed_on=True),
        Answer("commitTransaction", STEPPED_DOWN),
        Answer("commitTransaction", STEPPED_DOWN, passed_on=True),
        Answer("insert", "cut", passed_on=True),
        Answer("find", NOT_PRIMARY),
        Answer("aggregate", IN_TRANSACTION),
    ],
    ids=lambda answer: f"{answer.command} {'done' if answer.passed_on else 'refused'}",
)
def test_an_election_in_mid_run_costs_nothing(uri: str, answer: Answer) -> None:
    with MongoProxy(uri) as proxy:
        db = MongoDB(proxy.uri)
        store(db, record(1))
        proxy.answer(answer)

        store(db, record(2))

        assert not proxy.unused
    found = MongoDB(uri)
    assert found.runs() == {1, 2}
    assert found.export(found.locate([2])[2]).exact


@pytest.mark.parametrize(
    "answer",
    [
        Answer("insert", NOT_PRIMARY, 9),
        Answer("insert", NO_MAJORITY, 9, passed_on=True),
        Answer("delete", STEPPED_DOWN, 9),
        Answer("find", NOT_PRIMARY, 9),
        Answer("insert", "cut", 9, passed_on=True),
        Answer("commitTransaction", error(91, "ShutdownInProgress", "The server is in quiesce mode"), 9),
    ],
    ids=lambda answer: f"{answer.command} {'done' if answer.passed_on else 'refused'}",
)
def test_a_set_that_stays_without_a_primary_is_an_outage(
    uri: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{ClientSession.__module__}._within_time_limit", lambda *_: False)  # two minutes
    stage(MongoDB(uri), record(2, {"left.fcl": b"x: 1\n"}))
    with MongoProxy(uri) as proxy:
        db = MongoDB(proxy.uri)
        store(db, record(1))
        proxy.answer(answer)

        with pytest.raises(StoreUnavailable, match="MongoDB at"):
            store(db, record(2))

    found = MongoDB(uri)
    assert found.runs() == {1}
    store(found, record(2))
    assert found.runs() == {1, 2}
    assert found.export(found.locate([2])[2]).exact


def test_a_missing_server_is_reported_without_the_password() -> None:
    db = MongoDB("mongodb://archiver:s3cret@127.0.0.1:1/db?serverSelectionTimeoutMS=300")

    with pytest.raises(StoreUnavailable, match=r"MongoDB at .*, database db: it does not answer") as refused:
        db.runs()

    assert "cret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize(
    "uri",
    [
        "mongodb://archiver:s3cret@127.0.0.1:1",
        "mongodb://archiver:s3/cret@127.0.0.1:1/db",
        "mongodb://archiver:s3@cret@127.0.0.1:1/db",
        "mongodb://archiver:s3%cret@127.0.0.1:1/db",
    ],
    ids=["no database", "slash", "at", "percent"],
)
def test_a_bad_uri_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigError, match="not a MongoDB URI with a database") as refused:
        artdaqdb.open_store(ArtdaqDBSection(database_uri=uri))

    assert "cret" not in "".join(traceback.format_exception(refused.value))
