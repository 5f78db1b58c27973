"""One cycle of the command line: plan, let Snakemake do window after window, keep the state files true.

The lock is held from before the first look at the tree to after the last write.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType

from rra_state.base import host_limits, lock
from rra_state.base.errors import ArchiverError, Interrupted, LockHeld, WorkDirError
from rra_state.base.lock import Lock
from rra_state.config.loading import Settings
from rra_state.cycle import current_cycle, paths, snakemake_session, window_process
from rra_state.cycle.display import Display
from rra_state.cycle.window_process import Errand, Process
from rra_state.execution import events as telling
from rra_state.monitoring import after_cycle
from rra_state.monitoring.cycle_history import Ended
from rra_state.state import index_losses, planner
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import Stage
from rra_state.state.planner import WINDOW_KEY, Selection, Window
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Tally
from rra_state.stores import artdaqdb

log = logging.getLogger("rra")

LONGEST_REASON = 400
"""Characters of a line of Snakemake's that are told."""


@dataclass(frozen=True, slots=True)
class Options:
    """How a cycle is done, apart from which runs it takes."""

    validate: bool = False
    quiet: bool = False
    verbose: bool = False


@dataclass(slots=True)
class Result:
    """What a cycle did. stopped: why it ended early, None if it did not. snapshot: taken after its last change."""

    tally: Tally = field(default_factory=Tally)
    refreshed: int = 0
    problems: int = 0
    stopped: Exception | None = None
    seconds: float = 0.0
    snapshot: Snapshot | None = None

    @property
    def total(self) -> int:
        """Runs archived or failed."""
        return sum(self.tally.archived.values()) + sum(self.tally.failed.values())

    @property
    def good(self) -> bool:
        """True if every run the cycle took is archived and nothing else went wrong."""
        return self.stopped is None and not any(self.tally.failed.values()) and not self.problems


def run(settings: Settings, selection: Selection, options: Options) -> Result:
    """Archive what `selection` asks for; `stopped` says what kept it from that. Raises LockHeld.

    What follows a cycle (`aftermath.py`) is done before the lock is given back.
    """
    began = time.monotonic()
    held = Lock(settings.app.work_dir, settings.app.lock_file)
    result = Result()
    try:
        _archive_or_stop(settings, selection, options, held, result)
        result.seconds = time.monotonic() - began
        ended = Ended(selection.stages, result.seconds, result.tally, result.stopped)
        after_cycle.follow(settings, ended, result.snapshot)
    finally:
        held.release()
    return result


def _archive_or_stop(settings: Settings, selection: Selection, options: Options, held: Lock, result: Result) -> None:
    try:
        _archive(settings, selection, options, held, result)
    except LockHeld:
        raise
    except Exception as error:  # people have to be told of any; the command line raises it again
        result.stopped = error if isinstance(error, ArchiverError) else host_limits.refusal(error) or error


def _archive(settings: Settings, selection: Selection, options: Options, held: Lock, result: Result) -> None:
    held.acquire()
    tree = Tree(settings.app.work_dir)
    tree.prepare()
    snapshot = Snapshot.take(settings)
    if index_losses.reclaim(snapshot, artdaqdb.open_store(settings.artdaq_db)):
        snapshot = snapshot.again()
    snakemake_session.update_state(snapshot)
    for name, reason in snapshot.ignored:
        log.debug("%s: %s is ignored: %s", settings.source_files.run_records_dir, name, reason)
    snapshot.changes.remember(tree)
    windows = planner.windows(snapshot, selection)
    named = planner.named(snapshot, selection)
    for level, text in named.lines():
        log.log(level, "%s", text)
    result.problems += len(named.refused)
    if not windows:
        result.snapshot = snapshot
        return
    current_cycle.announce(tree, windows)
    _windows(snapshot, windows, held, options, result)


def _windows(snapshot: Snapshot, windows: list[Window], held: Lock, options: Options, result: Result) -> None:
    settings = snapshot.settings
    totals: dict[Stage, int] = {
        "import": sum(len(window.imports) for window in windows),
        "migrate": sum(len(window.migrations) for window in windows),
    }
    with Display(totals, quiet=options.quiet) as display, _Child() as process:
        result.tally = display.tally
        for window in windows:
            before = display.begin_window()
            error = process.run(settings, window, held, display, options)
            result.snapshot = snapshot = snapshot.again()
            snakemake_session.update_state(snapshot, attempted=display.tried > before, explicit=window.explicit)
            _tell_refreshes(snapshot, window, result)
            if error is not None:
                result.stopped = error
                break
        result.problems += display.problems


def _tell_refreshes(snapshot: Snapshot, window: Window, result: Result) -> None:
    """Tell what became of changed records: their jobs are processes of their own, which nobody listens to."""
    for each in window.refreshes:
        if each.fingerprint in snapshot.refreshed.get(each.run, ()):
            result.refreshed += 1
            log.info("run %d: its record has changed; both stores hold it as it is now", each.run)
            continue
        result.problems += 1
        log.error("%s", _why_not_refreshed(snapshot.tree, each))


def _why_not_refreshed(tree: Tree, wanted: Refresh) -> str:
    try:
        failure = tree.failed_refresh(str(wanted))
    except WorkDirError as error:
        return f"run {wanted.run}: {error}"
    if failure is not None:
        return failure.message
    return f"run {wanted.run}: its record has changed and could not be archived again; the next cycle tries"


class _Child:
    """The Snakemake process of the window in hand. Signals to this process are handed on to it."""

    def __init__(self) -> None:
        self._process: Process | None = None
        self._interrupted = False

    def __enter__(self) -> _Child:
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def run(
        self, settings: Settings, window: Window, held: Lock, display: Display, options: Options
    ) -> ArchiverError | None:
        """Do one window; give the reason if the cycle has to end with it."""
        if self._interrupted:
            return Interrupted("interrupted before the next window began")
        with _pipe() as (reader, writer):
            environ = {name: value for name, value in os.environ.items() if not name.startswith("SNAKEMAKE_")}
            environ |= {lock.VARIABLE: str(held.inheritable), telling.VARIABLE: str(writer)}
            # Snakemake wants a user's name and a cache; an account may have no entry in passwd and no home directory.
            environ.setdefault("LOGNAME", environ.get("USER", str(os.geteuid())))
            environ["XDG_CACHE_HOME"] = str(settings.app.work_dir / ".snakemake" / "cache")
            handed, arguments = (held.inheritable, writer), _arguments(settings, window, options)
            errand = Errand(settings.path, len(window), arguments, settings.app.work_dir, environ, handed)
            self._process = window_process.start(errand, close=(reader,))
            os.close(writer)
            if self._interrupted:
                self._process.terminate()  # the signal came while the process was being made
            tail = _Tail(self._process, echo=options.verbose)
            with os.fdopen(os.dup(reader), "rb") as events:
                for line in events:
                    display.show(json.loads(line))
            status = self._process.wait()
        return self._verdict(status, window, display, tail)

    def _verdict(self, status: int, window: Window, display: Display, tail: _Tail) -> ArchiverError | None:
        if self._interrupted:
            return Interrupted(display.stopped or "interrupted")
        if display.stopped:
            return ArchiverError(display.stopped)
        # What became of refreshes is told by the tree, see `_tell_refreshes`.
        explained = any(display.tally.failed.values()) or display.postponed or window.refreshes
        if status != 0 and not explained:
            log.debug("%s", tail.text())
            said, remedy = tail.reason()
            return ArchiverError(
                f"the workflow ended with status {status}: {said}", hint=None if remedy in said else remedy
            )
        if status == 0 and any(display.window[stage] < len(runs) for stage, runs in window.stages()):
            return ArchiverError("the workflow ended without having tried all runs", hint="-v shows what it printed")
        return None

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        self._interrupted = True
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()


def _arguments(settings: Settings, window: Window, options: Options) -> list[str]:
    """What Snakemake is called with."""
    config = [f"{WINDOW_KEY}={json.dumps(window.mapping())}"]
    if options.validate:
        config.append(f"{snakemake_session.VALIDATE_KEY}=true")
    return [
        "all",
        *("--snakefile", str(paths.SNAKEFILE)),
        *("--workflow-profile", str(paths.PROFILE if settings.app.workers is None else paths.CLUSTER_PROFILE)),
        *("--directory", str(settings.app.work_dir)),
        *("--configfile", str(settings.path)),
        *("--config", *config),
    ]


@contextmanager
def _pipe() -> Iterator[tuple[int, int]]:
    """A pipe for events; the reader is closed at the end, the writer by whoever handed it on."""
    reader, writer = os.pipe()
    try:
        yield reader, writer
    finally:
        os.close(reader)


class _Tail:
    """Keeps the last lines a process prints, for the case that it ends unexpectedly."""

    def __init__(self, process: Process, *, echo: bool) -> None:
        self._lines: deque[str] = deque(maxlen=400)
        self._echo = echo
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The last lines."""
        self._thread.join(timeout=5)
        return "\n".join(self._lines)

    def reason(self) -> tuple[str, str]:
        """The last line that tells of a limit of the host's, else the last that says anything; and what helps."""
        # Snakemake's own logger shows some exceptions with everything in one line.
        text = self.text().replace("\\n", "\n")
        lines = [line.strip()[:LONGEST_REASON] for line in reversed(text.splitlines()) if line.strip()]
        limited = ((line, remedy) for line in lines if (remedy := host_limits.remedy(line)))
        return next(limited, (lines[0] if lines else "no word from it", "-v shows all that it printed"))

    def _read(self, process: Process) -> None:
        assert process.stdout is not None  # noqa: S101 - it was asked for
        for line in process.stdout:
            text = line.decode("utf-8", "replace").rstrip()
            self._lines.append(text)
            if self._echo:
                log.debug("snakemake: %s", text)
