from __future__ import annotations

import errno
import json
import os
import pickle
from pathlib import Path
from unittest import mock

import pytest
from artdaqdb_helpers import SCHEMA, Artdaq, files_of, record, stage, store

from rra_state import fsio
from rra_state.errors import FhiclError, IndexDamaged, RecordError, StoreError, StoreUnavailable, VerificationError
from rra_state.records import fhicl
from rra_state.records.model import Document, RunDocuments
from rra_state.stores.artdaqdb.base import ArtdaqDB, Staged
from rra_state.stores.artdaqdb.filesystem import FilesystemDB


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

    assert store_.capabilities.byte_identical
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


def test_other_content_is_the_next_version_and_the_old_documents_stay(path: Path, db: FilesystemDB) -> None:
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


def test_a_visible_version_that_the_caller_did_not_know_is_not_touched(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    before = files_of(path)

    (same,) = stage(FilesystemDB(path, schema=SCHEMA), record(300))
    (other,) = stage(FilesystemDB(path), record(300, {"boot.fcl": b"a: 2\n"}))

    assert (same.changed, other.location.version) == (False, "300/standardv1")
    assert files_of(path).items() >= before.items()


def test_a_run_is_shown_last_so_that_its_layout_is_never_missing(path: Path, db: FilesystemDB) -> None:
    staged = stage(db, record(300))

    with mock.patch.object(fsio, "write_atomic", wraps=fsio.write_atomic) as write:
        db.publish(staged)

    assert [call.args[0].parent.name for call in write.call_args_list] == ["SystemLayout", "RunHistory"]


def test_documents_are_durable_in_one_batch_before_they_are_shown(path: Path, db: FilesystemDB) -> None:
    with mock.patch.object(fsio, "write_batch", wraps=fsio.write_batch) as write:
        store(db, *(record(run) for run in range(300, 310)))

    assert write.call_count == 1
    for run, location in db.locate(range(300, 310)).items():
        assert all((path / item.collection / f"{item.oid}.json").stat().st_size for item in location.items), run


def test_publishing_twice_lists_nothing_twice(path: Path, db: FilesystemDB) -> None:
    staged = store(db, record(300))
    before = (path / "RunHistory/index.json").read_bytes()

    FilesystemDB(path).publish(staged)

    assert (path / "RunHistory/index.json").read_bytes() == before


def test_one_bad_run_costs_its_neighbours_nothing(db: FilesystemDB) -> None:
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


# ---- empty, damaged, gone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [[], [""], ["RunHistory"], ["RunHistory", "SystemLayout"]])
def test_an_archive_with_nothing_in_it_is_empty(path: Path, made: list[str]) -> None:
    for name in made:
        (path / name).mkdir(parents=True, exist_ok=True)
    before = list(path.rglob("*"))
    db = FilesystemDB(path)

    assert db.runs() == set()
    assert db.locate([300]) == {}
    assert db.lost([300]) == {300}
    assert list(path.rglob("*")) == before


@pytest.mark.parametrize("collection", ["RunHistory", "SystemLayout"])
@pytest.mark.parametrize("damage", ["missing", "cut", "empty"])
def test_a_damaged_index_is_named_and_nothing_is_written(
    path: Path, db: FilesystemDB, collection: str, damage: str
) -> None:
    staged = stage(db, record(301))
    store(db, record(300))
    index = path / collection / "index.json"
    index.write_bytes({"cut": index.read_bytes()[:-50]}.get(damage, b""))
    if damage == "missing":
        index.unlink()
    before = files_of(path)
    fresh = FilesystemDB(path, schema=SCHEMA)

    with pytest.raises(IndexDamaged) as caught:
        fresh.locate([300])
    with pytest.raises(IndexDamaged):
        fresh.publish(staged)

    assert caught.value.path == str(index)
    assert caught.value.hint is not None
    assert "rebuild" in caught.value.hint
    assert files_of(path) == before
    assert index.exists() == (damage != "missing")


def test_a_lost_index_is_noticed_before_documents_are_added(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    (path / "RunHistory/index.json").unlink()

    with pytest.raises(IndexDamaged):
        FilesystemDB(path).stage([record(301)], {})


def test_runs_that_another_program_pushed_out_of_the_index_are_found_lost(path: Path, db: FilesystemDB) -> None:
    index = path / "RunHistory/index.json"
    store(db, record(300))
    before = index.read_bytes()
    store(db, record(301))

    index.write_bytes(before)

    assert db.lost([300, 301]) == {301}


def test_a_path_that_is_a_file_is_an_error_with_a_remedy(path: Path) -> None:
    path.write_text("")
    db = FilesystemDB(path)

    for call in (db.runs, db.check, lambda: db.stage([record(300)], {})):
        with pytest.raises(StoreError, match="must name a directory"):
            call()


@pytest.mark.parametrize(
    ("number", "hint"),
    [
        (errno.ENOSPC, "free space"),
        (errno.EROFS, "read only"),
        (errno.EACCES, "permission"),
        (errno.ESTALE, "file server"),
    ],
)
@pytest.mark.parametrize("call", ["write_batch", "write_atomic"])
def test_a_fault_of_the_disk_names_path_and_remedy(path: Path, call: str, number: int, hint: str) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    before = (path / "RunHistory/index.json").read_bytes()
    fault = OSError(number, os.strerror(number), str(path / "x.json"))

    with mock.patch.object(fsio, call, side_effect=fault), pytest.raises(StoreError, match=hint) as caught:
        db.publish(stage(db, record(301)))

    assert isinstance(caught.value, StoreUnavailable) == (number == errno.ESTALE)
    assert caught.value.path == str(path / "x.json")
    assert (path / "RunHistory/index.json").read_bytes() == before
    assert db.runs() == {300}


def test_after_a_fault_of_the_disk_the_same_store_goes_on(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    staged = stage(db, record(301))
    fault = OSError(errno.ENOSPC, "no space left on device")
    with mock.patch.object(fsio, "write_atomic", side_effect=fault), pytest.raises(StoreError):
        db.publish(staged)

    db.publish(staged)

    assert db.runs() == FilesystemDB(path).runs() == {300, 301}


def test_check_accepts_what_can_be_used_and_changes_nothing(path: Path, db: FilesystemDB) -> None:
    db.check()

    assert not path.exists()
    store(db, record(300))
    db.check()


def test_check_names_a_directory_that_cannot_be_written(
    path: Path, db: FilesystemDB, monkeypatch: pytest.MonkeyPatch
) -> None:
    store(db, record(300))
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(StoreError, match="permission"):
        db.check()


# ---- reading back --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["missing", "cut", "swapped", "altered"])
def test_a_damaged_document_names_run_and_file(path: Path, db: FilesystemDB, damage: str) -> None:
    store(db, record(300), record(301))
    location = db.locate([300])[300]
    boot = next(item for item in location.items if item.entity == "boot")
    other = next(item for item in db.locate([301])[301].items if item.entity == "boot")
    file = path / "RunHistory" / f"{boot.oid}.json"
    match damage:
        case "missing":
            file.unlink()
        case "cut":
            file.write_bytes(file.read_bytes()[:-10])
        case "swapped":
            file.write_bytes((path / "RunHistory" / f"{other.oid}.json").read_bytes())
        case "altered":
            tree = json.loads(file.read_bytes())
            tree["origin"]["rawdata"][1] = "YTogMgo="
            file.write_text(json.dumps(tree))

    with pytest.raises(VerificationError) as caught:
        db.export(location)

    assert (caught.value.run, caught.value.path) == (300, str(file))


def test_a_version_of_which_a_document_is_not_listed_is_not_taken_for_whole(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    location = db.locate([300])[300]
    less = type(location)(300, location.configuration, location.version, location.items[1:])

    with pytest.raises(VerificationError, match="missing or mixed"):
        db.export(less)


def test_an_archive_that_is_gone_is_no_fault_of_the_run(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    location = db.locate([300])[300]
    path.rename(path.with_name("elsewhere"))

    with pytest.raises(StoreError, match="mounted"):
        db.export(location)


def test_documents_of_another_program_are_written_anew_from_their_tree(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot", {"level": "3"})
    artdaq.write(300, "hashes", {"boot": "x"})
    db = FilesystemDB(path)

    export = db.export(db.locate([300])[300])

    assert set(export.files) == {"boot.fcl"}
    assert fhicl.snippet(export.files["boot.fcl"]).data["main"] == {"level": "3"}
    assert not export.exact


def test_a_foreign_document_without_a_tree_names_the_run(path: Path, artdaq: Artdaq) -> None:
    oid = artdaq.write(300, "boot")
    (path / f"RunHistory/{oid}.json").write_text("{}")
    db = FilesystemDB(path)

    with pytest.raises(VerificationError) as caught:
        db.export(db.locate([300])[300])

    assert caught.value.run == 300


def test_a_run_stored_by_the_existing_archiver_gets_a_complete_version_of_ours(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot")
    artdaq.write(300, "RunHistory2", configuration="300/standard", version="300/standardv1")

    (staged,) = store(FilesystemDB(path), record(300))

    assert staged.location.version == "300/standardv2"
    assert exported(path, 300) == {each.name: each.text for each in record(300).documents}
