"""Runs in a directory archive: stored, shown, stored again, in artdaq's own format."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from unittest import mock

import pytest

from rra_state.base import files
from rra_state.base.errors import FhiclError, RecordError, StoreError
from rra_state.records.model import Document, RunDocuments
from rra_state.stores.artdaqdb.base import ArtdaqDB, Staged
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from tests.unit.stores.artdaqdb.artdaqdb_helpers import SCHEMA, files_of, record, stage, store


def exported(path: Path, run: int) -> dict[str, bytes]:
    db = FilesystemDB(path)
    return db.export(db.locate([run])[run]).files


def test_a_run_comes_back_byte_for_byte_with_its_sources(path: Path, db: FilesystemDB) -> None:
    stored = record(300)

    store(db, stored)
    export = FilesystemDB(path).export(FilesystemDB(path).locate([300])[300])

    assert export.files == {each.name: each.text for each in stored.documents}
    assert export.sources == tuple(each.source for each in stored.documents if each.source)
    assert (export.run, export.version, export.exact) == (300, "300/standard", True)


def test_the_store_is_what_the_protocol_asks_for(db: FilesystemDB) -> None:
    store_: ArtdaqDB = db

    assert "artdaqDB directory" in store_.describe()


def test_staged_runs_are_invisible_until_they_are_published(path: Path, db: FilesystemDB) -> None:
    staged = stage(db, record(300), record(301))
    before = FilesystemDB(path).runs()

    db.publish(staged)

    assert before == set()
    assert FilesystemDB(path).runs() == {300, 301}


def test_an_archive_has_artdaqs_layout(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))

    metadata = [json.loads(each.read_bytes()) for each in (path / "SystemMetadata").glob("*.json")]
    schema = [each for each in (path / "SystemLayout").glob("*.json") if each.name != "index.json"]
    assert len(metadata) == len(schema) == 1
    assert metadata[0]["document"]["name"] == "artdaq"
    assert metadata[0]["document"]["uri"] == f"filesystemdb://{path}"
    assert metadata[0]["document"]["database_format"] == 3
    assert json.loads(schema[0].read_bytes())["entities"][0]["name"] == "schema"
    for document in (path / "RunHistory").glob("[!i]*.json"):
        tree = json.loads(document.read_bytes())
        assert tree["_id"]["$oid"] == document.stem
        assert len(document.stem) == 24


def test_without_a_schema_no_layout_document_is_written(path: Path) -> None:
    store(FilesystemDB(path), record(300))

    assert [each.name for each in (path / "SystemLayout").iterdir()] == ["index.json"]


def test_the_index_lists_each_document_under_every_name(path: Path, db: FilesystemDB) -> None:
    store(db, record(300, {"boot.fcl": b"a: 1\n"}))
    store(db, record(300, {"boot.fcl": b"a: 2\n"}))

    index = json.loads((path / "RunHistory/index.json").read_bytes())
    oids = index["ouid"]
    assert {key: len(items) for key, items in index["version"].items()} == {"300/standard": 1, "300/standardv1": 1}
    assert index["configurations.name"] == {"300/standard": oids}
    assert index["entities.name"] == {"boot": oids}
    assert index["runs.name"] == {"300": oids}
    assert index["configurations.assigned"].keys() == {"300/standard"}
    assert {f"{oid}.json" for oid in oids} | {"index.json"} == {each.name for each in (path / "RunHistory").iterdir()}


def test_the_same_content_again_changes_nothing(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    before = _written(path)

    (again,) = store(FilesystemDB(path, schema=SCHEMA), record(300))

    assert not again.changed
    assert _written(path) == before


def _written(path: Path) -> dict[Path, tuple[int, int, int]]:
    """What tells whether a file was written: reading changes its time of access."""
    found = {each: each.stat() for each in path.rglob("*")}
    return {each: (status.st_ino, status.st_size, status.st_mtime_ns) for each, status in found.items()}


def test_other_content_is_stored_as_the_next_version(path: Path, db: FilesystemDB) -> None:
    store(db, record(300, {"boot.fcl": b"a: 0\n"}))
    versions = []
    for number in range(1, 12):
        before = files_of(path)
        (staged,) = store(FilesystemDB(path), record(300, {"boot.fcl": f"a: {number}\n".encode()}, config="renamed"))
        versions.append((staged.location.configuration, staged.location.version))
        assert files_of(path).items() >= before.items()

    assert versions == [("300/standard", f"300/standardv{number}") for number in range(1, 12)]
    assert exported(path, 300) == {"boot.fcl": b"a: 11\n"}


@pytest.mark.parametrize("change", ["source", "name", "less"])
def test_any_difference_is_other_content(db: FilesystemDB, change: str) -> None:
    first = record(300)
    store(db, first)
    files = list(first.documents)
    if change == "less":
        del files[0]
    else:
        name = "boot2.fcl" if change == "name" else "boot.fcl"
        files[1] = Document(name, files[1].text, None if change == "source" else files[1].source)

    (staged,) = store(db, RunDocuments(300, "standard", "standard", tuple(files)))

    assert staged.location.version == "300/standardv1"


def test_what_a_try_without_publish_left_is_replaced(path: Path, db: FilesystemDB) -> None:
    db.stage([record(300, {"boot.fcl": b"a: 1\n", "gone.fcl": b"a: 1\n"})], {})

    (staged,) = store(FilesystemDB(path), record(300, {"boot.fcl": b"a: 2\n"}))

    assert staged.location.version == "300/standard"
    assert exported(path, 300) == {"boot.fcl": b"a: 2\n"}


def test_a_visible_version_unknown_to_the_caller_stays_unchanged(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    before = files_of(path)

    (same,) = stage(FilesystemDB(path, schema=SCHEMA), record(300))
    (other,) = stage(FilesystemDB(path), record(300, {"boot.fcl": b"a: 2\n"}))

    assert (same.changed, other.location.version) == (False, "300/standardv1")
    assert files_of(path).items() >= before.items()


def test_system_layout_is_published_before_run_history(path: Path, db: FilesystemDB) -> None:
    staged = stage(db, record(300))

    with mock.patch.object(files, "write_atomic", wraps=files.write_atomic) as write:
        db.publish(staged)

    assert [call.args[0].parent.name for call in write.call_args_list] == ["SystemLayout", "RunHistory"]


def test_documents_are_durable_in_one_batch_before_they_are_shown(path: Path, db: FilesystemDB) -> None:
    with mock.patch.object(files, "write_batch", wraps=files.write_batch) as write:
        store(db, *(record(run) for run in range(300, 310)))

    assert write.call_count == 1
    for run, location in db.locate(range(300, 310)).items():
        assert all((path / item.collection / f"{item.oid}.json").stat().st_size for item in location.items), run


def test_publishing_twice_lists_nothing_twice(path: Path, db: FilesystemDB) -> None:
    staged = store(db, record(300))
    before = (path / "RunHistory/index.json").read_bytes()

    FilesystemDB(path).publish(staged)

    assert (path / "RunHistory/index.json").read_bytes() == before


def test_one_bad_run_fails_alone(db: FilesystemDB) -> None:
    bad = [record(301, {"odd.fcl": b"a: %\n"}), record(302, {"\u00e9.fcl": b"a: 1\n"})]

    outcomes = db.stage([record(300), *bad, record(303)], {})
    db.publish([each for each in outcomes if isinstance(each, Staged)])

    assert isinstance(outcomes[1], FhiclError)
    assert (outcomes[1].run, outcomes[1].path) == (301, "odd.fcl")
    assert isinstance(outcomes[2], RecordError)
    assert outcomes[2].run == 302
    assert db.runs() == {300, 303}


def test_a_bad_schema_is_the_places_fault(path: Path) -> None:
    db = FilesystemDB(path, schema=b"a: %\n")

    with pytest.raises(StoreError, match=r"schema\.fcl"):
        db.stage([record(300)], {})
    with pytest.raises(StoreError, match=r"schema\.fcl"):
        db.check()


def test_what_goes_between_processes_is_small(db: FilesystemDB) -> None:
    staged = db.stage([record(300, {"boot.fcl": b"a: 1\n" * 100_000})], {})

    assert pickle.loads(pickle.dumps(staged)) == staged
    assert len(pickle.dumps(staged)) < 1000
