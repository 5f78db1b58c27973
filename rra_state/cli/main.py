"""The command line: do what the options ask for, and return the exit status.

Exit status: 0 success; 1 a known error, some runs failed, or a report, comparison or check that is not all right; 2 an
unexpected error; 130 interrupted.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TextIO

from rra_state.base import host_limits, log, run_numbers
from rra_state.base.errors import ArchiverError, Interrupted, UsageError
from rra_state.base.wording import count, printable
from rra_state.cli import commands
from rra_state.cli.options import changes_something, level, moment, parser, reject_conflicting_options, selected
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.config.warnings import cautions
from rra_state.state import planner
from rra_state.state.outcome import Stage
from rra_state.state.planner import Selection
from rra_state.state.snapshot import Snapshot

_log = logging.getLogger("rra")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    _prepare_streams()
    given = sys.argv[1:] if arguments is None else list(arguments)
    try:
        try:
            return (
                commands.main(given) if given[:1] and given[0] in commands.NAMES else _run(parser().parse_args(given))
            )
        finally:
            sys.stdout.flush()
    except OSError as error:
        _discard(sys.stdout)
        if not isinstance(error, BrokenPipeError):
            print(f"standard output cannot be written: {host_limits.plain(error)}", file=sys.stderr)
        return 1
    finally:
        try:
            sys.stderr.flush()
        except OSError:
            _discard(sys.stderr)


def _discard(stream: TextIO) -> None:
    """Redirect a stream that cannot be written to /dev/null: Python flushes it at its end, and would exit with 120."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _prepare_streams() -> None:
    """Open the standard streams that the caller closed, and let standard output escape what it cannot encode.

    Otherwise the first file or socket would get the number of a closed stream. To write to a standard output that was
    closed stays an error, as it is for `cat`.
    """
    for number, mode in ((0, os.O_RDONLY), (1, os.O_RDONLY), (2, os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)
    sys.stdout = sys.stdout or open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - until the process ends
    sys.stderr = sys.stderr or open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - the same
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _run(options: argparse.Namespace) -> int:
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    try:
        reject_conflicting_options(options)
        settings = loading.load(options.config)
        file = settings.app.log_file if changes_something(options) else None
        log.setup(file, settings.app.log_level, console_level=level(options))
        return _act(options, settings)
    except Interrupted as error:
        print(error, file=sys.stderr)
        return 130
    except ArchiverError as error:
        _print_error(error, verbose=options.verbose)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except Exception as error:
        if _is_of_stdout(error):
            raise
        return _unexpected(error, verbose=options.verbose)


def _is_of_stdout(error: Exception) -> bool:
    """Whether `error` is of a print: the reader of standard output is gone, or a flush fails with the same error."""
    try:
        sys.stdout.flush()
    except OSError as again:
        return isinstance(error, OSError) and error.errno == again.errno
    return isinstance(error, BrokenPipeError)


def _unexpected(error: Exception, *, verbose: bool) -> int:
    """Print an error that has no class of its own; return the exit status."""
    if refused := host_limits.refusal(error):
        _print_error(refused, verbose=verbose)
        return 1
    print(f"unexpected error: {error!r}; run again with -v and report what it prints", file=sys.stderr)
    if verbose:
        traceback.print_exc()
    return 2


def _act(options: argparse.Namespace, settings: Settings) -> int:
    """Do the one thing the options ask for."""
    instead: dict[str, Callable[[Settings, argparse.Namespace], int]] = {
        "check": _check,
        "test_message": _test_message,
        "rebuild_index": _rebuild_index,
        "forget": _forget,
        "recover_import_state": _recover,
        "recover_migrate_state": _recover,
        "report_status": _report,
        "compare_state": _report,
        "follow": _follow,
        "verify": _verify,
        "show": _show,
        "diff": _diff,
        "parameters": _parameters,
        "restore": _restore,
        "dry_run": _dry_run,
    }
    action = next((action for option, action in instead.items() if getattr(options, option)), _cycle)
    if options.subset and not options.verify:
        raise UsageError("--subset is a part of --verify", hint="add --verify")
    return action(settings, options)


def _cycle(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.cycle import cycle  # noqa: PLC0415 - a report needs none of it

    selection = selected(options)
    for caution in cautions(settings):
        _log.warning("%s", caution)
    if selection.only is not None:
        _refuse_unknown_runs(Snapshot.take(settings), selection, options.runs or options.refresh)
    how = cycle.Options(validate=options.validate, quiet=options.quiet, verbose=options.verbose)
    result = cycle.run(settings, selection, how)
    if result.total or result.stopped is None:
        done = ", ".join(result.tally.lines(selection.stages)) if result.total else "nothing to do"
        _log.info("%s in %.1f s", done, result.seconds)
    for fault in result.faults:
        if fault is not result.stopped:
            _print_error(fault, verbose=options.verbose)
    if result.stopped is not None:
        raise result.stopped
    return 0 if result.good else 1


def _refuse_unknown_runs(snapshot: Snapshot, selection: Selection, named: str) -> None:
    """Raise UsageError if a run named singly does not exist, or none of a range. Ranges may have gaps."""
    missing = planner.not_found(snapshot, selection)
    if wrong := run_numbers.wrongly_named(named, (selection.only or frozenset()) - missing):
        are = f"run {min(wrong)} is" if len(wrong) == 1 else f"runs {run_numbers.text(wrong)} are"
        raise UsageError(f"{are} neither on disk nor in artdaqDB", hint="see --report-status")
    if missing:
        _log.info("not there: %s", run_numbers.text(missing))


def _dry_run(settings: Settings, options: argparse.Namespace) -> int:
    snapshot, selection = Snapshot.take(settings), selected(options)
    if snapshot.source_error is not None:
        raise snapshot.source_error
    if selection.only is not None:
        _refuse_unknown_runs(snapshot, selection, options.runs or options.refresh)
    windows = planner.windows(snapshot, selection)
    for stage, found in (
        ("import", {run for window in windows for run in window.imports}),
        ("migrate", {run for window in windows for run in window.migrations}),
    ):
        if stage in selection.stages:
            print(f"would {stage} {count(len(found), 'run')}: {run_numbers.text(found) or '-'}")
    again = {each.run for window in windows for each in window.refreshes}
    if again:
        print(
            f"would archive again, since their records changed: {count(len(again), 'run')}: {run_numbers.text(again)}"
        )
    for _, text in planner.named(snapshot, selection).lines():
        print(printable(text))
    if selection.mode == "refresh":
        return 0
    still = {run for run in snapshot.records - snapshot.archived["import"] if not snapshot.is_ready(run)}
    print(f"still being written: {count(len(still), 'run')}: {run_numbers.text(still) or '-'}")
    missing = (run for low, high in run_numbers.gaps(snapshot.records) for run in range(low, high + 1))
    print(f"gaps on disk: {run_numbers.text(missing) or '-'}")
    return 0


def _report(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.reporting import assessment, request  # noqa: PLC0415 - not needed by a cycle

    part = assessment.Part(None if options.since is None else moment(options.since, time.time()), options.stage)
    report, comparison = options.report_status, options.compare_state
    good = request.show(settings, report=report, comparison=comparison, form=options.format or "text", part=part)
    return 0 if good else 1


def _follow(settings: Settings, _options: argparse.Namespace) -> int:
    from rra_state.cycle import follow  # noqa: PLC0415 - not needed by a cycle

    follow.follow(settings)
    return 0


def _recover(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.state import recovery  # noqa: PLC0415 - not needed by a cycle

    chosen: tuple[tuple[Stage, bool], ...] = (
        ("import", options.recover_import_state),
        ("migrate", options.recover_migrate_state),
    )
    sites = recovery.RecoverySites(settings, accept_loss=options.accept_loss)
    recovery.recover(settings, [stage for stage, wanted in chosen if wanted], _print_now, sites)
    return 0


def _forget(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.base.lock import Lock  # noqa: PLC0415 - not needed by a report
    from rra_state.state import lost_runs  # noqa: PLC0415 - nor this

    named = frozenset(run_numbers.parse(options.forget))
    with Lock(settings.app.work_dir, settings.app.lock_file):
        snapshot = Snapshot.take(settings)
        lost = snapshot.lost | snapshot.vanished
        runs = named & lost
        wrong = run_numbers.wrongly_named(options.forget, lost)
        if wrong or not runs:
            raise UsageError(f"not lost: {run_numbers.text(wrong) or 'no run is named'}", hint="see --report-status")
        lost_runs.give_up(snapshot, runs)
    print(f"no longer reported as lost: {count(len(runs), 'run')}: {run_numbers.text(runs)}")
    return 0


def _verify(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.cli import restore, verify  # noqa: PLC0415 - not needed by a cycle

    part = verify.Subset.parse(options.subset or "1/1")
    named = None if options.runs is None else frozenset(run_numbers.parse(options.runs))
    unknown = verify.not_archived(settings, options.runs)
    if unknown:
        _log.error("not archived, so there is nothing to verify: %s", run_numbers.text(unknown))

    def wanted(run: int) -> bool:
        return part.has(run) and (named is None or run in named)

    equal = verify.verify(settings, wanted, _print_now)
    if options.restore_drill:
        equal = restore.drill(settings, wanted, options.restore_drill, _print_now) and equal
    return 0 if equal and not unknown else 1


def _restore(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.cli import restore  # noqa: PLC0415 - not needed by a cycle

    named, directory = options.restore
    if not directory:
        raise UsageError("--restore names no directory", hint="write --restore 100-200,305 DIRECTORY")
    done = restore.restore(settings, named, Path(directory), options.source or "best", _print_now)
    return 1 if done.missing or (done.inexact and not options.allow_inexact) else 0


def _show(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.reporting import show  # noqa: PLC0415 - not needed by a cycle

    return _print_lines((True, line) for line in show.lines(settings, options.show))


def _diff(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.reporting import diff  # noqa: PLC0415 - not needed by a cycle

    return 0 if diff.show(settings, options.diff, options.format or "text") else 1


def _parameters(settings: Settings, options: argparse.Namespace) -> int:
    from rra_state.reporting import parameters  # noqa: PLC0415 - pandas takes half a second to load

    frame = parameters.table(settings, options.runs and run_numbers.parse(options.runs), options.parameters)
    if wrong := options.runs and run_numbers.wrongly_named(options.runs, set(frame["run"])):
        _log.error("not archived: %s", run_numbers.text(wrong))
    if frame.shape[1] == 1:
        hint = "write *.NAME, or COMPONENT.TABLE.NAME; * stands for any text"
        raise UsageError(f"no parameter of these runs matches {' or '.join(options.parameters)}", hint=hint)
    sys.stdout.write(parameters.text(frame, options.format or "text"))
    return 1 if wrong else 0


def _rebuild_index(settings: Settings, _options: argparse.Namespace) -> int:
    from rra_state.base.lock import Lock  # noqa: PLC0415 - not needed by a report
    from rra_state.stores import artdaqdb  # noqa: PLC0415 - nor this

    with Lock(settings.app.work_dir, settings.app.lock_file):
        rebuilt = artdaqdb.rebuild_index(settings.artdaq_db)
    for name, reason in rebuilt.skipped:
        _log.warning("%s is left out: %s", name, reason)
    print(
        f"the index lists {count(rebuilt.documents, 'document')} of {count(rebuilt.runs, 'run')};"
        " the old one is kept as index.json.bak"
    )
    return 0


def _print_now(line: str) -> None:
    """Print a line at once. A closed pipe (`| head`) or an old terminal must not stop a recovery halfway."""
    encoding = sys.stdout.encoding or "ascii"
    try:
        print(printable(line).encode(encoding, "replace").decode(encoding), flush=True)
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - until the process ends


def _check(settings: Settings, _options: argparse.Namespace) -> int:
    from rra_state.cli import check  # noqa: PLC0415 - not needed by a cycle

    return _print_lines(check.lines(settings))


def _test_message(settings: Settings, _options: argparse.Namespace) -> int:
    from rra_state.monitoring import channels  # noqa: PLC0415 - not needed by a report

    return _print_lines(channels.test(settings))


def _print_lines(lines: Iterable[tuple[bool, str]]) -> int:
    """Print the lines as they come; return 1 if one of them is an error, else 0."""
    good = True
    for fine, line in lines:
        print(printable(line), flush=True)
        good = good and fine
    return 0 if good else 1


def _print_error(error: Exception, *, verbose: bool) -> None:
    if _log.handlers:
        _log.error("%s", error)
    else:
        print(printable(str(error)), file=sys.stderr)
    if verbose:
        for line in "".join(traceback.format_exception(error)).splitlines():
            print(printable(line), file=sys.stderr)
