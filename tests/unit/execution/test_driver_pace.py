"""How the driver publishes: chunk by chunk in a small archive, several chunks at once where that takes long."""

from __future__ import annotations

from rra_state.base.errors import Interrupted
from rra_state.execution.driver import SHORT_SECONDS
from tests.unit.execution.driver_fakes import FakePool, SlowCommitter, driving, good


def test_what_is_staged_while_publishing_takes_long_is_published_together() -> None:
    committer = SlowCommitter(2 * SHORT_SECONDS)

    with driving(FakePool(size=1, work=lambda task: good(task.runs)), committer=committer) as (driver, listener):
        driver.add("import", range(1, 501))
        listener.wait_for("import", range(1, 501))

    assert set().union(*committer.together) == set(range(1, 501))
    assert sum(map(len, committer.together)) == 500
    assert len(committer.together) <= 3


def test_a_chunk_does_not_wait_for_another_that_takes_long() -> None:
    pool = FakePool(size=1)
    committer = SlowCommitter(1.2 * SHORT_SECONDS)

    with driving(pool, committer=committer) as (driver, listener):
        driver.add("import", range(1, 51))
        pool.task(1)
        for task in pool.tasks[:1]:
            task.ends()
        listener.wait_for("import", pool.tasks[0].runs)
        pool.task(2)
        pool.tasks[1].ends()
        listener.wait_for("import", pool.tasks[1].runs)

        assert not pool.tasks[2].future.done()
        for task in pool.tasks[2:]:
            task.ends()


def test_what_is_staged_is_published_before_a_stop() -> None:
    pool = FakePool(size=1)
    committer = SlowCommitter(2 * SHORT_SECONDS)

    with driving(pool, committer=committer) as (driver, listener):
        driver.add("import", range(1, 101))
        pool.task(1)
        pool.tasks[0].ends()
        listener.wait_for("import", pool.tasks[0].runs)
        pool.task(2)
        driver.stop(Interrupted())
        for task in pool.tasks[1:]:
            task.ends()
        listener.wait(lambda: listener.reasons)
        staged = {run for task in pool.tasks for run in task.runs}

        assert set().union(*committer.together) == staged
        assert {run for _, run in listener.outcomes} == staged
