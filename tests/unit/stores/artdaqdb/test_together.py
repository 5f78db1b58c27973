"""Several programs on one archive: archivers, readers, and artdaq's own tools, which take no lock."""

from __future__ import annotations

import multiprocessing
from contextlib import ExitStack
from pathlib import Path
from unittest import mock

import pytest

from rra_state.base import files
from rra_state.base.errors import IndexDamaged, StoreError, StoreUnavailable
from rra_state.stores.artdaqdb import directory
from rra_state.stores.artdaqdb import index as indexes
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.index import Index
from tests.unit.stores.artdaqdb.artdaqdb_helpers import Artdaq, record, slow_writer, stage, store

_spawn = multiprocessing.get_context("spawn")


def _archive(path: Path, runs: list[int]) -> None:
    db = FilesystemDB(path, schema=b"a: 1\n")
    for run in runs:
        store(db, record(run))


def _read(path: Path, expected: int) -> None:
    db, seen = FilesystemDB(path), 0
    while seen < expected:
        located = db.locate(db.runs())
        assert len(located) >= seen, "a run vanished"
        for location in located.values():
            assert db.export(location).exact
        seen = len(located)


def test_archivers_that_publish_at_the_same_time_lose_nothing(path: Path) -> None:
    runs = [list(range(start, 100, 3)) for start in (1, 2, 3)]
    workers = [_spawn.Process(target=_archive, args=(path, each)) for each in runs]
    workers.append(_spawn.Process(target=_read, args=(path, 99)))

    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    assert [worker.exitcode for worker in workers] == [0, 0, 0, 0]
    assert FilesystemDB(path).runs() == set(range(1, 100))


def test_case_b11_two_archivers_of_one_run_are_named(path: Path) -> None:
    """The other one renames the temporary file that both write."""
    db = FilesystemDB(path)

    def other(step: str, *details: object) -> None:
        if step == "rename":
            Path(str(details[0])).unlink()

    with (
        mock.patch.object(files, "announce", other),
        pytest.raises(StoreUnavailable, match="does another archiver store the same runs here") as caught,
    ):
        stage(db, record(300))

    assert "mounted" not in str(caught.value)
    store(db, record(300))
    assert db.runs() == {300}


def test_what_another_program_added_between_two_publishes_is_kept(path: Path, artdaq: Artdaq) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    artdaq.write(301, "boot")

    store(db, record(302))

    assert db.runs() == FilesystemDB(path).runs() == {300, 301, 302}


def test_a_foreign_change_before_our_write_is_merged(path: Path, artdaq: Artdaq) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    staged = stage(db, record(302))
    serialise, once = Index.serialise, iter([301])

    def interfere(index: Index) -> bytes:
        for run in once:
            artdaq.write(run, "boot")
        return serialise(index)

    with (
        mock.patch.object(Index, "serialise", interfere),
        mock.patch.object(files, "write_atomic", wraps=files.write_atomic) as write,
    ):
        db.publish(staged)

    assert all(b'"301/standard"' in data for (_, data), _ in write.call_args_list), "301 was hidden for a moment"
    assert db.runs() == FilesystemDB(path).runs() == {300, 301, 302}


def test_what_another_program_writes_during_our_write_is_merged(path: Path, artdaq: Artdaq) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    staged = stage(db, record(302))
    write, once = files.write_atomic, iter([301])

    def interfere(target: Path, data: bytes) -> None:
        for run in once:
            artdaq.write(run, "boot")
        write(target, data)

    with mock.patch.object(files, "write_atomic", interfere):
        db.publish(staged)

    assert db.runs() == FilesystemDB(path).runs() == {300, 301, 302}


def test_what_another_program_writes_right_after_ours_is_seen(path: Path, artdaq: Artdaq) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    staged = stage(db, record(302))
    write = files.write_atomic

    def interfere(target: Path, data: bytes) -> None:
        write(target, data)
        artdaq.write(301, "boot")

    with mock.patch.object(files, "write_atomic", interfere):
        db.publish(staged)

    assert db.runs() == {300, 301, 302}


def test_case_d5_a_rewrite_that_began_before_ours_is_merged(path: Path) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    staged = stage(db, record(302))
    other = path.with_name("other")
    store(FilesystemDB(other), record(300), record(301))
    theirs = (other / "RunHistory/index.json").read_bytes()
    write = files.write_atomic

    once = iter([path / "RunHistory/index.json"])
    with ExitStack() as stack:

        def interfere(target: Path, data: bytes) -> None:
            if target.name == "index.json" and target in once:
                stack.enter_context(slow_writer(target, theirs))
            write(target, data)

        with mock.patch.object(files, "write_atomic", interfere):
            db.publish(staged)

    assert db.runs() == FilesystemDB(path).runs() == {300, 301, 302}


def test_an_index_left_cut_during_our_write_is_named(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexes, "WAIT_SECONDS", 0.3)
    db = FilesystemDB(path)
    store(db, record(300))
    staged = stage(db, record(302))
    write = files.write_atomic

    def interfere(target: Path, data: bytes) -> None:
        target.write_bytes(b'{"ouid":[')
        write(target, data)

    with mock.patch.object(files, "write_atomic", interfere), pytest.raises(IndexDamaged) as caught:
        db.publish(staged)

    assert caught.value.path == str(path / "RunHistory/index.json")
    assert FilesystemDB(path).runs() == {300, 302}


def test_a_program_that_never_stops_changing_the_index_is_named(path: Path, artdaq: Artdaq) -> None:
    db = FilesystemDB(path)
    store(db, record(300))
    staged = stage(db, record(302))
    write = files.write_atomic

    def interfere(target: Path, data: bytes) -> None:
        artdaq.write(400, "boot")
        write(target, data)

    with (
        mock.patch.object(files, "write_atomic", interfere),
        pytest.raises(StoreError, match="stop artdaq's tools"),
    ):
        db.publish(staged)


def test_an_index_is_read_only_when_another_program_changed_it(path: Path) -> None:
    db = FilesystemDB(path)
    store(db, record(300))

    with mock.patch.object(indexes, "read", wraps=indexes.read) as read:
        db.runs()
        own = read.call_count
        store(FilesystemDB(path), record(301))
        read.reset_mock()
        db.runs()
        db.runs()

    assert (own, read.call_count) == (0, 1)


def test_an_archive_created_while_read_is_not_damaged(path: Path) -> None:
    looked, once = directory.has_documents, iter([301])

    def interfere(directory: Path) -> bool:
        for run in once:
            store(FilesystemDB(path), record(run))
        return looked(directory)

    with mock.patch.object(directory, "has_documents", interfere):
        found = FilesystemDB(path).runs()

    assert found == {301}


def test_a_killed_archiver_leaves_whole_runs(path: Path) -> None:
    runs = list(range(1, 1000))
    victim = _spawn.Process(target=_archive, args=(path, runs))
    victim.start()
    _read(path, 3)

    victim.kill()
    victim.join()

    db = FilesystemDB(path, schema=b"a: 1\n")
    visible = db.runs()
    assert visible == set(range(1, len(visible) + 1))
    assert all(db.export(location).exact for location in db.locate(visible).values())
    store(db, *(record(run) for run in range(1, len(visible) + 4)))
    assert db.runs() == set(range(1, len(visible) + 4))
