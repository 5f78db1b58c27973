"""A pool that works, dies and refuses on command, and a listener that remembers: for tests of the driver."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rra_state.base.errors import (
    ArchiverError,
    WorkersUnusable,
)
from rra_state.execution.driver import Driver
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Outcome, Stage
from rra_state.workers.import_stage import import_runs
from rra_state.workers.migrate_stage import migrate_runs
from rra_state.workers.refresh_stage import replace_blobs, stage_changed
from tests.waiting import scaled

PATIENCE = scaled(2)
_STAGES: dict[Callable[..., Any], Stage] = {
    import_runs: "import",
    migrate_runs: "migrate",
    stage_changed: "refresh",
    replace_blobs: "refresh",
}
Result = list[Outcome] | BaseException


def good(runs: Iterable[int]) -> list[Outcome]:
    return [Outcome(run, facts=Facts(verified=True)) for run in runs]


@dataclass
class Task:
    """A chunk at a worker."""

    stage: Stage
    runs: tuple[int, ...]
    options: dict[str, Any]
    future: Future[list[Outcome]]

    def ends(self, result: Result | None = None) -> None:
        if isinstance(result, BaseException):
            self.future.set_exception(result)
        else:
            self.future.set_result(good(self.runs) if result is None else result)


class FakePool:
    """Keeps chunks until the test ends them, or ends them itself by `work`."""

    def __init__(self, size: int = 1, work: Callable[[Task], Result] | None = None) -> None:
        self.size = size
        self.work = work
        self.tasks: list[Task] = []
        self.renewed = 0
        self.stopping = threading.Event()
        self.closed = False
        self.refuse: BaseException | None = None
        self.cannot_start = False
        self._arrived = threading.Condition()

    def submit(self, function: Callable[..., Any], runs: tuple[int, ...], located: object, **options: Any) -> Any:
        if self.refuse is not None:
            error, self.refuse = self.refuse, None
            raise error
        stage = _STAGES[function]
        task = Task(stage, runs, options, Future())
        with self._arrived:
            self.tasks.append(task)
            self._arrived.notify_all()
        if self.work is not None:
            task.ends(self.work(task))
        return task.future

    def task(self, number: int) -> Task:
        """The chunk handed out as number so and so; waits for it."""
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.tasks) > number, PATIENCE), "no such chunk was handed out"
        return self.tasks[number]

    def renew(self) -> None:
        if self.cannot_start:
            raise WorkersUnusable
        self.renewed += 1

    def ask_to_stop(self) -> None:
        self.stopping.set()

    def close(self) -> None:
        self.closed = True


class FakeListener:
    """Remembers what it is told; `wait` blocks until something is so."""

    def __init__(self) -> None:
        self.outcomes: dict[tuple[Stage, int], list[Outcome]] = {}
        self.begun_not: list[tuple[Stage, int]] = []
        self.reasons: list[ArchiverError] = []
        self.stage_reasons: list[ArchiverError] = []
        self.finishing: list[int] = []
        self.failure: BaseException | None = None
        self.on_committed: Callable[[], None] = lambda: None
        self._told = threading.Condition()

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        with self._told:
            for outcome in outcomes:
                self.outcomes.setdefault((stage, outcome.run), []).append(outcome)
            self._told.notify_all()
        self.on_committed()

    def dropped(self, stage: Stage, numbers: Sequence[int]) -> None:
        with self._told:
            self.begun_not += [(stage, run) for run in numbers]
            self._told.notify_all()

    def stopping(self, number: int) -> None:
        with self._told:
            self.finishing.append(number)
            self._told.notify_all()

    def stage_stopped(self, error: ArchiverError) -> None:
        with self._told:
            self.stage_reasons.append(error)
            self._told.notify_all()

    def stopped(self, error: ArchiverError) -> None:
        with self._told:
            self.reasons.append(error)
            self._told.notify_all()

    def broken(self, error: BaseException) -> None:
        with self._told:
            self.failure = error
            self._told.notify_all()

    def wait(self, so: Callable[[], object]) -> None:
        with self._told:
            assert self._told.wait_for(lambda: bool(so()), PATIENCE), "the driver did not say so"

    def wait_for(self, stage: Stage, runs: Iterable[int]) -> None:
        wanted = {(stage, run) for run in runs}
        self.wait(lambda: wanted <= self.outcomes.keys())

    def failed(self) -> dict[int, str]:
        return {run: type(o.error).__name__ for (_, run), (o, *_) in self.outcomes.items() if o.error}


class NoStore:
    """Knows no run yet."""

    def __init__(self, error: ArchiverError | None = None) -> None:
        self.error = error

    def locate(self, runs: Iterable[int]) -> dict[int, Any]:
        if self.error is not None:
            raise self.error
        return {}


class FakeCommitter:
    """Settles everything as it is, unless told otherwise."""

    def __init__(self, tree: Tree | None = None) -> None:
        self.error: BaseException | None = None
        self.tree = tree
        self.refreshed: dict[str, Outcome] = {}

    def publish_refreshes(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        if isinstance(self.error, ArchiverError):
            return [Outcome(each.run, error=self.error) for each in outcomes]
        return list(outcomes)

    def commit_refresh(self, wanted: Refresh, outcome: Outcome) -> Outcome:
        self.refreshed[str(wanted)] = outcome
        return outcome

    def commit(self, stage: Stage, outcomes: Sequence[Outcome]) -> list[Outcome]:
        if self.error is not None:
            raise self.error
        return list(outcomes)


@contextmanager
def driving(
    pool: FakePool, store: NoStore | None = None, committer: FakeCommitter | None = None, *, validate: bool = False
) -> Iterator[tuple[Driver, FakeListener]]:
    listener = FakeListener()
    driver = Driver(pool, store or NoStore(), committer or FakeCommitter(), listener, validate=validate)  # type: ignore[arg-type]
    try:
        yield driver, listener
    finally:
        driver.close()
    assert pool.closed


def all_said_is_done(driver: Driver) -> None:
    """Wait until the driver's thread has dealt with every message it was left so far."""
    done = threading.Event()
    driver._messages.put(done.set)
    assert done.wait(PATIENCE)


class SlowCommitter(FakeCommitter):
    """Publishing takes its time, as in a large archive; remembers what it published together."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds
        self.together: list[set[int]] = []

    def commit(self, stage: Stage, outcomes: Sequence[Outcome]) -> list[Outcome]:
        if stage == "import":
            time.sleep(self.seconds)
            self.together.append({outcome.run for outcome in outcomes})
        return super().commit(stage, outcomes)
