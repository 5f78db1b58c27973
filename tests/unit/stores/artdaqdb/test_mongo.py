"""What only a MongoDB can do to an archive: hold what artdaq's own provider does there, refuse, lack transactions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pymongo
import pytest
from bson import ObjectId

from rra_state.base.errors import RecordError, StoreUnavailable
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import mongo_layout as layout
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.artdaqdb.mongo import MongoDB
from tests.unit.stores.artdaqdb.artdaq_mongo import ArtdaqMongo
from tests.unit.stores.artdaqdb.artdaqdb_helpers import TIME, record, stage, store


@pytest.fixture
def artdaq(uri: str) -> Iterator[ArtdaqMongo]:
    """artdaq's tools at work on the same database."""
    with ArtdaqMongo(uri) as tools:
        yield tools


def test_documents_of_artdaq_are_listed_and_read(uri: str, artdaq: ArtdaqMongo) -> None:
    artdaq.load(7)
    db = MongoDB(uri)

    assert db.runs() == {7}
    export = db.export(db.locate([7])[7])
    assert (list(export.files), export.exact) == (["component01.fcl"], False)


def test_a_run_of_artdaq_is_extended_and_its_documents_stay(uri: str, artdaq: ArtdaqMongo) -> None:
    artdaq.load(7)
    db = MongoDB(uri)

    store(db, record(7), record(8))

    assert db.locate([7])[7].version == "7/standardv1"
    assert db.export(db.locate([7])[7]).files == {each.name: each.text for each in record(7).documents}
    with pymongo.MongoClient(uri) as client:
        assert client.get_default_database()["RunHistory"].count_documents({"version": "7/standard"}) == 1


def test_documents_keep_the_form_that_artdaq_reads(uri: str) -> None:
    store(MongoDB(uri), record(7))

    oid = ObjectId(documents.object_id("RunHistory", "7/standard", "component01"))
    with pymongo.MongoClient(uri) as client:
        [found] = client.get_default_database()["RunHistory"].find({"_id": oid})

    assert isinstance(found["_id"], ObjectId)
    assert found["document"]["data"]["main"] == {"id": "7"}
    assert (found["version"], found["runs"][0]["name"], found["collection"]) == ("7/standard", "7", "RunHistory")


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


def texts(run: int, files: dict[str, bytes] | None = None) -> dict[str, bytes]:
    return {each.name: each.text for each in record(run, files).documents}


def read(uri: str, run: int) -> dict[str, bytes]:
    """The files of a run, as another archiver reads them."""
    db = MongoDB(uri)
    return db.export(db.locate([run])[run]).files


def test_case_g2_artdaqs_tools_do_all_that_they_do_without_us(uri: str, artdaq: ArtdaqMongo) -> None:
    artdaq.load(5)
    store(MongoDB(uri), record(7))
    stage(MongoDB(uri), record(8))

    assert artdaq.database["RunHistory"].count_documents({}) == 7
    assert artdaq.find_entities() == ["boot", "component01", "odd"]
    assert artdaq.find_configurations() == ["5/standard", "7/standard"]
    assert artdaq.composition("7/standard") == ["boot", "component01", "odd"]
    assert artdaq.export_database().keys() == {"RunHistory"}


def test_case_g2_documents_are_those_of_the_provider(uri: str, artdaq: ArtdaqMongo) -> None:
    artdaq.load(5)
    store(MongoDB(uri), record(7))

    [theirs] = artdaq.database["RunHistory"].find({"version": "5/standard"})
    ours = list(artdaq.database["RunHistory"].find({"version": "7/standard"}))
    assert [list(each) for each in ours] == [list(theirs)] * 3
    assert all(isinstance(each["_id"], ObjectId) for each in ours)


def test_case_g3_a_run_that_artdaq_rewrote_is_read_whole(uri: str, artdaq: ArtdaqMongo) -> None:
    db = MongoDB(uri)
    store(db, record(7))
    located, before = db.locate([7])[7], db.stamp()

    artdaq.assign("7/standard", "boot", "7/golden")

    assert db.stamp() != before
    found = db.locate([7])[7]
    assert found == located
    assert found.passed_over == ("documents of it are assigned to 7/golden as well",)
    assert read(uri, 7) == db.export(located).files == texts(7)
    assert not store(db, record(7))[0].changed


def test_case_g3_a_rewritten_version_does_not_mix_with_the_one_before(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), record(7))
    store(MongoDB(uri), record(7, {"a.fcl": b"x: 1\n"}))

    artdaq.rewrite({"version": "7/standardv1"}, changelog="looked at")

    assert read(uri, 7) == {"a.fcl": b"x: 1\n"}


def test_case_g4_another_programs_documents_beside_ours_are_a_finding(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), record(7))

    artdaq.load(7, ["boot", "component01", "extra"])

    assert read(uri, 7) == texts(7)
    assert MongoDB(uri).locate([7])[7].beside == ("3 documents of another program under version 7/standard as well",)


def test_case_a17_another_runs_file_under_our_version_is_a_finding(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), record(7))

    artdaq.load(7, ["component09"], of=8)

    assert read(uri, 7) == texts(7)
    assert "1 document of another program" in MongoDB(uri).locate([7])[7].beside[0]


def test_case_g8_artdaqs_backup_brings_our_runs_back(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), record(7), record(8))
    exported = artdaq.export_database()
    artdaq.client.drop_database(artdaq.database)

    artdaq.import_database(exported)

    assert MongoDB(uri).runs() == {7, 8}
    assert read(uri, 7) == texts(7)


def test_case_g9_one_run_is_found_by_an_index(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), *map(record, range(1, 5)))
    history = artdaq.database["RunHistory"]

    plans = [
        history.find(found, layout.HEAD).explain()["queryPlanner"]["winningPlan"]
        for found in ({"version": {"$in": ["3/standard"]}}, {"runs.name": {"$in": ["3"]}})
    ]

    assert all("IXSCAN" in str(plan) for plan in plans)
    assert "rra:base64" not in str(list(history.find({}, layout.HEAD)))


def test_case_g9_a_thousand_runs_of_another_program_are_listed(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), record(1))
    artdaq.database["RunHistory"].insert_many({"version": f"{run}/standard"} for run in range(2, 1001))

    assert MongoDB(uri).runs() == set(range(1, 1001))


def test_a_run_that_lost_a_document_is_not_listed(uri: str, artdaq: ArtdaqMongo) -> None:
    store(MongoDB(uri), record(7), record(8))

    artdaq.database["RunHistory"].delete_one({"version": "7/standard", "entities.name": "boot"})

    assert MongoDB(uri).runs() == MongoDB(uri).locate([7, 8]).keys() == {8}
    store(MongoDB(uri), record(7))
    assert MongoDB(uri).runs() == {7, 8}
    assert read(uri, 7) == texts(7)


def test_a_version_not_named_after_its_run_is_found(uri: str, artdaq: ArtdaqMongo) -> None:
    artdaq.load(7, configuration="by_hand")
    store(MongoDB(uri), record(8))
    db = MongoDB(uri)

    assert db.runs() == {7, 8}
    assert [each.configuration for each in db.locate([7, *range(1000, 1100)]).values()] == ["by_hand"]
    assert db.locate([7])[7].version == "by_hand"


def test_case_g10_the_database_is_as_the_provider_leaves_one(uri: str, artdaq: ArtdaqMongo) -> None:
    db = MongoDB(uri)
    db.check()
    assert artdaq.database.list_collection_names() == []

    store(db, record(7))

    assert sorted(artdaq.database.list_collection_names()) == ["RunHistory", "SystemMetadata"]
    [metadata] = artdaq.database["SystemMetadata"].find()
    assert (metadata["document"]["name"], metadata["document"]["uri"]) == ("artdaq", uri)
    assert metadata["document"]["database_format"] == 3
    assert isinstance(metadata["_id"], ObjectId)


@pytest.mark.parametrize("shown", [0, 1], ids=["staged", "shown in part"])
def test_case_g12_what_a_broken_try_left_is_removed(uri: str, artdaq: ArtdaqMongo, shown: int) -> None:
    [staged] = stage(MongoDB(uri), record(7, {"a.fcl": b"x: 1\n", "lost.fcl": b"x: 1\n"}))
    for item in staged.location.items[:shown]:
        artdaq.database["RunHistory"].update_one(*layout.shown(staged, item))
    assert MongoDB(uri).runs() == set()

    store(MongoDB(uri), record(7, {"a.fcl": b"x: 1\n"}))

    assert artdaq.composition("7/standard") == ["a"]
    assert artdaq.database["RunHistory"].count_documents({}) == 1
    assert read(uri, 7) == {"a.fcl": b"x: 1\n"}


def nested(levels: int) -> bytes:
    return b"a: " + b"{b: " * levels + b"1" + b"}" * levels + b"\n"


def test_case_g13_what_is_too_deep_for_bson_is_kept_as_text(uri: str, artdaq: ArtdaqMongo) -> None:
    deep = {"deep.fcl": nested(120), "flat.fcl": nested(20)}

    [staged] = store(MongoDB(uri), record(7, deep))

    assert [str(remark) for remark in staged.remarks] == [f"deep.fcl: {layout.TOO_DEEP}; kept as text"]
    assert read(uri, 7) == deep
    stored = {each["origin"]["name"]: each for each in artdaq.database["RunHistory"].find()}
    assert stored["deep"]["document"]["data"]["main"] == {}
    assert stored["flat"]["document"]["data"]["main"] != {}


def test_case_g13_a_refused_document_is_the_runs_own_failure(uri: str, artdaq: ArtdaqMongo) -> None:
    artdaq.database.create_collection("RunHistory", validator={"origin.name": {"$ne": "bad"}})

    outcomes = MongoDB(uri).stage([record(1), record(2, {"a.fcl": b"x: 1\n", "bad.fcl": b"x: 1\n"}), record(3)], {})

    assert isinstance(outcomes[1], RecordError)
    assert str(outcomes[1]).startswith("run 2: MongoDB does not take its documents: Document failed validation")
    assert artdaq.database["RunHistory"].count_documents({}) == 6
    MongoDB(uri).publish([each for each in outcomes if isinstance(each, Staged)])
    assert MongoDB(uri).runs() == {1, 3}


def test_a_file_of_two_thousand_keys_comes_back_whole(uri: str) -> None:
    text = b"".join(b"key_%d: %d\n" % (number, number) for number in range(2_000))

    store(MongoDB(uri), record(1, {"large.fcl": text}))

    assert read(uri, 1) == {"large.fcl": text}


def as_2911493(artdaq: ArtdaqMongo, run: int, *, visible: bool, without: str = "") -> None:
    """A run as that version of the archiver stored it: one more key, and a document of the version beside."""
    document, now = record(run).documents, TIME
    digest = documents.content_digest((each.name, each.text, each.source) for each in document)
    version = documents.RunVersion(run, f"{run}/standard", f"{run}/standard", now, len(document), digest)
    trees: list[dict[str, Any]] = [documents.tree(each, version) for each in document if each.entity != without]
    for tree in trees:
        artdaq.database["RunHistory"].insert_one({**tree, "_id": ObjectId(tree["_id"]["$oid"]), "rra": 1})
    items = [["RunHistory", each.entity, "0" * 24] for each in document]
    own = {"_id": f"{run}/standard", "run": run, "configuration": f"{run}/standard", "visible": visible, "items": items}
    artdaq.database["rra_versions"].insert_one(own)


def test_an_archive_of_2911493_is_read(uri: str, artdaq: ArtdaqMongo) -> None:
    as_2911493(artdaq, 7, visible=True)
    as_2911493(artdaq, 8, visible=False, without="boot")

    assert MongoDB(uri).runs() == {7}
    assert read(uri, 7) == texts(7)
    store(MongoDB(uri), record(7), record(8))
    assert MongoDB(uri).locate([7, 8]).keys() == {7, 8}
    assert {each.version for each in MongoDB(uri).locate([7, 8]).values()} == {"7/standard", "8/standard"}
