"""How the driver brings a changed record to workers twice: before its new version is published, and after it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_state.base.errors import RecordError, StoreUnavailable
from rra_state.execution.pool import BrokenExecutor
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Marker, Outcome
from rra_state.stores.artdaqdb.base import Location, Staged
from tests.unit.execution.driver_fakes import FakeCommitter, FakePool, Result, Task, driving

WANTED = Refresh(7, "1f2e3d4c")
STAGED = Staged(Location(7, "7/standard", "7/standardv1", ()), changed=True, assigned="now")
STORED = Facts(verified=True, size=5, adler32=6, ucondb_id=3, ucondb_data_key="4")


@pytest.fixture
def committer(tmp_path: Path) -> FakeCommitter:
    tree = Tree(tmp_path)
    tree.prepare()
    tree.write_markers([Marker.of("migrate", 7, STORED)])
    return FakeCommitter(tree)


def work(task: Task) -> Result:
    if "wanted" in task.options:
        return [Outcome(7, facts=Facts(verified=True, fingerprint="1f2e3d4c00"), staged=STAGED)]
    return [Outcome(7, facts=STORED)]


def refreshed(committer: FakeCommitter, does: Callable[[Task], Result] = work) -> tuple[FakePool, Outcome]:
    pool = FakePool(work=does)
    with driving(pool, committer=committer) as (driver, listener):
        driver.add_refreshes([WANTED])
        listener.wait_for("refresh", [7])
    return pool, committer.refreshed[str(WANTED)]


def test_a_changed_record_is_staged_published_and_then_stored(committer: FakeCommitter) -> None:
    pool, outcome = refreshed(committer)

    first, second = (task.options for task in pool.tasks)
    assert first == {"wanted": {7: WANTED}, "may_shrink": False}
    assert second["facts"][7].fingerprint == "1f2e3d4c00"
    assert (second["replaced"][7].id, second["replaced"][7].data_key) == (3, "4")
    assert outcome.facts == STORED


def test_a_record_that_cannot_be_read_is_not_stored(committer: FakeCommitter) -> None:
    pool, outcome = refreshed(committer, lambda _: [Outcome(7, error=RecordError("no metadata.txt", run=7))])

    assert len(pool.tasks) == 1
    assert str(outcome.error) == "run 7: no metadata.txt"


def test_a_marker_without_its_blob_is_a_conflict(committer: FakeCommitter) -> None:
    assert committer.tree is not None
    committer.tree.write_markers([Marker.of("migrate", 7, Facts(verified=True))])

    pool, outcome = refreshed(committer)

    assert pool.tasks == []
    assert "which blob in UconDB is ours" in str(outcome.error)


def test_a_store_that_refuses_the_new_version_ends_the_window(committer: FakeCommitter) -> None:
    committer.error = fault = StoreUnavailable("no answer")
    pool = FakePool(work=work)

    with driving(pool, committer=committer) as (driver, listener):
        driver.add_refreshes([WANTED])
        listener.wait(lambda: listener.reasons)

    assert len(pool.tasks) == 1
    assert listener.reasons == [fault]


@pytest.mark.parametrize("step", [1, 2])
def test_a_worker_that_dies_once_costs_no_refresh(committer: FakeCommitter, step: int) -> None:
    calls: list[Any] = []

    def does(task: Task) -> Result:
        calls.append(task)
        return BrokenExecutor("killed") if len(calls) == step else work(task)

    _, outcome = refreshed(committer, does)

    assert outcome.facts == STORED
    assert len(calls) == 3


def test_a_worker_that_dies_twice_is_the_refreshs_failure(committer: FakeCommitter) -> None:
    _, outcome = refreshed(committer, lambda _: BrokenExecutor("killed"))

    assert type(outcome.error).__name__ == "WorkerLost"
