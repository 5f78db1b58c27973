"""Command line options: their definitions, which of them conflict, and which runs they select."""

from __future__ import annotations

import argparse
import logging
import re
from datetime import UTC, datetime
from functools import partial
from itertools import combinations, product
from typing import get_args

from rra_state.base import run_numbers
from rra_state.base.errors import UsageError
from rra_state.base.version import __version__
from rra_state.state.outcome import STAGES, Stage
from rra_state.state.planner import Mode, Order, Selection

FORMATS = ("text", "json", "csv", "html")
_FORMATS = {"report_status": FORMATS, "parameters": ("text", "json", "csv"), "diff": ("text", "json")}
"""What --format may be, by the action that it belongs to."""
_UNITS = {"m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"([0-9]{1,6})([mhdw])")
_SELECTING = ("incremental", "import_only", "migrate_only", "runs", "retry_failed_import", "retry_failed_migrate")
_ACTIONS = (
    "check", "report_status", "compare_state", "recover_import_state", "recover_migrate_state", "rebuild_index",
    "test_message", "follow", "verify", "show", "diff", "parameters", "refresh", "forget",
    "restore",
)  # fmt: skip
_TOGETHER = {
    ("report_status", "compare_state"), ("recover_import_state", "recover_migrate_state"),
    ("refresh", "dry_run"), ("verify", "runs"), ("parameters", "runs"),
}  # fmt: skip
"""Pairs with an action that do go together."""
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
    ("subset", "runs"),
    *(pair for pair in product(_ACTIONS, (*_SELECTING, "validate", "dry_run")) if pair not in _TOGETHER),
    *(pair for pair in combinations(_ACTIONS, 2) if pair not in _TOGETHER),
)


def parser() -> argparse.ArgumentParser:
    """All options with their help."""
    parser = argparse.ArgumentParser(
        prog="run_archiver.sh",
        usage="%(prog)s CONFIG [OPTIONS]",
        formatter_class=partial(argparse.HelpFormatter, max_help_position=32),
        description="Carry DAQ run records into artdaqDB and on into UconDB, each exactly once and verified.",
        epilog="Exit status: 0 success, 1 known error, some runs failed or a verdict that is not SAFE,"
        " 2 unexpected error, 130 interrupted.",
    )
    parser.add_argument("config", metavar="CONFIG", help="configuration file (YAML), see config/README.md")
    which = parser.add_argument_group("which runs")
    which.add_argument("--incremental", action="store_true", help="only runs that were never attempted")
    which.add_argument("--runs", metavar="RANGES", help="only these, such as 100-200,305")
    which.add_argument("--retry-failed-import", action="store_true", help="the runs in the import failure log")
    which.add_argument("--retry-failed-migrate", action="store_true", help="the runs in the migration failure log")
    which.add_argument("--refresh", metavar="RANGES", help="archive these again as they are on disk now, however old")
    which.add_argument("--import-only", action="store_true", help="only into artdaqDB")
    which.add_argument("--migrate-only", action="store_true", help="only from artdaqDB into UconDB")
    which.add_argument("--order", choices=get_args(Order), default="oldest", help="which runs come first")
    instead = parser.add_argument_group("instead of archiving")
    instead.add_argument("--report-status", action="store_true", help="show what is where and what to do")
    instead.add_argument("--compare-state", action="store_true", help="check state files and logs against the stores")
    instead.add_argument("--follow", action="store_true", help="watch the running cycle")
    instead.add_argument(
        "--recover-import-state", action="store_true", help="rebuild the import state from disk and artdaqDB"
    )
    instead.add_argument(
        "--recover-migrate-state", action="store_true", help="rebuild the migration state from artdaqDB and UconDB"
    )
    instead.add_argument("--forget", metavar="RANGES", help="report these lost runs no more")
    instead.add_argument(
        "--accept-loss", action="store_true", help="with a recovery: go on although a site has lost most of its runs"
    )
    instead.add_argument("--rebuild-index", action="store_true", help="rebuild artdaqDB's index from its documents")
    instead.add_argument("--verify", action="store_true", help="read every archived run back and compare")
    instead.add_argument(
        "--subset", metavar="N/T", help="with --verify: part N of T, such as 1/7; week/T another part each week"
    )
    instead.add_argument(
        "--restore-drill",
        metavar="N",
        type=number_of_runs,
        help="with --verify: also restore N random runs and compare",
    )
    instead.add_argument(
        "--restore", metavar=("RANGES", "DIR"), nargs=2, help="write DIR/RUN as the DAQ wrote it, from the stores"
    )
    instead.add_argument(
        "--from", dest="source", choices=("best", "artdaqdb", "ucondb"), help="with --restore: which store (best)"
    )
    instead.add_argument(
        "--allow-inexact", action="store_true", help="with --restore: accept runs that are not byte for byte"
    )
    instead.add_argument(
        "--show", metavar="RUN", type=run_number, help="show what records, stores and markers hold of one run"
    )
    instead.add_argument(
        "--diff", metavar="RUN", nargs=2, type=run_number, help="show what differs between the records of two runs"
    )
    instead.add_argument(
        "--parameters",
        metavar="PATTERN",
        action="append",
        help="show FHiCL parameters of archived runs, such as '*.generator'; may be repeated",
    )
    instead.add_argument("--dry-run", action="store_true", help="show what would be done")
    instead.add_argument("--check", action="store_true", help="check everything the archiver depends on")
    instead.add_argument("--test-message", action="store_true", help="send a test message to every recipient")
    reports = parser.add_argument_group("with --report-status")
    reports.add_argument(
        "--format",
        choices=FORMATS,
        help="text (the default), json, csv (a row per run), html; --parameters has no html, --diff only text and json",
    )
    reports.add_argument("--since", metavar="TIME", help="only what happened since 2026-11-20, or in the last 7d, 24h")
    reports.add_argument("--stage", choices=STAGES, help="only this stage")
    how = parser.add_argument_group("how")
    how.add_argument("--validate", action="store_true", help="check the metadata keys of every migrated run")
    how.add_argument("-v", "--verbose", action="store_true", help="show details, Snakemake's output and tracebacks")
    how.add_argument("-q", "--quiet", action="store_true", help="show errors only")
    parser.add_argument("--version", action="version", version=f"run-record-archiver {__version__}")
    return parser


def run_number(text: str) -> int:
    """A run number as argparse takes it. Raises ArgumentTypeError."""
    run = run_numbers.number(text)
    if run is None:
        raise argparse.ArgumentTypeError(f"{text} is no run number")
    return run


def number_of_runs(text: str) -> int:
    """A number of runs, 1 or more, as argparse takes it. Raises ArgumentTypeError."""
    number = run_numbers.number(text)
    if number is None:
        raise argparse.ArgumentTypeError(f"{text} is no number of runs: write 1 or more")
    return number


def reject_conflicting_options(options: argparse.Namespace) -> None:
    """Raise UsageError for two options that contradict each other, and for one that names no run."""
    for name in ("runs", "refresh", "forget", "restore"):
        value = getattr(options, name)
        if value is not None and not run_numbers.parse(value[0] if name == "restore" else value):
            raise UsageError(f"--{name} names no run", hint=f"write --{name} 100-200,305")
    for first, second in _EXCLUSIVE:
        if getattr(options, first) and getattr(options, second):
            names = (f"--{name.replace('_', '-')}" for name in (first, second))
            raise UsageError(" and ".join(names) + " do not go together", hint="leave one out")
    if options.accept_loss and not (options.recover_import_state or options.recover_migrate_state):
        raise UsageError("--accept-loss belongs to --recover-import-state or --recover-migrate-state")
    if (options.source or options.allow_inexact) and not options.restore:
        raise UsageError("--from and --allow-inexact belong to --restore", hint="add that, or leave it out")
    if options.restore_drill and not options.verify:
        raise UsageError("--restore-drill belongs to --verify", hint="add that, or leave it out")
    formats = next((known for action, known in _FORMATS.items() if getattr(options, action)), ())
    if options.format and options.format not in formats:
        if formats:
            raise UsageError(f"--format {options.format}: here it is one of {', '.join(formats)}")
        raise UsageError("--format belongs to --report-status, --parameters or --diff", hint="add one, or leave it out")
    for name in ("since", "stage"):
        if getattr(options, name) and not options.report_status:
            raise UsageError(f"--{name} belongs to --report-status", hint="add that, or leave it out")
        if getattr(options, name) and options.format == "html":
            raise UsageError(f"--{name} has no effect on the page, which shows everything", hint="leave it out")


def moment(text: str, now: float) -> float:
    """Seconds since 1970 of `2026-11-20`, `2026-11-20T12:00` (UTC) or `7d`, `24h`, `30m` before now. Raises UsageError.

    >>> moment("1d", 86400 * 10) / 86400
    9.0
    """
    if match := _AGO.fullmatch(text):
        return max(0.0, now - int(match[1]) * _UNITS[match[2]])
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f'--since: "{text}" is no time', hint="write 2026-11-20, or 7d, 24h, 30m") from error
    return max(0.0, (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def selected(options: argparse.Namespace) -> Selection:
    """The runs and stages that the options name. Raises UsageError."""
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
    named = options.runs
    if options.refresh is not None:
        stages, mode, named = (), "refresh", options.refresh
    only = None if named is None else frozenset(run_numbers.parse(named))
    return Selection(stages, mode, only, options.order)


def changes_something(options: argparse.Namespace) -> bool:
    """True if this call is written to the log file; calls that only read are not."""
    reading = (
        "check", "dry_run", "report_status", "compare_state", "follow", "verify", "show", "restore", "diff",
        "parameters",
    )  # fmt: skip
    return not any(getattr(options, name) for name in reading)


def level(options: argparse.Namespace) -> int:
    """The lowest level of messages that go to the terminal."""
    if options.quiet:
        return logging.ERROR
    return logging.DEBUG if options.verbose else logging.INFO
