"""What every kind of artdaqDB owes several programs that use it at once, and those that are cut off."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterator
from typing import Any

import pytest

from rra_state.records.model import RunDocuments
from tests.contract.kinds import EVERY_KIND, SCHEMA, Archive, resolved
from tests.unit.stores.artdaqdb.artdaqdb_helpers import record, store
from tests.waiting import scaled

_processes = multiprocessing.get_context("forkserver")
_processes.set_forkserver_preload([__name__])
CRASHED = 137


def files(run: RunDocuments) -> dict[str, bytes]:
    return {document.name: document.text for document in run.documents}


def test_the_stamp_changes_with_every_writer(archive: Archive) -> None:
    db = archive.open()
    store(db, record(1))
    before = db.stamp()
    assert archive.open().stamp() == before

    store(archive.open(), record(2))

    assert db.stamp() != before


def test_two_archivers_that_store_different_runs_at_once_lose_nothing(archive: Archive) -> None:
    runs = range(1, archive.kind.runs + 1)
    workers = [_start(_store_each, archive, list(runs[first::2])) for first in (0, 1)]

    assert [_joined(worker) for worker in workers] == [0, 0]
    assert archive.open().runs() == set(runs)


def test_a_reader_beside_the_writer_sees_whole_runs_only(archive: Archive) -> None:
    if not archive.kind.capabilities.concurrent_readers:
        pytest.skip("not here: this kind of store promises nothing to readers beside the writer")
    runs = range(1, archive.kind.runs + 1)
    writer = _start(_store_each, archive, list(runs))
    db, seen = archive.open(), 0

    while seen < len(runs):
        located = db.locate(db.runs())
        assert len(located) >= seen, "a run vanished"
        assert all(db.export(each).files == files(record(each.run)) for each in located.values())
        seen = len(located)

    assert _joined(writer) == 0


@pytest.mark.parametrize("archive", list(EVERY_KIND), indirect=True)
def test_a_crash_between_steps_leaves_whole_runs(archive: Archive) -> None:
    if not archive.kind.capabilities.atomic:
        pytest.skip("not here: this kind of store shows a run piece by piece")
    store(archive.open(), record(1))

    crashes = 0
    for step in _steps():
        status = _joined(_start(_crash_at, archive, step))
        db = archive.open()
        located = db.locate(db.runs())
        assert 1 in located
        assert all(db.export(each).exact for each in located.values())
        if status == 0:
            break
        assert status == CRASHED
        crashes += 1

    assert crashes >= 6
    store(db, record(1), record(2), record(3))
    assert db.runs() == {1, 2, 3}
    assert {each.version for each in db.locate([2, 3]).values()} == {"2/standard", "3/standard"}


def _steps() -> Iterator[int]:
    """1, 2, 3, 5, 7, 10, ...: every early step, and enough of the later ones, which repeat run by run."""
    step = 1
    while True:
        yield step
        step += 1 + step // 6


def _start(target: Any, archive: Archive, argument: Any) -> Any:
    process = _processes.Process(target=target, args=(archive.kind.name, archive.place, argument))
    process.start()
    return process


def _joined(process: Any) -> int:
    process.join(scaled(60))
    code: int = process.exitcode
    return code


def _store_each(kind: str, place: str, runs: list[int]) -> None:
    db = EVERY_KIND[kind].open(place, SCHEMA)
    for run in runs:
        store(db, record(run))


def _crash_at(kind: str, place: str, step: int) -> None:
    """Store two runs, and end the process for good before step number `step`."""
    left = step

    def counting(function: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left == 0:
                os._exit(CRASHED)
            return function(*arguments, **options)

        return call

    for owner, name in EVERY_KIND[kind].steps:
        setattr(resolved(owner), name, counting(getattr(resolved(owner), name)))
    db = EVERY_KIND[kind].open(place, SCHEMA)
    store(db, record(2), record(3))
