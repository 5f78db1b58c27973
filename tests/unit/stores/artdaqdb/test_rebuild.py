from __future__ import annotations

import json
from pathlib import Path

import pytest

from rra_state.base.errors import StoreError
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.rebuild import rebuild
from tests.unit.stores.artdaqdb.artdaqdb_helpers import SCHEMA, Artdaq, files_of, record, stage, store

COLLECTIONS = ("RunHistory", "SystemLayout")


def trees(path: Path) -> list[dict[str, object]]:
    return [json.loads((path / name / "index.json").read_bytes()) for name in COLLECTIONS]


def test_rebuilt_indexes_say_what_the_lost_ones_said(path: Path, db: FilesystemDB, artdaq: Artdaq) -> None:
    store(db, record(300), record(301))
    store(db, record(300, {"boot.fcl": b"a: 2\n"}))
    artdaq.write(302, "boot")
    before, documents = trees(path), files_of(path)
    for name in COLLECTIONS:
        (path / name / "index.json").unlink()

    rebuilt = rebuild(path)

    assert trees(path) == before
    assert files_of(path) == documents
    assert (rebuilt.runs, rebuilt.skipped) == (3, ())
    assert rebuilt.documents == len(before[0]["ouid"]) + len(before[1]["ouid"])  # type: ignore[arg-type]


def test_the_old_index_is_kept(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    (path / "RunHistory/index.json").write_bytes(b"{")

    rebuild(path)

    assert (path / "RunHistory/index.json.bak").read_bytes() == b"{"
    assert FilesystemDB(path).runs() == {300}


def test_a_version_that_was_never_wholly_written_stays_invisible(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    (staged,) = stage(db, record(301))
    gone = next(item for item in staged.location.items if item.entity == "boot")
    (path / f"RunHistory/{gone.oid}.json").unlink()

    rebuilt = rebuild(path)

    assert FilesystemDB(path).runs() == {300}
    assert [reason for _, reason in rebuilt.skipped] == ["its version was never wholly written"] * 3


def test_case_d7c_the_last_whole_version_is_read(path: Path, db: FilesystemDB, artdaq: Artdaq) -> None:
    """A refresh broke off, and artdaq's rebuilt index lists the documents that it left."""
    first = record(300, {"boot.fcl": b"a: 1\n", "setup.fcl": b"a: 1\n"})
    store(db, first)
    (staged,) = stage(db, record(300, {"boot.fcl": b"a: 2\n", "setup.fcl": b"a: 2\n"}), known=db.locate([300]))
    lost = next(item for item in staged.location.items if item.entity == "setup")
    (path / f"RunHistory/{lost.oid}.json").unlink()
    artdaq.rebuild_index()

    found = FilesystemDB(path).locate([300])[300]
    again = store(FilesystemDB(path), record(300, {"boot.fcl": b"a: 3\n"}))

    assert (found.version, found.passed_over) == (
        "300/standard",
        ("version 300/standardv1 was never wholly stored",),
    )
    assert db.export(found).files == {each.name: each.text for each in first.documents}
    assert db.export(FilesystemDB(path).locate([300])[300]).files == {"boot.fcl": b"a: 3\n"}
    assert again[0].location.version == "300/standardv1"


def test_of_two_tries_the_whole_one_is_listed(path: Path, db: FilesystemDB) -> None:
    db.stage([record(300, {"boot.fcl": b"a: 1\n", "gone.fcl": b"a: 1\n"})], {})
    db.stage([record(300, {"boot.fcl": b"a: 2\n"})], {})

    rebuild(path)

    located = FilesystemDB(path).locate([300])[300]
    assert FilesystemDB(path).export(located).files == {"boot.fcl": b"a: 2\n"}


def test_files_that_are_no_documents_are_named(path: Path, db: FilesystemDB) -> None:
    store(db, record(300))
    for name, text in {"a": "", "b": "[]", "c": "{}", "d": '{"version":1,"configurations":[1]}'}.items():
        (path / f"RunHistory/{name}.json").write_text(text)

    rebuilt = rebuild(path)

    assert [name for name, _ in rebuilt.skipped] == [f"RunHistory/{name}.json" for name in "abcd"]
    assert FilesystemDB(path, schema=SCHEMA).runs() == {300}


def test_an_archive_that_is_not_there_cannot_be_rebuilt(path: Path) -> None:
    with pytest.raises(StoreError):
        rebuild(path)
