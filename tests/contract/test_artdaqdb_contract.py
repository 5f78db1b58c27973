"""What every kind of artdaqDB owes the archiver, one case after the other on each of them.

Several programs at once, and programs that are cut off: test_artdaqdb_contract_together.py.
"""

from __future__ import annotations

from typing import Any

import pytest

from rra_state.base.errors import ArchiverError, RecordError, StoreError, VerificationError
from rra_state.records.model import Document, RunDocuments
from rra_state.stores.artdaqdb.base import ArtdaqDB, Location, Staged
from tests.contract.kinds import Archive
from tests.unit.stores.artdaqdb.artdaqdb_helpers import record, stage, store

BIG = 2 * 2**20


@pytest.fixture
def db(archive: Archive) -> ArtdaqDB:
    return archive.open()


def files(run: RunDocuments) -> dict[str, bytes]:
    return {document.name: document.text for document in run.documents}


def newest(db: ArtdaqDB, run: int) -> Location:
    return db.locate([run])[run]


# ---- looking -------------------------------------------------------------------------------------------------------


def test_an_archive_that_was_never_written_is_empty_and_well(db: ArtdaqDB) -> None:
    db.check()

    assert (db.runs(), db.locate([1])) == (set(), {})


def test_looking_makes_nothing(archive: Archive) -> None:
    db = archive.open()
    before = db.stamp()

    db.check()
    db.runs()

    assert archive.open().stamp() == before


def test_the_archive_says_what_it_is_without_a_secret(db: ArtdaqDB) -> None:
    assert "artdaqDB" in db.describe()
    assert "@" not in db.describe()


def test_runs_are_listed_once_however_many_versions_they_have(db: ArtdaqDB) -> None:
    store(db, record(1), record(10), record(100))
    store(db, record(10, {"a.fcl": b"x: 1\n"}))

    assert db.runs() == {1, 10, 100}


def test_a_run_is_located_with_its_configuration_version_and_documents(db: ArtdaqDB) -> None:
    store(db, record(300, config="demo_2.1+x"))

    location = newest(db, 300)

    assert (location.run, location.configuration, location.version) == (300, "300/demo_2.1+x", "300/demo_2.1+x")
    assert [(item.collection, item.entity) for item in location.items] == [
        ("RunHistory", "boot"),
        ("RunHistory", "component01"),
        ("RunHistory", "odd"),
        ("SystemLayout", "schema"),
    ]


def test_missing_runs_are_not_located(db: ArtdaqDB) -> None:
    store(db, record(1), record(3))

    assert set(db.locate([1, 2, 3, 4])) == {1, 3}


def test_an_outline_has_the_newest_version_and_whether_whole(db: ArtdaqDB) -> None:
    store(db, record(1), record(2, {"boot.fcl": b"x: 1\n"}), record(3))
    store(db, record(1, {"boot.fcl": b"x: 2\n", "metadata.fcl": b"x: 2\n"}))

    outlines = {each.run: each for each in db.outlines([1, 2, 4], ["boot", "metadata"])}

    assert {run: each.whole for run, each in outlines.items()} == {1: True, 2: False}
    located = newest(db, 1)
    assert (outlines[1].version, outlines[1].configuration) == (located.version, located.configuration)
    assert [each.whole for each in db.outlines([3], ["schema"])] == [False]
    assert [each.whole for each in db.outlines([3], [])] == [True]


def test_one_hundred_thousand_runs_are_listed(archive: Archive) -> None:
    archive.fill(100_000)
    db = archive.open()

    assert db.runs() == set(range(1, 100_001))


# ---- storing -------------------------------------------------------------------------------------------------------


def test_staged_runs_are_not_visible(archive: Archive) -> None:
    db = archive.open()

    stage(db, record(1))

    assert db.runs() == archive.open().runs() == set()
    assert db.locate([1]) == {}


def test_what_is_published_is_seen_by_everybody(archive: Archive) -> None:
    db, other = archive.open(), archive.open()
    other.runs()

    db.publish(stage(db, record(1)))

    assert db.runs() == other.runs() == archive.open().runs() == {1}


def test_a_chunk_gives_one_outcome_per_run_in_its_order(db: ArtdaqDB) -> None:
    numbers = [7, 3, 25, 4, 1]

    staged = stage(db, *map(record, numbers))

    assert [each.location.run for each in staged] == numbers
    assert all(each.changed for each in staged)


def test_an_empty_chunk_is_nothing(db: ArtdaqDB) -> None:
    assert db.stage([], {}) == []

    db.publish([])

    assert db.runs() == set()


@pytest.mark.parametrize(
    "bad",
    [
        {'quote".fcl': b"a: 1\n"},
        {"boot": b"a: 1\n", "boot.fcl": b"a: 1\n"},
        {"deep.fcl": b"a: " + b"[" * 3000 + b"]" * 3000},
        {"broken.fcl": b"a: [1,\n"},
    ],
    ids=["name", "two of one name", "nested too deeply", "not FHiCL"],
)
def test_a_run_that_cannot_be_stored_fails_alone(db: ArtdaqDB, bad: dict[str, bytes]) -> None:
    outcomes = db.stage([record(1), record(2, bad), record(3)], {})

    assert isinstance(outcomes[1], RecordError)
    assert outcomes[1].run == 2
    db.publish([each for each in outcomes if isinstance(each, Staged)])
    assert db.runs() == {1, 3}


def test_a_run_is_shown_whole(db: ArtdaqDB) -> None:
    many = {f"component{number:03d}.fcl": b"id: %d\n" % number for number in range(160)}

    store(db, record(1, many))

    assert db.export(newest(db, 1)).files == many


def test_publishing_twice_changes_nothing(db: ArtdaqDB) -> None:
    staged = stage(db, record(1), record(2))
    db.publish(staged)
    before, location = db.stamp(), newest(db, 1)

    db.publish(staged)

    assert (db.stamp(), newest(db, 1), db.runs()) == (before, location, {1, 2})


def test_staged_but_unpublished_documents_are_replaced(archive: Archive) -> None:
    stage(archive.open(), record(1, {"a.fcl": b"x: 1\n", "left.fcl": b"x: 1\n"}))
    db = archive.open()

    store(db, record(1, {"a.fcl": b"x: 2\n"}))

    assert newest(db, 1).version == "1/standard"
    assert db.export(newest(db, 1)).files == {"a.fcl": b"x: 2\n"}


def test_a_bad_schema_is_no_runs_fault(archive: Archive) -> None:
    db = archive.open(schema=b"main: {\n  a-b: 1\n}\n")

    with pytest.raises(StoreError, match=r"schema\.fcl line 2"):
        db.stage([record(1)], {})
    with pytest.raises(StoreError, match=r"schema\.fcl line 2"):
        db.check()


# ---- again, and otherwise ------------------------------------------------------------------------------------------


def test_the_same_content_again_changes_nothing(archive: Archive) -> None:
    store(archive.open(), record(1))
    db = archive.open()
    before, location = db.stamp(), newest(db, 1)

    again = store(db, record(1))

    assert [(each.changed, each.location) for each in again] == [(False, location)]
    assert db.stamp() == before


def test_another_schema_is_no_other_content(archive: Archive) -> None:
    store(archive.open(), record(1))

    [again] = store(archive.open(schema=b"other: true\n"), record(1))

    assert not again.changed


def test_other_content_becomes_the_next_version(db: ArtdaqDB) -> None:
    store(db, record(1))
    old = newest(db, 1)

    [staged] = store(db, record(1, {"a.fcl": b"x: 1\n"}))

    assert (staged.changed, staged.location.configuration, staged.location.version) == (
        True,
        "1/standard",
        "1/standardv1",
    )
    assert newest(db, 1) == staged.location
    assert db.export(newest(db, 1)).files == {"a.fcl": b"x: 1\n"}
    assert db.export(old).files == files(record(1))


def test_the_next_version_stays_unseen_until_it_is_published(db: ArtdaqDB) -> None:
    store(db, record(1))

    stage(db, record(1, {"a.fcl": b"x: 1\n"}), known=db.locate([1]))

    assert newest(db, 1).version == "1/standard"
    assert db.export(newest(db, 1)).files == files(record(1))


def test_version_10_comes_after_version_9_and_none_is_deleted(db: ArtdaqDB) -> None:
    locations = []
    for number in range(12):
        store(db, record(1, {"a.fcl": b"x: %d\n" % number}))
        locations.append(newest(db, 1))

    assert locations[-1].version == "1/standardv11"
    assert [db.export(each).files["a.fcl"] for each in locations] == [b"x: %d\n" % number for number in range(12)]


def test_a_run_whose_configuration_changed_keeps_its_first_name(db: ArtdaqDB) -> None:
    store(db, record(1, config="one"))

    store(db, record(1, {"a.fcl": b"x: 1\n"}, config="two"))

    assert newest(db, 1).configuration == "1/one"
    assert newest(db, 1).version == "1/onev1"


def test_a_configuration_like_a_version_is_kept_apart(db: ArtdaqDB) -> None:
    store(db, record(1, config="av1"), record(11, config="av1"))

    assert newest(db, 1).version == newest(db, 1).configuration == "1/av1"
    assert newest(db, 11).configuration == "11/av1"


# ---- reading back --------------------------------------------------------------------------------------------------


def test_files_and_sources_are_read_back_byte_for_byte(archive: Archive) -> None:
    if not archive.kind.capabilities.byte_identical:
        pytest.skip("not here: this kind of store gives back what means the same, not the same bytes")
    db = archive.open()
    run = record(1)
    store(db, run)

    export = archive.open().export(newest(db, 1))

    assert export.exact
    assert export.files == files(run)
    assert set(export.sources) == {document.source for document in run.documents if document.source}


def test_the_schema_is_stored_but_not_exported(db: ArtdaqDB) -> None:
    store(db, record(1))

    assert "schema.fcl" not in db.export(newest(db, 1)).files


def test_without_a_schema_none_is_stored(archive: Archive) -> None:
    db = archive.open(schema=None)
    store(db, record(1))

    assert {item.collection for item in newest(db, 1).items} == {"RunHistory"}


def test_a_large_file_comes_back_whole(db: ArtdaqDB) -> None:
    text = b"".join(b"key_%d: %d\n" % (number, number) for number in range(BIG // 20))
    assert len(text) > BIG / 2

    store(db, record(1, {"large.fcl": text}))

    assert db.export(newest(db, 1)).files == {"large.fcl": text}


def test_a_missing_document_is_named_with_its_run(db: ArtdaqDB) -> None:
    store(db, record(1))
    whole = newest(db, 1)
    missing = Location(1, whole.configuration, whole.version, (*whole.items[:1], _no_such(whole)))

    with pytest.raises(VerificationError, match=r"run 1: .*nowhere"):
        db.export(missing)


def _no_such(location: Location) -> Any:
    return type(location.items[0])("RunHistory", "nowhere", "0" * 24)


def test_a_version_without_a_document_is_not_whole(db: ArtdaqDB) -> None:
    store(db, record(1))
    whole = newest(db, 1)

    with pytest.raises(VerificationError, match="missing or mixed"):
        db.export(Location(1, whole.configuration, whole.version, whole.items[1:]))


def test_an_error_of_one_run_is_an_archivers_error(db: ArtdaqDB) -> None:
    deep = RunDocuments(5, "standard", "standard", (Document("x\n.fcl", b"a: 1\n"),))

    [outcome] = db.stage([deep], {})

    assert isinstance(outcome, ArchiverError)
    assert not outcome.stops_cycle
