"""What only a MongoDB can do to an archive: hold documents of artdaq's own provider, refuse large ones, be away."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from uuid import uuid4

import pymongo
import pytest
from bson import ObjectId

from rra_state.base.errors import ConfigError, RecordError, StoreUnavailable
from rra_state.config.models import ArtdaqDBSection
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import mongo
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.artdaqdb.mongo import MongoDB
from tests.unit.stores.artdaqdb.artdaqdb_helpers import TIME, record, stage, store


@pytest.fixture
def uri(mongodb: str) -> Iterator[str]:
    name = f"u_{uuid4().hex}"
    yield f"{mongodb}/{name}"
    with pymongo.MongoClient(mongodb) as client:
        client.drop_database(name)


def write_as_artdaq(uri: str, run: int, entity: str) -> None:
    """A document as artdaq's MongoDB provider leaves it: an object id of its own, no raw data, no version of ours."""
    version = documents.RunVersion(run, f"{run}/standard", f"{run}/standard", TIME, 1, "")
    [document] = [each for each in record(run).documents if each.entity == entity]
    tree = documents.tree(document, version)
    tree["origin"]["rawdata"] = []
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["RunHistory"].insert_one({**tree, "_id": ObjectId()})


def test_documents_of_artdaq_are_listed_and_read(uri: str) -> None:
    write_as_artdaq(uri, 7, "component01")
    db = MongoDB(uri)

    assert db.runs() == {7}
    export = db.export(db.locate([7])[7])
    assert (list(export.files), export.exact) == (["component01.fcl"], False)


def test_a_run_of_artdaq_is_extended_and_its_documents_stay(uri: str) -> None:
    write_as_artdaq(uri, 7, "component01")
    db = MongoDB(uri)

    store(db, record(7), record(8))

    assert db.locate([7])[7].version == "7/standardv1"
    assert db.export(db.locate([7])[7]).files == {each.name: each.text for each in record(7).documents}
    with pymongo.MongoClient(uri) as client:
        assert client.get_default_database()["RunHistory"].count_documents({"rra": None}) == 1


def test_documents_keep_the_form_that_artdaq_reads(uri: str) -> None:
    store(MongoDB(uri), record(7))

    oid = ObjectId(documents.object_id("RunHistory", "7/standard", "component01"))
    with pymongo.MongoClient(uri) as client:
        [found] = client.get_default_database()["RunHistory"].find({"_id": oid})

    assert isinstance(found["_id"], ObjectId)
    assert found["document"]["data"]["main"] == {"id": "7"}
    assert (found["version"], found["runs"][0]["name"], found["collection"]) == ("7/standard", "7", "RunHistory")


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
    """NX-27017 takes such an index, so what is asked for is looked at."""
    store(MongoDB(uri), record(7))

    found = indexes(uri)
    assert {"configurations", "entities", "runs"} <= arrays()
    assert found["RunHistory"].keys() > {"_id_"}
    assert not [fields for each in found.values() for fields in each.values() if two_arrays(fields)]


def test_our_old_index_over_two_arrays_is_dropped(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """NX-27017 gives an index another name than it was made under, so the name to look for is the one it shows."""
    name, keys = mongo.OVER_TWO_ARRAYS
    with pymongo.MongoClient(uri) as client:
        made = client.get_default_database()["RunHistory"].create_index(keys)
    [shown] = [name for name, fields in indexes(uri)["RunHistory"].items() if two_arrays(fields)]
    monkeypatch.setattr(mongo, "OVER_TWO_ARRAYS", (shown, keys))

    store(MongoDB(uri), record(7))

    assert made == name
    assert shown not in indexes(uri)["RunHistory"]


def test_an_index_over_two_arrays_that_is_not_ours_stays(uri: str) -> None:
    _, keys = mongo.OVER_TWO_ARRAYS
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["RunHistory"].create_index(keys[::-1], name="of_the_site")
    before = indexes(uri)["RunHistory"]

    MongoDB(uri)._prepare()  # without a document, which a MongoDB would refuse under it

    assert before == {name: fields for name, fields in indexes(uri)["RunHistory"].items() if name in before}


def test_our_key_specifications_never_name_two_arrays() -> None:
    assert [keys for keys in mongo.INDEXES.values() if two_arrays([field for field, _ in keys])] == []


def test_a_run_with_a_too_large_document_fails_alone(uri: str) -> None:
    db = MongoDB(uri)
    large = {"large.fcl": b'text: "' + b"x" * 2**23 + b'"\n'}

    outcomes = db.stage([record(1), record(2, large), record(3)], {})

    assert isinstance(outcomes[1], RecordError)
    assert "run 2: MongoDB does not take its documents" in str(outcomes[1])
    db.publish([each for each in outcomes if isinstance(each, Staged)])
    assert db.runs() == {1, 3}


def test_what_another_archiver_staged_meanwhile_is_not_shown_as_ours(uri: str) -> None:
    db = MongoDB(uri)
    ours = stage(db, record(1, {"a.fcl": b"x: 1\n"}))
    stage(MongoDB(uri), record(1, {"a.fcl": b"x: 2\n"}))

    with pytest.raises(StoreUnavailable, match="another archiver stores run 1"):
        db.publish(ours)

    assert db.runs() == set()


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
