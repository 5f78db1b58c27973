"""A directory archive that is empty, damaged or gone, and what is read back of it."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path
from unittest import mock

import pytest

from rra_state.base import files
from rra_state.base.errors import IndexDamaged, StoreError, StoreUnavailable, VerificationError
from rra_state.records import fhicl
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from tests.unit.stores.artdaqdb.artdaqdb_helpers import MD5, SCHEMA, Artdaq, age, files_of, record, stage, store


def exported(path: Path, run: int) -> dict[str, bytes]:
    db = FilesystemDB(path)
    return db.export(db.locate([run])[run]).files


# ---- empty, damaged, gone ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("made", [[], [""], ["RunHistory"], ["RunHistory", "SystemLayout"]])
def test_an_archive_with_nothing_in_it_is_empty(path: Path, made: list[str]) -> None:
    for name in made:
        (path / name).mkdir(parents=True, exist_ok=True)
    before = list(path.rglob("*"))
    db = FilesystemDB(path)

    assert db.runs() == set()
    assert db.locate([300]) == {}
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
    age(index)
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


def test_runs_overwritten_in_the_index_are_lost(path: Path, db: FilesystemDB) -> None:
    index = path / "RunHistory/index.json"
    store(db, record(300))
    before = index.read_bytes()
    store(db, record(301))

    index.write_bytes(before)

    assert db.runs() == {300}


def test_a_path_to_a_file_is_refused_with_a_hint(path: Path) -> None:
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

    with mock.patch.object(files, call, side_effect=fault), pytest.raises(StoreError, match=hint) as caught:
        db.publish(stage(db, record(301)))

    assert isinstance(caught.value, StoreUnavailable) == (number == errno.ESTALE)
    assert caught.value.path == str(path / "x.json")
    assert (path / "RunHistory/index.json").read_bytes() == before
    assert db.runs() == {300}


def test_a_store_works_again_after_a_disk_error(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    staged = stage(db, record(301))
    fault = OSError(errno.ENOSPC, "no space left on device")
    with mock.patch.object(files, "write_atomic", side_effect=fault), pytest.raises(StoreError):
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


def test_a_version_with_an_unlisted_document_is_not_whole(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    location = db.locate([300])[300]
    less = type(location)(300, location.configuration, location.version, location.items[1:])

    with pytest.raises(VerificationError, match="missing or mixed"):
        db.export(less)


def test_a_missing_archive_is_not_an_error_of_the_run(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    location = db.locate([300])[300]
    path.rename(path.with_name("elsewhere"))

    with pytest.raises(StoreError, match="mounted"):
        db.export(location)


def test_documents_of_another_program_are_written_anew_from_their_tree(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot", {"level": "3"})
    artdaq.write(300, "hashes", {"boot": MD5})
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


def test_a_run_of_the_existing_archiver_gets_a_whole_version(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot")
    artdaq.write(300, "RunHistory2", configuration="300/standard", version="300/standardv1")

    (staged,) = store(FilesystemDB(path), record(300))

    assert staged.location.version == "300/standardv2"
    assert exported(path, 300) == {each.name: each.text for each in record(300).documents}
