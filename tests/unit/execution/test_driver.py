"""The driver with a pool of the test's own: chunks are worked on when the test says so."""

from __future__ import annotations

from typing import Any

import pytest

from rra_state.base.errors import (
    Interrupted,
    RecordChanged,
    RecordError,
    StoreUnavailable,
    WorkDirError,
)
from rra_state.execution.driver import CHUNK
from rra_state.state.outcome import Outcome
from rra_state.stores.artdaqdb.base import Location, Staged
from tests.unit.execution.driver_fakes import (
    PATIENCE,
    FakeCommitter,
    FakePool,
    NoStore,
    Result,
    Task,
    driving,
    good,
)


def test_every_run_is_settled_once() -> None:
    pool = FakePool(size=2, work=lambda task: good(task.runs))

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 201))
        listener.wait_for("import", range(1, 201))

    assert all(len(outcomes) == 1 for outcomes in listener.outcomes.values())
    assert max(len(task.runs) for task in pool.tasks) <= CHUNK
    assert [run for task in pool.tasks for run in task.runs] == list(range(1, 201))


def test_stages_overlap() -> None:
    pool = FakePool(size=1)

    with driving(pool) as (driver, _):
        driver.add("import", range(1, 101))
        pool.task(1)
        driver.add("migrate", range(1001, 1101))
        pool.tasks[0].ends()
        third = pool.task(2)

    assert [task.stage for task in pool.tasks[:2]] == ["import", "import"]
    assert third.stage == "migrate"


def test_a_run_just_imported_is_not_looked_up_again() -> None:
    given: list[object] = []
    location = Location(7, "7/standard", "7/standard", ())

    class Pool(FakePool):
        def submit(self, function: Any, runs: tuple[int, ...], located: object, **options: Any) -> Any:
            given.append(located)
            return super().submit(function, runs, located, **options)

    pool = Pool(work=lambda _: [Outcome(7, staged=Staged(location, changed=True, assigned="now"))])

    with driving(pool) as (driver, listener):
        driver.add("import", [7])
        listener.wait_for("import", [7])
        driver.add("migrate", [7])
        listener.wait_for("migrate", [7])

    assert given == [{}, {7: location}]


def test_at_most_two_chunks_a_worker_are_handed_out() -> None:
    pool = FakePool(size=2)

    with driving(pool) as (driver, _):
        driver.add("import", range(1, 1001))
        pool.task(3)
        pool.tasks[0].ends()
        pool.task(4)
        handed_out = len(pool.tasks)

    assert handed_out == 5


def test_few_runs_are_spread_over_all_workers() -> None:
    pool = FakePool(size=4)

    with driving(pool) as (driver, _):
        driver.add("import", range(1, 9))
        pool.task(3)

    assert max(len(task.runs) for task in pool.tasks) == 2


def test_the_check_of_the_metadata_is_asked_of_migrations_only() -> None:
    pool = FakePool(size=2)

    with driving(pool, validate=True) as (driver, _):
        driver.add("import", [1])
        driver.add("migrate", [2])
        pool.task(1)

    assert {task.stage: task.options for task in pool.tasks} == {"import": {}, "migrate": {"validate": True}}


def test_one_bad_run_does_not_fail_its_chunk() -> None:
    def work(task: Task) -> Result:
        return [Outcome(7, error=RecordError(run=7)) if run == 7 else good([run])[0] for run in task.runs]

    pool = FakePool(work=work)

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 101))
        listener.wait_for("import", range(1, 101))

    assert listener.failed() == {7: "RecordError"}
    assert listener.reasons == []


def test_an_outage_drops_the_rest_without_outcomes() -> None:
    fault = StoreUnavailable("no answer")
    pool = FakePool(size=1)

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 101))
        pool.task(1)
        in_hand = {run for task in pool.tasks for run in task.runs}
        pool.tasks[0].ends([Outcome(run, error=fault) for run in pool.tasks[0].runs])
        assert pool.stopping.wait(PATIENCE)
        pool.tasks[1].ends()
        listener.wait(lambda: listener.reasons)

    assert len(pool.tasks) == 2
    assert {run for _, run in listener.outcomes} == in_hand
    assert {run for _, run in listener.begun_not} == set(range(1, 101)) - in_hand
    assert listener.reasons[0] is fault


def test_a_fault_of_one_stage_lets_the_other_go_on() -> None:
    fault = StoreUnavailable("no answer")
    fault.stage = "migrate"
    pool = FakePool(size=1, work=lambda task: good(task.runs) if task.stage == "import" else refused(task))

    def refused(task: Task) -> Result:
        return [Outcome(run, error=fault) for run in task.runs]

    with driving(pool) as (driver, listener):
        driver.add("migrate", range(1, 101))
        listener.wait(lambda: len(listener.outcomes) + len(listener.begun_not) == 100)
        driver.add("import", range(201, 301))
        listener.wait_for("import", range(201, 301))
        driver.add("migrate", range(201, 301))
        listener.wait(lambda: ("migrate", 300) in listener.begun_not)

    assert not pool.stopping.is_set()
    assert listener.stage_reasons == [fault]
    assert listener.reasons == []
    assert {run for _, run in listener.begun_not} >= {*range(60, 101), *range(201, 301)}


def test_a_store_that_does_not_open_drops_everything() -> None:
    fault = StoreUnavailable("no answer")

    with driving(FakePool(), NoStore(fault)) as (driver, listener):
        driver.add("import", range(1, 101))
        listener.wait(lambda: listener.reasons)

    assert listener.outcomes == {}
    assert [run for _, run in listener.begun_not] == list(range(1, 101))
    assert listener.reasons[0] is fault


def test_stop_lets_chunks_in_hand_finish_and_drops_the_rest() -> None:
    pool = FakePool(size=1)

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 101))
        pool.task(1)
        driver.stop(Interrupted("by a person"))
        assert pool.stopping.wait(PATIENCE)
        listener.wait(lambda: listener.begun_not)
        told_early = list(listener.reasons)
        for task in pool.tasks[:2]:
            task.ends()
        listener.wait(lambda: listener.reasons)

    in_hand = [run for task in pool.tasks[:2] for run in task.runs]
    assert listener.finishing == [1]
    assert told_early == []
    assert [run for _, run in listener.outcomes] == in_hand
    assert listener.failed() == {}
    assert len(in_hand) + len(listener.begun_not) == 100


def test_the_reason_of_a_stop_names_no_run() -> None:
    reason = Interrupted("by a person")
    pool = FakePool()

    with driving(pool) as (driver, listener):
        driver.add("import", [1, 2])
        pool.task(0)
        driver.stop(reason)
        assert pool.stopping.wait(PATIENCE)
        pool.tasks[0].ends([Outcome(run, error=Interrupted(run=run)) for run in (1, 2)])
        listener.wait(lambda: listener.reasons)

    assert listener.reasons == [reason]


def test_runs_that_come_after_a_stop_are_dropped() -> None:
    pool = FakePool()

    with driving(pool) as (driver, listener):
        driver.add("import", [1])
        pool.task(0)
        driver.stop(Interrupted())
        driver.add("migrate", [2, 3])
        pool.tasks[0].ends()
        listener.wait(lambda: len(listener.begun_not) == 2 and listener.reasons)

    assert listener.begun_not == [("migrate", 2), ("migrate", 3)]
    assert len(pool.tasks) == 1


def test_a_fault_found_while_stopping_is_the_reason_that_counts() -> None:
    fault = WorkDirError("disk full")
    pool = FakePool()

    with driving(pool) as (driver, listener):
        driver.add("import", [1])
        pool.task(0)
        driver.stop(Interrupted())
        assert pool.stopping.wait(PATIENCE)
        pool.tasks[0].ends([Outcome(1, error=fault)])
        listener.wait(lambda: listener.reasons)

    assert listener.reasons[0] is fault


def test_the_end_is_told_once() -> None:
    pool = FakePool()

    with driving(pool) as (driver, listener):
        driver.add("import", [1])
        pool.task(0).ends([Outcome(1, error=StoreUnavailable())])
        listener.wait(lambda: listener.reasons)
    driver._thread.join(PATIENCE)

    assert len(listener.reasons) == 1


def test_a_failing_listener_ends_in_broken() -> None:
    pool = FakePool(work=lambda task: good(task.runs))

    def fail() -> None:
        raise LookupError("no such job")

    with driving(pool) as (driver, listener):
        listener.on_committed = fail
        driver.add("import", [1])
        listener.wait(lambda: listener.failure)

    assert isinstance(listener.failure, LookupError)


@pytest.mark.parametrize("where", ["worker", "committer"])
def test_an_unexpected_exception_ends_in_broken_and_not_in_silence(where: str) -> None:
    pool, committer = FakePool(), FakeCommitter()

    with driving(pool, committer=committer) as (driver, listener):
        driver.add("import", [1])
        task = pool.task(0)
        if where == "committer":
            committer.error = ZeroDivisionError()
        task.ends(ZeroDivisionError() if where == "worker" else None)
        listener.wait(lambda: listener.failure)

    assert isinstance(listener.failure, ZeroDivisionError)


def test_a_record_that_kept_changing_stops_nothing() -> None:
    pool = FakePool(work=lambda task: [Outcome(run, error=RecordChanged(run=run)) for run in task.runs])

    with driving(pool) as (driver, listener):
        driver.add("import", range(1, 61))
        listener.wait_for("import", range(1, 61))

    assert listener.reasons == []
