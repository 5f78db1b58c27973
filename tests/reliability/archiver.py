"""The archiver in this process: `cycle.run` as it is, but for the Snakemake child, whose part is played here.

A window is done by the real Driver, Committer and stages over real stores; only the worker processes and Snakemake's
own bookkeeping (a run is migrated once its import marker is there) are stood in for. A cycle takes milliseconds.
"""

from __future__ import annotations

import faulthandler
import math
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

from rra_state.base.errors import ArchiverError, Interrupted
from rra_state.base.lock import Lock
from rra_state.config.loading import Settings
from rra_state.cycle import cycle, snakemake_session
from rra_state.cycle.display import Display
from rra_state.execution import driver, pool
from rra_state.execution.commit import Committer
from rra_state.execution.driver import Driver
from rra_state.execution.events import EventSender
from rra_state.execution.pool import BrokenExecutor
from rra_state.state import index_losses, recovery
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Outcome, Stage
from rra_state.state.planner import Selection, Window
from rra_state.state.snapshot import Snapshot
from rra_state.stores import artdaqdb
from rra_state.workers.worker import WorkerContext
from tests.reliability.faults import Course, Killed, Signal, Unreliable

CHUNK = 3
PATIENCE = 300.0


@dataclass
class Report:
    """What a cycle did. taken: runs whose archiving was begun, as the stages were called. killed: it did not end."""

    taken: dict[Stage, list[int]] = field(default_factory=lambda: {stage: [] for stage in STAGES})
    archived: dict[Stage, set[int]] = field(default_factory=lambda: {stage: set() for stage in STAGES})
    failed: dict[Stage, set[int]] = field(default_factory=lambda: {stage: set() for stage in STAGES})
    stopped: ArchiverError | None = None
    killed: bool = False
    troubled: bool = False

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """Note what became of runs."""
        for outcome in outcomes:
            if not outcome.untried and stage in STAGES:
                self.taken[stage].append(outcome.run)
                (self.archived if outcome.archived else self.failed)[stage].add(outcome.run)


def run(settings: Settings, selection: Selection, course: Course, updated: Callable[[Report], None]) -> Report:
    """One cycle. updated: called after each update of the state files."""
    report = Report()

    def update_state(chosen: Snapshot, *, attempted: bool = False, explicit: bool = False) -> None:
        real_update(chosen, attempted=attempted, explicit=explicit)
        updated(report)

    real_update = snakemake_session.update_state
    with (
        mock.patch.object(cycle, "_WindowRunner", partial(SameProcess, report, course)),
        mock.patch.object(snakemake_session, "update_state", update_state),
        mock.patch.object(driver, "CHUNK", CHUNK),
        mock.patch.object(pool, "ProcessPool", InProcessPool),
        process(cycle, course),
    ):
        report.stopped = cycle.run(settings, selection, cycle.Options(quiet=True)).stopped
    report.killed = course.dead
    report.troubled = course.happened
    return report


def recover(settings: Settings, chosen: Sequence[Stage], course: Course) -> bool:
    """Rebuild what the archiver knows of these stages; False if it was killed meanwhile."""
    with process(recovery, course):
        recovery.recover(settings, chosen, lambda _line: None)
    return not course.dead


@contextmanager
def process(module: ModuleType, course: Course) -> Iterator[None]:
    """What is done within is done by a process that may be killed; the kernel then frees the locks it holds."""
    locks: list[Lock] = []

    def lock(*paths: Path) -> Lock:
        locks.append(Lock(*paths))
        return locks[-1]

    with (
        mock.patch.object(module, "Lock", lock),
        mock.patch.object(driver, "SHORT_SECONDS", math.inf),  # else a slow machine publishes later, in other pieces
        course.in_effect(),
    ):
        try:
            yield
        except Killed:
            for held in locks:
                held.release()


class SameProcess:
    """Stands in for the child process: does a window here. Everything in memory ends with it."""

    def __init__(self, report: Report, course: Course) -> None:
        self._report = report
        self._course = course

    def __enter__(self) -> SameProcess:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def run(
        self, settings: Settings, window: Window, _held: object, display: Display, options: cycle.Options
    ) -> ArchiverError | None:
        assert settings.app.workers is None, "a cluster is not played here"
        handed_over = Window.from_mapping(window.mapping())
        workflow = _Workflow(settings, handed_over, self._report, display, self._course, validate=options.validate)
        error = workflow.run()
        interrupted = (
            self._course.happened and self._course.fault is not None and self._course.fault.kind == "interrupt"
        )
        return Interrupted() if interrupted else error


class _DisplaySink(EventSender):
    """Tells the display without a pipe in between."""

    def __init__(self, display: Display) -> None:
        self._display = display

    def _send(self, **event: Any) -> None:
        self._display.show(event)


def worked(
    function: Callable[..., Any], context: WorkerContext, arguments: Sequence[Any], options: Mapping[str, Any]
) -> Future[Any]:
    """What a worker process does with a chunk, done here. All that passes between the processes is pickled."""
    future: Future[Any] = Future()
    first, *others = pickle.loads(pickle.dumps(arguments))
    try:
        result = function(first, context, *others, **options)
        future.set_result(pickle.loads(pickle.dumps(result)))
    except Exception as error:
        future.set_exception(error)
    return future


class InProcessPool:
    """Stands in for the worker processes of a verification: does at once what it is handed."""

    size = 1

    def __init__(self, settings: Any, *, most: int | None = None) -> None:
        self._context = WorkerContext(settings)

    def submit(self, function: Any, *arguments: Any, **options: Any) -> Future[Any]:
        return worked(function, self._context, arguments, options)

    def close(self) -> None:
        pass


class _Pool:
    """One worker, in the driver's thread."""

    size = 1

    def __init__(self, bench: WorkerContext, stop: Signal, course: Course) -> None:
        self._bench = bench
        self._stop = stop
        self._course = course

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        if self._course.due("worker"):
            future: Future[Any] = Future()
            future.set_exception(BrokenExecutor("a worker died"))
            return future
        return worked(function, self._bench, arguments, options)

    def renew(self) -> None:
        pass

    def ask_to_stop(self) -> None:
        self._stop.set()

    def close(self) -> None:
        self._stop.set()


class _Workflow:
    """What Snakemake and its executor do with a window: which job is ready when, and when all is over."""

    def __init__(
        self, settings: Settings, window: Window, report: Report, display: Display, course: Course, *, validate: bool
    ) -> None:
        self._tree = tree = Tree(settings.app.work_dir)
        tree.prepare()
        stop = Signal(course, lambda: self._driver.stop(Interrupted()))
        bench = WorkerContext(settings, stop)
        self._store: Any = Unreliable(artdaqdb.open_store(settings.artdaq_db), "artdaqdb", course)
        bench.artdaqdb = Unreliable(artdaqdb.open_store(settings.artdaq_db), "artdaqdb", course)  # type: ignore[assignment]
        bench.ucondb = Unreliable(bench.ucondb, "ucondb", course)  # type: ignore[assignment]
        committer = Committer(tree, self._store)
        self._driver = Driver(_Pool(bench, stop, course), self._store, committer, self, validate=validate)
        self._window = window
        self._report = report
        self._events = _DisplaySink(display)
        imported, migrated = tree.archived("import"), tree.archived("migrate")
        self._waiting = set(window.migrations) - migrated
        # As the rules say: a migration without an import marker asks for the import first.
        self._open: set[tuple[Stage, int]] = {("import", run) for run in (window.imports | self._waiting) - imported}
        self._open |= {("refresh", each.run) for each in window.refreshes}
        self._halted = False
        self._stopped_stages: set[str] = set()
        self._fault: BaseException | None = None
        self._over = threading.Event()

    def run(self) -> ArchiverError | None:
        """Do the window; give the reason if the cycle has to end."""
        if self._open or self._waiting:
            self._driver._messages.put(self._begin)
            self._driver._thread.start()
            assert self._over.wait(PATIENCE), "the window does not end"
            self._driver.close()
            if self._driver._thread.is_alive():  # seen once, for 300 s, in a process forked beside a proxy's threads
                faulthandler.dump_traceback()
        if self._fault is not None and not isinstance(self._fault, ArchiverError):
            raise self._fault
        if self._fault is None:
            index_losses.remember(self._tree, self._store)
        return self._fault

    # ---- all that follows happens in the driver's thread, so that a history always goes the same way -----------------

    def _begin(self) -> None:
        imports = self._window.sorted(run for stage, run in self._open if stage == "import")
        if imports:
            self._driver.add("import", imports)
        if self._window.refreshes:
            self._driver.add_refreshes(self._window.refreshes)
        self._release(self._waiting.difference(imports))

    def _release(self, numbers: Set[int]) -> None:
        if numbers:
            self._waiting -= numbers
            self._open |= {("migrate", run) for run in numbers}
            self._driver.add("migrate", self._window.sorted(numbers))

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        archived = [outcome.run for outcome in outcomes if outcome.archived]
        self._report.committed(stage, outcomes)
        self._events.committed(stage, outcomes)
        self._open.difference_update((stage, outcome.run) for outcome in outcomes)
        errors = [outcome.error for outcome in outcomes if outcome.error]
        self._halted = self._halted or any(error.stops_cycle and error.stage is None for error in errors)
        if stage == "import" and not self._halted:
            self._release(self._waiting.intersection(archived))
        self._end_if_done()

    def dropped(self, stage: Stage, numbers: Sequence[int]) -> None:
        self._open.difference_update((stage, run) for run in numbers)
        self._halted = self._halted or stage not in self._stopped_stages
        self._end_if_done()

    def stage_stopped(self, error: ArchiverError) -> None:
        self._stopped_stages |= {str(error.stage), "refresh"}
        self._events.stopped(error)

    def stopping(self, number: int) -> None:
        self._events.stopping(number)

    def stopped(self, error: ArchiverError) -> None:
        self._fault = error
        self._over.set()

    def broken(self, error: BaseException) -> None:
        self._fault = error
        self._over.set()

    def _end_if_done(self) -> None:
        if not self._open and not self._halted:
            self._over.set()
