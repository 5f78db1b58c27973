"""State of one Snakemake process, shared by the Snakefile, the executor plugin and the hooks.

The Snakefile calls `begin` at its top, which takes the lock and otherwise only reads. Its hooks call `finish`.
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
from rra_state.base.wording import printable
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.config.warnings import cautions
from rra_state.execution import events
from rra_state.monitoring import after_cycle
from rra_state.state import index_losses, newer_versions, planner
from rra_state.state.outcome import STAGES
from rra_state.state.planner import Selection, Window
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import StateFiles
from rra_state.state.tally import Ended, Tally
from rra_state.stores import artdaqdb

_log = logging.getLogger("rra")
_PACKAGE = Path(__file__).resolve().parents[1]
FILES = _PACKAGE / "_files" if (_PACKAGE / "_files").is_dir() else _PACKAGE.parent
"""Directory of `workflow`, `rules` and `scripts`: inside an installed package, beside the package of a checkout."""

VALIDATE_KEY = "rra_validate"
"""Key of Snakemake's `--config` that turns on the check of the metadata keys."""
_OWN_KEYS = {planner.WINDOW_KEY, VALIDATE_KEY}

KEPT_LOGS = 50
"""Number of Snakemake's own log files that are kept in `.snakemake/log` of the work directory."""

_GATHERING_RULES = ("all", "import_all", "migrate_all")
_TARGET = re.compile(r"(?:.*/)?markers/(?:import|migrate)/([1-9][0-9]*)\.json")
READ_ONLY_FLAGS = frozenset(
    """
    --dry-run --dryrun --summary -S --detailed-summary -D --list-changes --lc --list-input-changes --li
    --list-params-changes --lp --list-untracked --lu --dag --rulegraph --filegraph --d3dag --list-rules --list -l
    --list-target-rules --lt --lint --unlock --containerize --report --print-compilation --archive
    """.split()  # noqa: SIM905 - forty quoted words would hide them
)
"""Arguments with which Snakemake starts no job, so that no lock is needed."""


@dataclass
class SnakemakeSession:
    """Settings, window and lock of this process. lock: held by it, or by the command line that started it.

    explicit_target: Snakemake was asked for single runs, or for the report. fault: what ended the cycle early.
    tried: whether a run was tried. Without the executor plugin this is not known: it is True if the window has runs,
    and the tally stays empty. began: monotonic seconds.
    """

    settings: Settings
    window: Window
    lock: Lock | None
    validate: bool
    explicit_target: bool
    fault: ArchiverError | None = None
    tried: bool = True
    tally: Tally = field(default_factory=Tally)
    began: float = field(default_factory=time.monotonic)

    def command(self, script: str) -> list[str]:
        """The command of a job: a script in an isolated process.

        Snakemake's `script:` would not be isolated, and does not quote the interpreter's path.
        """
        return [sys.executable, "-I", str(FILES / "scripts" / script), str(self.settings.path)]


_session: SnakemakeSession | None = None


def current() -> SnakemakeSession:
    """The session of this process."""
    assert _session is not None  # noqa: S101 - the Snakefile called begin
    return _session


def begin(
    mapping: dict[str, Any], files: Sequence[str | Path], arguments: Sequence[str] = sys.argv
) -> SnakemakeSession:
    """Load the configuration, take the lock unless Snakemake will only read, and plan this window.

    mapping, files: Snakemake's `config` and `--configfile`s. On an ArchiverError it prints one line and ends the
    process: Snakemake would add a traceback to an exception. It also ends the process if the command line that started
    it was killed: the next cycle waits for the lock, which both have.
    """
    global _session  # noqa: PLW0603 - hooks and executor have no other way to the Snakefile's values
    started_by_us = events.VARIABLE in os.environ
    if events.parent_is_gone(os.environ):
        os._exit(130)
    try:
        settings = _settings(mapping, files)
        _refuse_other_directory(settings, arguments)
        held = None
        if not _only_reads(arguments):
            held = Lock(settings.app.work_dir, settings.app.lock_file)
            if not held.inherit(os.environ):
                held.acquire()
            _tidy_after_snakemake(settings.app.work_dir)
        level = None if started_by_us else logging.INFO
        log.setup(settings.app.log_file, settings.app.log_level, console_level=level)
        if held is not None and not started_by_us:
            for caution in cautions(settings):
                _log.warning("%s", caution)
        snapshot = None if planner.WINDOW_KEY in mapping else Snapshot.take(settings)
        if held is not None and snapshot is not None:
            store = artdaqdb.open_store(settings.artdaq_db)
            index_losses.missing(snapshot, store)
            newer_versions.look(snapshot.tree, store)
        window = planner.current(settings, mapping, snapshot)
        fault = None if snapshot is None else snapshot.source_error
        if held is not None:
            _filter_messages(started_by_us=started_by_us)
            if fault is not None:
                _log.error("%s", fault)
        # The runs whose markers are targets of this process.
        named = frozenset(int(match[1]) for argument in arguments if (match := _TARGET.fullmatch(argument)))
        if named:
            window = replace(window, explicit=True)
            if unknown := planner.not_found(Snapshot.take(settings), Selection(only=named)):
                raise UsageError(f"run {min(unknown)} is neither on disk nor in artdaqDB", hint="see --report-status")
    except ArchiverError as error:
        print(printable(str(error)), file=sys.stderr)  # noqa: T201 - logging may not be set up yet
        sys.exit(1)
    tried = bool(window.imports or window.migrations)
    explicit_target = bool(named) or "report" in arguments
    validate = bool(mapping.get(VALIDATE_KEY))
    _session = SnakemakeSession(settings, window, held, validate, explicit_target, fault=fault, tried=tried)
    mapping.clear()  # jobs read the file; Snakemake must not keep the passwords
    return _session


def finish() -> None:
    """End a cycle of a plain `snakemake`: write state files and failure logs, page, metrics and messages.

    Exits with 130 if interrupted. For a process that the command line started, the command line does all this.
    """
    session = current()
    if events.VARIABLE not in os.environ:
        if not session.window and not session.explicit_target:
            _log.info("nothing to do: no run is ready to be archived")
        fault = session.fault
        try:
            update_state(Snapshot.take(session.settings), attempted=session.tried, explicit=session.window.explicit)
        except ArchiverError as error:
            print(printable(str(error)), file=sys.stderr)  # noqa: T201 - the process ends with it
            fault = error
        seconds = time.monotonic() - session.began
        after_cycle.run(session.settings, Ended(session.tally.stages, seconds, session.tally, fault))
        if fault is not None and not isinstance(session.fault, Interrupted):
            sys.exit(1)
    if isinstance(session.fault, Interrupted):
        sys.exit(130)


def update_state(snapshot: Snapshot, *, attempted: bool = False, explicit: bool = False) -> None:
    """Derive and write state file, failure log and ledger of both stages. Raises ArchiverError.

    snapshot: taken after the last change of the tree. If the records cannot be read, the import stage's files stay.
    """
    snapshot.tree.remove(snapshot.leftovers)
    for stage in STAGES if snapshot.source_error is None else STAGES[1:]:
        StateFiles(snapshot.settings, stage).update(snapshot.known(stage), attempted=attempted, explicit=explicit)


def _settings(mapping: Mapping[str, Any], files: Sequence[str | Path]) -> Settings:
    if len(files) != 1:
        raise ConfigError("the workflow needs exactly one configuration", hint="snakemake --configfile CONFIG.yaml")
    settings = loading.load(files[0])
    written = yaml.safe_load(Path(files[0]).read_text(encoding="utf-8"))
    changed = [key for key in mapping if key not in _OWN_KEYS and mapping[key] != written.get(key)]
    if changed:
        # Scripts and workers read the file, so they would not see the change.
        raise ConfigError(f"--config {changed[0]}: settings come from {files[0]} alone", hint="change that file")
    return settings


def _refuse_other_directory(settings: Settings, arguments: Sequence[str]) -> None:
    """Raise ConfigError for another `--directory`: the markers would be written there, the state files not."""
    given = [value for flag, value in pairwise(arguments) if flag in ("-d", "--directory")]
    given += [match[1] for argument in arguments if (match := re.fullmatch("(?:--directory=|-d)(.+)", argument))]
    for value in given:
        if Path(value).resolve() != settings.app.work_dir.resolve():
            raise ConfigError(
                f"--directory {value}: the work directory is app.work_dir", path=settings.path, hint="leave it out"
            )


def _only_reads(arguments: Sequence[str]) -> bool:
    """True if no lock is needed: Snakemake starts no job, or another Snakemake started it for a job."""
    dry_run = any(re.fullmatch("-[pkFrq]*n[pkFrq]*", argument) for argument in arguments)
    return dry_run or bool((READ_ONLY_FLAGS | {"--mode", "--target-jobs"}) & set(arguments))


def _filter_messages(*, started_by_us: bool) -> None:
    """Drop Snakemake's messages about scheduling and gathering rules; if we started it, its heading too."""

    def wanted(record: logging.LogRecord) -> bool:
        event = getattr(getattr(record, "event", None), "name", "")
        if event == "WORKFLOW_STARTED" and started_by_us:
            return False
        if event == "JOB_INFO" and getattr(record, "rule_name", "") in _GATHERING_RULES:
            return False
        return not str(record.msg).startswith(("Select jobs to execute", "Execute ", "Finished jobid"))

    logging.getLogger("snakemake.logging").addFilter(wanted)


def _tidy_after_snakemake(work_dir: Path) -> None:
    """Remove locks of killed Snakemake processes (the archive's lock is held, so none runs) and old logs.

    Snakemake keeps the log of every process for ever: 100,000 files a year with a cycle every five minutes.
    """
    kept = work_dir / ".snakemake"
    files.remove_batch((kept / "locks").glob("*"))
    files.remove_batch(sorted((kept / "log").glob("*.snakemake.log"))[:-KEPT_LOGS])  # their names begin with the time
