"""One cycle of the command line: plan, start Snakemake for each window, update the state files after each.

The lock is held from before the marker tree is first read until after the last write.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import FrameType

from rra_state.base import host_limits, lock, run_numbers
from rra_state.base.errors import ArchiverError, Interrupted, LockHeld, NotFinished
from rra_state.base.lock import Lock
from rra_state.config.loading import Settings
from rra_state.cycle import current_cycle, snakemake_session, window_process
from rra_state.cycle.display import Display
from rra_state.cycle.window_process import Tail
from rra_state.execution import events, verification
from rra_state.monitoring import after_cycle
from rra_state.state import index_losses, lost_runs, newer_versions, planner
from rra_state.state.changed_records import NamedRuns
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Failure, Outcome, Stage
from rra_state.state.planner import WINDOW_KEY, Selection, Window
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended, Tally
from rra_state.stores import artdaqdb

log = logging.getLogger("rra")
_MOST_NAMED = 10
"""Entries of the records' directory that a cycle names."""


@dataclass(frozen=True, slots=True)
class Options:
    """Options of a cycle that do not select runs."""

    validate: bool = False
    quiet: bool = False
    verbose: bool = False


@dataclass(slots=True)
class Result:
    """What a cycle did. faults: the errors that ended it, or a stage of it, early. snapshot: after its last change."""

    tally: Tally = field(default_factory=Tally)
    problems: int = 0
    faults: list[Exception] = field(default_factory=list)
    seconds: float = 0.0
    snapshot: Snapshot | None = None

    @property
    def total(self) -> int:
        """Runs archived or failed, and changed records archived again or failed."""
        return self.tally.tried + self.tally.refreshed + self.tally.not_refreshed

    @property
    def stopped(self) -> Exception | None:
        """Why it ended early, if it did: an error that ended all of it before those that ended one stage."""
        whole = (fault for fault in reversed(self.faults) if not _stages_ended_by(fault))
        return next(whole, self.faults[0] if self.faults else None)

    def sound(self, stages: Iterable[Stage]) -> tuple[Stage, ...]:
        """Those of the stages that no fault ended early."""
        ended = {stage for fault in self.faults for stage in _stages_ended_by(fault) or stages}
        return tuple(stage for stage in stages if stage not in ended)

    @property
    def good(self) -> bool:
        """True if every run of the cycle is archived and there was no other error."""
        return not self.faults and not any(self.tally.failed.values()) and not self.problems


def _stages_ended_by(fault: Exception) -> set[str]:
    """The stage that a fault ended, if it ended only one."""
    return {fault.stage} if isinstance(fault, ArchiverError) and fault.stage else set()


def run(settings: Settings, selection: Selection, options: Options) -> Result:
    """Archive the runs of `selection`; errors that ended it early are in `faults`. Raises LockHeld.

    Page, metrics and messages (`monitoring/after_cycle.py`) follow before the lock is released.
    """
    began = time.monotonic()
    held = Lock(settings.app.work_dir, settings.app.lock_file)
    result = Result()
    try:
        _archive_or_stop(settings, selection, options, held, result)
        result.seconds = time.monotonic() - began
        ended = Ended(
            selection.stages, result.seconds, result.tally, result.stopped, sound=result.sound(selection.stages)
        )
        after_cycle.run(settings, ended, result.snapshot)
    finally:
        held.release()
    return result


def _archive_or_stop(settings: Settings, selection: Selection, options: Options, held: Lock, result: Result) -> None:
    try:
        _archive(settings, selection, options, held, result)
    except LockHeld:
        raise
    except Exception as error:  # a message is sent about any error; the command line raises it again
        result.faults.append(error if isinstance(error, ArchiverError) else host_limits.refusal(error) or error)


def _archive(settings: Settings, selection: Selection, options: Options, held: Lock, result: Result) -> None:
    held.acquire()
    tree = Tree(settings.app.work_dir)
    tree.prepare()
    snapshot, store = Snapshot.take(settings), artdaqdb.open_store(settings.artdaq_db)
    if index_losses.reclaim(snapshot, store):
        snapshot = snapshot.again()
    newer_versions.look(tree, store, (selection.only or ()) if selection.mode == "refresh" else ())
    result.problems += lost_runs.seen_is_unknown(tree)
    gone = lost_runs.notice(snapshot) if snapshot.source_error is None else set()
    result.problems += len(gone)
    if gone or snapshot.returned:
        snapshot = snapshot.again()
    snakemake_session.update_state(snapshot)
    result.snapshot = snapshot
    named, windows = NamedRuns(), planner.windows(snapshot, selection)
    if snapshot.source_error is None:
        named = _log_records(snapshot, selection)
        result.problems += len(named.refused)
        snapshot = result.snapshot = _without_obsolete_failures(snapshot, selection, named)
    else:
        result.faults.append(snapshot.source_error)
    if windows:
        current_cycle.record_plan(tree, windows)
        _note_begun(snapshot, named)
        _windows(snapshot, windows, held, options, result)
        result.problems += _log_left(named, result.snapshot)
    if not result.faults and selection.stages != ("import",):
        _verify(result)


def _verify(result: Result) -> None:
    """Read back and compare what was never compared, and what was found wrong before."""
    assert result.snapshot is not None  # noqa: S101 - taken before
    try:
        found, result.snapshot = verification.verify_some(result.snapshot)
    except KeyboardInterrupt:
        raise Interrupted("interrupted while runs were verified") from None
    result.problems += found


def _log_records(snapshot: Snapshot, selection: Selection) -> NamedRuns:
    """Log which records are not taken, and save what was seen of the records; return the runs that --refresh names."""
    # A name of digits only was meant to be a run.
    if meant := [f"{name} {reason}" for name, reason in snapshot.ignored if name.isdigit()]:
        more = f" (and {len(meant) - _MOST_NAMED} more)" if len(meant) > _MOST_NAMED else ""
        directory = snapshot.settings.source_files.run_records_dir
        log.warning("not taken from %s: %s%s", directory, ", ".join(meant[:_MOST_NAMED]), more)
    snapshot.changes.remember(snapshot.tree)
    snapshot.remember()
    if waiting := planner.still_open(snapshot, selection):
        log.warning("still being written, so not taken yet: %s", run_numbers.text(waiting))
    named = planner.named(snapshot, selection)
    for level, text in named.lines():
        log.log(level, "%s", text)
    return named


def _without_obsolete_failures(snapshot: Snapshot, selection: Selection, named: NamedRuns) -> Snapshot:
    """Remove failure records of refreshes whose records are as archived again; return the snapshot after that."""
    as_archived = {*named.unchanged, *planner.failed_before(snapshot, selection).unchanged}
    as_archived |= {int(run) for run, _ in snapshot.changes.unchanged}
    if not as_archived & snapshot.outdated:
        return snapshot
    snapshot.tree.drop_failed_refreshes(as_archived & snapshot.outdated)
    return snapshot.again()


def _note_begun(snapshot: Snapshot, named: NamedRuns) -> None:
    """Write a failure record per refresh before it begins: if it is stopped between the stores, the run is not SAFE."""
    for each in named.changed:
        error = NotFinished(run=each.run, hint="a call without options, or --refresh once more, finishes it")
        snapshot.tree.write_failed_refresh(Failure.of("refresh", Outcome(each.run, error=error, tries=0)), str(each))


def _log_left(named: NamedRuns, after: Snapshot) -> int:
    """Log which runs of --refresh were not finished; return 1 if there are some."""
    failures = after.failures("refresh")
    begun = (failures[each.run] for each in named.changed if each.run in failures)
    left = {each.run for each in begun if isinstance(each, Failure) and each.kind == NotFinished.__name__}
    if left:
        runs = run_numbers.text(left)
        log.error("not finished: %s (a call without options, or --refresh %s once more, finishes it)", runs, runs)
    return int(bool(left))


def _windows(snapshot: Snapshot, windows: list[Window], held: Lock, options: Options, result: Result) -> None:
    settings = snapshot.settings
    totals: dict[Stage, int] = {
        "import": sum(len(window.imports) for window in windows),
        "migrate": sum(len(window.migrations) for window in windows),
    }
    with Display(totals, quiet=options.quiet) as display, _WindowRunner() as runner:
        result.tally = display.tally
        for planned in windows:
            window = planned.without(display.stopped_stages)
            if not window:
                continue
            before = display.begin_window()
            error = runner.run(settings, window, held, display, options)
            result.snapshot = snapshot = snapshot.again()
            snakemake_session.update_state(snapshot, attempted=display.tally.tried > before, explicit=window.explicit)
            if error is not None:
                result.faults.append(error)
                break
        outages = [ArchiverError(text, stage=stage) for stage, text in display.stopped_stages.items()]
        result.faults = [*outages, *result.faults]
        if snapshot.source_error is not None and "import" in result.sound(STAGES):
            result.faults.append(snapshot.source_error)
        result.problems += display.problems


class _WindowRunner:
    """Runs the Snakemake process of each window, and passes signals of this process on to it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupted = False

    def __enter__(self) -> _WindowRunner:
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(
        self, settings: Settings, window: Window, held: Lock, display: Display, options: Options
    ) -> ArchiverError | None:
        """Run one window; return the error if the cycle has to end with it."""
        if self._interrupted:
            return Interrupted("interrupted before the next window began")
        reader, writer = os.pipe()
        with os.fdopen(reader, "rb") as lines:
            try:
                environ = _environment(settings, held, writer)
                arguments = _arguments(settings, window, options)
                self._process = window_process.start(
                    arguments, settings.app.work_dir, environ, keep=(held.inheritable, writer)
                )
            finally:
                os.close(writer)
            if self._interrupted:
                self._process.terminate()  # the signal came while the process was started
            tail = Tail(self._process, echo=options.verbose)
            for line in lines:
                if line.endswith(b"\n"):  # else the process was killed while it wrote
                    display.show(json.loads(line))
            status = self._process.wait()
        return self._verdict(status, window, display, tail)

    def _verdict(self, status: int, window: Window, display: Display, tail: Tail) -> ArchiverError | None:
        if self._interrupted:
            return Interrupted(display.stopped or "interrupted")
        if display.stopped:
            return ArchiverError(display.stopped)
        if status < 0:
            return ArchiverError(
                f"the workflow's process was ended by {signal.Signals(-status).name}",
                hint="by a person, or by the system for lack of memory (see dmesg); start the next cycle",
            )
        failed = any(display.tally.failed.values()) or display.tally.not_refreshed
        explained = failed or display.postponed or display.stopped_stages
        if status != 0 and not explained:
            for line in tail.text().splitlines():
                log.debug("snakemake: %s", line)
            reason, remedy = tail.reason()
            hint = None if remedy in reason else remedy
            return ArchiverError(f"the workflow ended with status {status}: {reason}", hint=hint)
        asked = {stage: len(runs) for stage, runs in window.stages()} | {"refresh": len(window.refreshes)}
        if status == 0 and any(display.tried_in_window[stage] < number for stage, number in asked.items()):
            return ArchiverError("the workflow ended without having tried all runs", hint="-v shows what it printed")
        return None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _arguments(settings: Settings, window: Window, options: Options) -> list[str]:
    """The command line arguments for Snakemake."""
    workflow = snakemake_session.FILES / "workflow"
    profile = "default" if settings.app.workers is None else "dask"
    config = [f"{WINDOW_KEY}={json.dumps(window.mapping())}"]
    if options.validate:
        config.append(f"{snakemake_session.VALIDATE_KEY}=true")
    return [
        "all",
        *("--snakefile", str(workflow / "Snakefile")),
        *("--workflow-profile", str(workflow / "profiles" / profile)),
        *("--directory", str(settings.app.work_dir)),
        *("--configfile", str(settings.path)),
        *("--config", *config),
    ]


def _environment(settings: Settings, held: Lock, writer: int) -> dict[str, str]:
    """The environment for Snakemake. writer: descriptor of the pipe for events."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE_")}
    environ |= {lock.VARIABLE: str(held.inheritable), events.VARIABLE: str(writer)}
    # Snakemake needs a user name, a home and a cache directory; an account may have no passwd entry.
    environ.setdefault("LOGNAME", environ.get("USER", str(os.geteuid())))
    if os.path.expanduser("~") == "~":  # noqa: PTH111 - Path.home raises an error
        environ["HOME"] = str(settings.app.work_dir)
    environ["XDG_CACHE_HOME"] = str(settings.app.work_dir / ".snakemake" / "cache")
    return environ
