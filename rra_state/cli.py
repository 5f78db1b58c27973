"""The command line: options, which action they ask for, exit status.

Exit status: 0 success; 1 a known error, or some runs failed; 2 an unexpected error; 130 interrupted.
"""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from itertools import combinations

from rra_state import __version__, config, log, runs
from rra_state.config import Settings
from rra_state.errors import ArchiverError, Interrupted, UsageError
from rra_state.outcome import PLACES, STAGES, Stage
from rra_state.plan import Mode, Planner, Selection

_log = logging.getLogger("rra")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; give the exit status."""
    options = _parser().parse_args(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        _refuse_nonsense(options)
        settings = config.load(options.config)
        log.setup(settings.app, level=_level(options), to_file=_changes_something(options))
        return _act(options, settings)
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 130
    except ArchiverError as error:
        _fail(error, verbose=options.verbose)
        return 1
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 1
    except Exception as error:
        print(f"unexpected error: {error!r}; run again with -v and report what it prints", file=sys.stderr)
        if options.verbose:
            traceback.print_exc()
        return 2


def _changes_something(options: argparse.Namespace) -> bool:
    """Whether this call belongs in the log file; one that only looks leaves no trace."""
    return not (options.check or options.dry_run or options.report_status or options.compare_state)


def _act(options: argparse.Namespace, settings: Settings) -> int:
    """Do the one thing the options ask for."""
    if options.check:
        return _check(settings)
    if options.rebuild_index:
        return _rebuild_index(settings)
    if options.recover_import_state or options.recover_migrate_state:
        return _recover(settings, options)
    if options.report_status or options.compare_state:
        return _report(settings, options)
    selection = _selection(options)
    if options.dry_run:
        return _dry_run(settings, selection)
    return _cycle(settings, selection, options)


def _cycle(settings: Settings, selection: Selection, options: argparse.Namespace) -> int:
    from rra_state import cycle  # noqa: PLC0415 - a report needs none of it

    _warn(settings)
    planner = Planner(settings)
    _refuse_unknown_runs(planner.not_found(selection), selection, options)
    how = cycle.Options(validate=options.validate, quiet=options.quiet, verbose=options.verbose)
    result = cycle.run(settings, selection, how)
    parts = [
        f"{result.archived[stage]} runs into {PLACES[stage]}"
        + (f" ({result.failed[stage]} failed)" if result.failed[stage] else "")
        for stage in selection.stages
    ]
    if result.total or result.stopped is None:
        _log.info("%s in %.1f s", ", ".join(parts) if result.total else "nothing to do", result.seconds)
    if result.stopped is not None:
        raise result.stopped
    return 0 if result.good else 1


def _refuse_unknown_runs(missing: set[int], selection: Selection, options: argparse.Namespace) -> None:
    """Ranges have gaps; a run named alone, or a selection of nothing, is a mistake. Raises UsageError."""
    wrong = missing if missing == set(selection.only or ()) else missing & runs.named_alone(options.runs or "")
    if wrong:
        are = f"run {min(wrong)} is" if len(wrong) == 1 else f"runs {runs.text(wrong)} are"
        raise UsageError(f"{are} neither on disk nor in artdaqDB", hint="see --report-status")
    if missing:
        _log.info("not there: %s", runs.text(missing))


def _dry_run(settings: Settings, selection: Selection) -> int:
    planner = Planner(settings)
    windows = list(planner.windows(selection))
    for stage, found in (
        ("import", {run for window in windows for run in window.imports}),
        ("migrate", {run for window in windows for run in window.migrations}),
    ):
        if stage in selection.stages:
            print(f"would {stage} {len(found)} runs: {runs.text(found) or '-'}")
    waiting = planner.listing.runs - planner.tree.archived("import")
    still = {run for run in waiting if not planner.is_ready(run)}
    print(f"still being written: {len(still)} runs: {runs.text(still) or '-'}")
    gaps = runs.gaps(planner.listing.runs)
    print(f"gaps on disk: {', '.join(f'{low}-{high}' if low != high else str(low) for low, high in gaps) or '-'}")
    return 0


def _report(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state import status  # noqa: PLC0415 - not needed by a cycle

    found = status.collect(settings)
    good = found.readable
    if options.report_status:
        from rra_state import report  # noqa: PLC0415 - pandas takes half a second to load

        sys.stdout.write(report.text(found))
    if options.compare_state:
        from rra_state import compare  # noqa: PLC0415 - not needed by a cycle

        comparison = compare.compare(found)
        sys.stdout.write(comparison.text())
        good = good and comparison.consistent
    return 0 if good else 1


def _recover(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state import recovery  # noqa: PLC0415 - not needed by a cycle

    chosen: tuple[tuple[Stage, bool], ...] = (
        ("import", options.recover_import_state),
        ("migrate", options.recover_migrate_state),
    )
    recovery.recover(settings, [stage for stage, wanted in chosen if wanted], _say)
    return 0


def _rebuild_index(settings: Settings) -> int:
    from rra_state.lock import Lock  # noqa: PLC0415 - not needed by a report
    from rra_state.stores import artdaqdb  # noqa: PLC0415 - nor this

    held = Lock(settings.app.work_dir, settings.app.lock_file).acquire()
    try:
        rebuilt = artdaqdb.rebuild_index(settings.artdaq_db)
    finally:
        held.release()
    for name, reason in rebuilt.skipped:
        _log.warning("%s is left out: %s", name, reason)
    print(
        f"the index lists {rebuilt.documents} documents of {rebuilt.runs} runs; the old one is kept as index.json.bak"
    )
    return 0


def _say(line: str) -> None:
    """Print a line at once. A reader that went away (`| head`) or an old terminal must not stop a recovery halfway."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(line.encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends


def _check(settings: Settings) -> int:
    from rra_state import check  # noqa: PLC0415 - not needed by a cycle

    good = True
    for fine, line in check.lines(settings):
        print(line)
        good = good and fine
    return 0 if good else 1


def _selection(options: argparse.Namespace) -> Selection:
    stages: tuple[Stage, ...] = STAGES
    mode: Mode = "incremental" if options.incremental else "full"
    if options.import_only or options.retry_failed_import:
        stages = ("import",)
    elif options.migrate_only or options.retry_failed_migrate:
        stages = ("migrate",)
    if options.retry_failed_import or options.retry_failed_migrate:
        mode = "retry"
        if options.retry_failed_import and options.retry_failed_migrate:
            stages = STAGES
    only = None if options.runs is None else frozenset(runs.parse(options.runs))
    if only == frozenset():
        raise UsageError("--runs names no run", hint="write --runs 100-200,305")
    return Selection(stages, mode, only, options.order)


def _warn(settings: Settings) -> None:
    """Say what the configuration asks for and this version does not do, or what it does that nobody should want."""
    if not settings.ucon_db.verify_tls and settings.ucon_db.server_url.startswith("https:"):
        _log.warning("ucon_db.verify_tls is off: the server's certificate is not checked")
    if settings.artdaq_db.use_tools:
        _log.warning("artdaq_db.use_tools: this version writes the archive itself, in the same format")
    for key, enabled in (
        ("reporting.email", settings.reporting.email.enabled),
        ("reporting.slack", settings.reporting.slack.enabled),
        ("carbon", settings.carbon.enabled),
    ):
        if enabled:
            _log.warning("%s is enabled: this version sends nothing", key)
    fuzz = settings.app_fuzz
    if fuzz.random_skip_percent or fuzz.random_error_percent:
        _log.warning("app_fuzz is on: this version makes no faults")


def _fail(error: ArchiverError, *, verbose: bool) -> None:
    if _log.handlers:
        _log.error("%s", error)
    else:
        print(error, file=sys.stderr)
    if verbose:
        traceback.print_exception(error)


def _level(options: argparse.Namespace) -> int:
    if options.quiet:
        return logging.ERROR
    return logging.DEBUG if options.verbose else logging.INFO


_SELECTING = ("incremental", "import_only", "migrate_only", "runs", "retry_failed_import", "retry_failed_migrate")
_ACTIONS = (
    "check", "report_status", "compare_state", "recover_import_state", "recover_migrate_state", "rebuild_index"
)  # fmt: skip
_TOGETHER = {("report_status", "compare_state"), ("recover_import_state", "recover_migrate_state")}
_EXCLUSIVE = (
    ("import_only", "migrate_only"),
    ("incremental", "runs"),
    ("incremental", "retry_failed_import"),
    ("incremental", "retry_failed_migrate"),
    ("runs", "retry_failed_import"),
    ("runs", "retry_failed_migrate"),
    ("import_only", "retry_failed_migrate"),
    ("migrate_only", "retry_failed_import"),
    ("import_only", "validate"),
    ("retry_failed_import", "validate"),
    ("quiet", "verbose"),
    ("check", "report_status"),
    *((action, other) for action in _ACTIONS for other in (*_SELECTING, "validate", "dry_run")),
    *(pair for pair in combinations(_ACTIONS, 2) if pair not in _TOGETHER),
)


def _refuse_nonsense(options: argparse.Namespace) -> None:
    """Raise UsageError, naming both, for two options that contradict each other."""
    for first, second in _EXCLUSIVE:
        if getattr(options, first) and getattr(options, second):
            names = (f"--{name.replace('_', '-')}" for name in (first, second))
            raise UsageError(" and ".join(names) + " do not go together", hint="leave one out")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_archiver.sh",
        description="Carry DAQ run records into artdaqDB and on into UconDB, each exactly once and verified.",
        epilog="Exit status: 0 success, 1 known error or some runs failed, 2 unexpected error, 130 interrupted.",
    )
    parser.add_argument("config", metavar="CONFIG", help="configuration file (YAML), see config/README.md")
    which = parser.add_argument_group("which runs")
    which.add_argument("--incremental", action="store_true", help="only runs that were never attempted")
    which.add_argument("--runs", metavar="RANGES", help="only these, such as 100-200,305")
    which.add_argument("--retry-failed-import", action="store_true", help="the runs in the import failure log")
    which.add_argument("--retry-failed-migrate", action="store_true", help="the runs in the migration failure log")
    which.add_argument("--import-only", action="store_true", help="only into artdaqDB")
    which.add_argument("--migrate-only", action="store_true", help="only from artdaqDB into UconDB")
    which.add_argument("--order", choices=("oldest", "newest"), default="oldest", help="which runs come first")
    instead = parser.add_argument_group("instead of archiving")
    instead.add_argument("--report-status", action="store_true", help="show what is where and what to do")
    instead.add_argument("--compare-state", action="store_true", help="check state files and logs against the stores")
    instead.add_argument("--recover-import-state", action="store_true", help="rebuild it from disk and artdaqDB")
    instead.add_argument("--recover-migrate-state", action="store_true", help="rebuild it from artdaqDB and UconDB")
    instead.add_argument("--rebuild-index", action="store_true", help="rebuild artdaqDB's index from its documents")
    instead.add_argument("--dry-run", action="store_true", help="show what would be done")
    instead.add_argument("--check", action="store_true", help="check everything the archiver depends on")
    how = parser.add_argument_group("how")
    how.add_argument("--validate", action="store_true", help="check the metadata keys of every migrated run")
    how.add_argument("-v", "--verbose", action="store_true", help="tell more; tracebacks")
    how.add_argument("-q", "--quiet", action="store_true", help="tell errors only")
    parser.add_argument("--version", action="version", version=f"run-record-archiver {__version__}")
    return parser
