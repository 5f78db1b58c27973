"""The driver when workers die: no run is lost, and none is blamed that did not kill its worker."""

from __future__ import annotations

from rra_state.base.errors import (
    Interrupted,
    WorkersUnusable,
)
from rra_state.execution.pool import BrokenExecutor
from tests.unit.execution.driver_fakes import (
    PATIENCE,
    FakePool,
    all_said_is_done,
    driving,
    good,
)


def test_only_a_run_that_kills_twice_is_blamed() -> None:
    pool = FakePool(size=2, work=lambda task: BrokenExecutor("died") if 7 in task.runs else good(task.runs))

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 101))
        listener.wait_for("import", range(1, 101))

    assert listener.failed() == {7: "WorkerLost"}
    assert listener.outcomes["import", 7][0].tries == 2
    assert (7,) in [task.runs for task in pool.tasks]


def test_a_dead_workers_run_is_archived_by_another() -> None:
    deaths = iter([BrokenExecutor("out of memory")])
    pool = FakePool(work=lambda task: next(deaths, None) or good(task.runs))

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 51))
        listener.wait_for("import", range(1, 51))

    assert listener.failed() == {}
    assert pool.renewed == 1


def test_all_chunks_of_a_dead_worker_cost_one_renewal() -> None:
    pool = FakePool(size=2)

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 101))
        pool.task(3)
        for task in pool.tasks[:4]:
            task.ends(BrokenExecutor("died"))
        lone = pool.task(4)
        pool.work = lambda task: good(task.runs)
        lone.ends()
        listener.wait_for("import", range(1, 101))

    assert len(lone.runs) == 1
    assert pool.renewed == 1
    assert listener.failed() == {}


def test_a_suspect_is_tried_while_nothing_else_is_in_hand() -> None:
    """Else another run that kills the worker would have the suspect blamed for it."""
    pool = FakePool(size=1)

    with driving(pool) as (driver, listener):
        driver.add("import", [1])
        pool.task(0)
        driver.add("import", [2])
        pool.task(1).ends(BrokenExecutor("died"))
        driver.add("migrate", [9])
        pool.tasks[0].ends()
        lone = pool.task(2)
        listener.wait_for("import", [1])
        all_said_is_done(driver)
        beside = [task.runs for task in pool.tasks if not task.future.done() and task is not lone]
        lone.ends()
        pool.task(3).ends()
        listener.wait_for("migrate", [9])

    assert lone.runs == (2,)
    assert beside == []


def test_a_pool_that_breaks_at_submission_costs_no_run() -> None:
    pool = FakePool(work=lambda task: good(task.runs))
    pool.refuse = BrokenExecutor("died a moment ago")

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 11))
        listener.wait_for("import", range(1, 11))

    assert listener.failed() == {}
    assert pool.renewed == 1


def test_a_worker_that_dies_during_a_stop_fails_no_run() -> None:
    pool = FakePool()

    with driving(pool) as (driver, listener):
        driver.add("import", [1])
        pool.task(0)
        driver.stop(Interrupted())
        assert pool.stopping.wait(PATIENCE)
        pool.tasks[0].ends(BrokenExecutor("killed"))
        listener.wait(lambda: listener.reasons)

    assert listener.outcomes == {}
    assert listener.begun_not == [("import", 1)]


def test_workers_that_cannot_start_fail_no_run() -> None:
    pool = FakePool(work=lambda task: BrokenExecutor("killed"))
    pool.cannot_start = True

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 11))
        listener.wait(lambda: listener.reasons)

    assert listener.outcomes == {}
    assert sorted(run for _, run in listener.begun_not) == list(range(1, 11))


def test_pools_that_die_whatever_they_have_end_the_cycle() -> None:
    pool = FakePool(work=lambda task: BrokenExecutor("no memory"))

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 101))
        listener.wait(lambda: listener.reasons)

    assert isinstance(listener.reasons[0], WorkersUnusable)
    assert len(listener.begun_not) > 90
