"""One Snakemake process: what the Snakefile, the executor and the hooks share.

`begin` is called at the top of the Snakefile and only reads, but for taking the lock. `finish` is called by its hooks.
"""

from __future__ import annotations

import logging
import os
import re
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import yaml

from rra_state.base import files, log
from rra_state.base.errors import ArchiverError, ConfigError, Interrupted, UsageError
from rra_state.base.lock import Lock
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.config.warnings import cautions
from rra_state.execution import events
from rra_state.monitoring import after_cycle
from rra_state.monitoring.cycle_history import Ended
from rra_state.state import planner
from rra_state.state.outcome import STAGES
from rra_state.state.planner import Window
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import StateFiles
from rra_state.state.tally import Tally

VALIDATE_KEY = "rra_validate"
"""Key of Snakemake's `--config` that asks for the check of the metadata keys."""
_OWN_KEYS = {planner.WINDOW_KEY, VALIDATE_KEY}

KEPT_LOGS = 50
"""Snakemake's own logs in `.snakemake/log` of the work directory: so many of the last processes."""

_TARGET = re.compile(r"(?:.*/)?markers/(?:import|migrate)/([1-9][0-9]*)\.json")
READ_ONLY_FLAGS = frozenset(
    """
    --dry-run --dryrun --summary -S --detailed-summary -D --list-changes --lc --list-input-changes --li
    --list-params-changes --lp --list-untracked --lu --dag --rulegraph --filegraph --d3dag --list-rules --list -l
    --list-target-rules --lt --lint --unlock --containerize --report --print-compilation --archive
    """.split()  # noqa: SIM905 - forty quoted words would hide them
)
"""Arguments of Snakemake with which it starts no job, so that no lock is needed."""


@dataclass
class Session:
    """Settings, window and lock of this process.

    fault: why the cycle ended early. tried: whether a run was; jobs without the executor can not tell, so True, and
    they are not in the tally. began: monotonic seconds.
    """

    settings: Settings
    window: Window
    lock: Lock | None
    validate: bool
    fault: ArchiverError | None = None
    tried: bool = True
    tally: Tally = field(default_factory=Tally)
    began: float = field(default_factory=time.monotonic)

    @property
    def lock_held(self) -> bool:
        """True if this process, or the command line that started it, holds the archive's lock."""
        return self.lock is not None


_session: Session | None = None


def current() -> Session:
    """The session of this process."""
    assert _session is not None  # noqa: S101 - the Snakefile began it
    return _session


def begin(mapping: dict[str, Any], files: Sequence[str | Path], arguments: Sequence[str] = sys.argv) -> Session:
    """Load the configuration, take the lock unless Snakemake will only read, and plan this window.

    mapping, files: Snakemake's `config` and `--configfile`s. Ends the process with one readable line on any
    ArchiverError: an exception would add a traceback of Snakemake's.
    """
    global _session  # noqa: PLW0603 - hooks and executor have no other way to the Snakefile's values
    try:
        settings = _settings(mapping, files)
        _refuse_other_directory(settings, arguments)
        held = None
        if not _only_reads(arguments):
            held = Lock(settings.app.work_dir, settings.app.lock_file)
            if not held.inherit(os.environ):
                held.acquire()
            _tidy_after_snakemake(settings.app.work_dir)
        log.setup(settings.app, to_console=events.VARIABLE not in os.environ)
        if held is not None and events.VARIABLE not in os.environ:
            for caution in cautions(settings):
                logging.getLogger("rra").warning("%s", caution)
        window = planner.current(settings, mapping)
        named = _named_runs(arguments)
        if named:
            window = replace(window, explicit=True)
            _refuse_unknown(settings, named)
    except ArchiverError as error:
        print(error, file=sys.stderr)  # noqa: T201 - logging may not be set up yet
        sys.exit(1)
    tried = bool(window.imports or window.migrations)
    _session = Session(settings, window, held, bool(mapping.get(VALIDATE_KEY)), tried=tried)
    mapping.clear()  # Snakemake would copy it, passwords included, into the preamble of every script
    return _session


def finish() -> None:
    """Do what ends a cycle of a plain Snakemake: state files, failure logs, aftermath; exit 130 if interrupted.

    The command line does it for the Snakemake that it started.
    """
    session = current()
    if events.VARIABLE not in os.environ:
        error = _state_written(session)
        seconds = time.monotonic() - session.began
        after_cycle.follow(
            session.settings, Ended(session.tally.stages, seconds, session.tally, error or session.fault)
        )
        if error is not None:
            print(error, file=sys.stderr)  # noqa: T201 - the last word of a process that ends
            sys.exit(1)
    if isinstance(session.fault, Interrupted):
        sys.exit(130)


def _state_written(session: Session) -> ArchiverError | None:
    try:
        update_state(Snapshot.take(session.settings), attempted=session.tried, explicit=session.window.explicit)
    except ArchiverError as error:
        return error
    return None


def update_state(snapshot: Snapshot, *, attempted: bool = False, explicit: bool = False) -> None:
    """Derive and write state file, failure log and ledger of both stages. Raises ArchiverError.

    snapshot: taken after the last change.
    """
    snapshot.tree.remove(snapshot.leftovers)
    for stage in STAGES:
        StateFiles(snapshot.settings, stage).update(snapshot.known(stage), attempted=attempted, explicit=explicit)


def _settings(mapping: Mapping[str, Any], files: Sequence[str | Path]) -> Settings:
    if len(files) != 1:
        raise ConfigError("the workflow needs exactly one configuration", hint="snakemake --configfile CONFIG.yaml")
    settings = loading.load(files[0])
    written = yaml.safe_load(Path(files[0]).read_text(encoding="utf-8"))
    changed = [key for key in mapping if key not in _OWN_KEYS and mapping[key] != written.get(key)]
    if changed:
        # Scripts and workers read the file; they would not see it.
        raise ConfigError(f"--config {changed[0]}: settings come from {files[0]} alone", hint="change that file")
    return settings


def _refuse_other_directory(settings: Settings, arguments: Sequence[str]) -> None:
    """Another `--directory` would silently split the markers from the state."""
    given = [value for flag, value in pairwise(arguments) if flag in ("-d", "--directory")]
    given += [match[1] for argument in arguments if (match := re.fullmatch("(?:--directory=|-d)(.+)", argument))]
    for value in given:
        if Path(value).resolve() != settings.app.work_dir.resolve():
            raise ConfigError(f"--directory {value}: the work directory is app.work_dir", path=settings.path)


def _named_runs(arguments: Sequence[str]) -> set[int]:
    """The runs whose markers are targets of this Snakemake."""
    return {int(match[1]) for argument in arguments if (match := _TARGET.fullmatch(argument))}


def _refuse_unknown(settings: Settings, named: set[int]) -> None:
    snapshot = Snapshot.take(settings)
    unknown = named - snapshot.records - snapshot.archived["import"]
    if unknown:
        raise UsageError(f"run {min(unknown)} is neither on disk nor in artdaqDB", hint="see --report-status")


def _only_reads(arguments: Sequence[str]) -> bool:
    """True if this Snakemake starts no job, or was itself started by another one for a job: no lock is needed."""
    dry_run = any(re.fullmatch("-[pkFrq]*n[pkFrq]*", argument) for argument in arguments)
    return dry_run or bool((READ_ONLY_FLAGS | {"--mode", "--target-jobs"}) & set(arguments))


def _tidy_after_snakemake(work_dir: Path) -> None:
    """Remove what a killed Snakemake left, since we hold the archive's lock and no other is alive, and its old logs.

    It keeps a log of every process for ever: at a cycle every few minutes 100,000 files a year.
    """
    kept = work_dir / ".snakemake"
    files.remove_batch((kept / "locks").glob("*"))
    files.remove_batch(sorted((kept / "log").glob("*.snakemake.log"))[:-KEPT_LOGS])  # their names begin with the time
