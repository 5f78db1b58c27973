"""The status report as text: what is safe, what is missing, what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator
from itertools import islice

import pandas as pd

from rra_state import runs
from rra_state.outcome import PLACES
from rra_state.status import Progress, Status

WIDTH = 80
SHOWN = 10


def text(status: Status) -> str:
    """The whole report, at most 80 columns wide but for names and commands that are longer."""
    sections = (_verdict, _places, _stages, _gaps, _failures, _kept, _ignored)
    told = (part for section in sections for line in section(status) for part in _folded(line))
    return "\n".join([*told, *_recommendations(status)]) + "\n"


def places(status: Status) -> pd.DataFrame:
    """One row per place: number of runs, lowest, highest, gaps."""
    rows = [
        {
            "place": place.name,
            "runs": len(place.runs),
            "lowest": min(place.runs, default=pd.NA),
            "highest": max(place.runs, default=pd.NA),
            "gaps": len(runs.gaps(place.runs)),
        }
        for place in status.places
        if place.error is None
    ]
    columns = ["place", "runs", "lowest", "highest", "gaps"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(columns[1:], "Int64"))


def _verdict(status: Status) -> Iterator[str]:
    yield "=" * WIDTH
    yield "RUN RECORD ARCHIVER - STATUS"
    yield "=" * WIDTH
    disk, _, ucondb = (place.runs for place in status.places)
    waiting, unproven = status.complete - ucondb, status.unproven
    if not status.readable:
        yield "NOT KNOWN: a place cannot be read (see below)."
    elif waiting:
        yield f"NOT SAFE YET: {_count(len(waiting), 'run')} on disk not in UconDB."
    elif unproven:
        yield f"NOT SURE: UconDB lists these, but they were not verified or failed: {_some(unproven)}"
    elif not disk:
        yield f"NO RUN ON DISK in {status.settings.source_files.run_records_dir}: is it mounted?"
    else:
        yield f"SAFE: every complete run on disk ({len(status.complete)}) is in UconDB."
    if status.open:
        yield f"Still being written: {_some(status.open)}"


def _places(status: Status) -> Iterator[str]:
    yield from _heading("Places")
    table = places(status)
    if len(table):
        yield from table.astype(object).where(table.notna(), "-").to_string(index=False).splitlines()
    for place in status.places:
        if place.error is not None:
            yield f"{place.name}: {place.error}"
        elif place.runs:
            yield f"{place.name} runs: {_some(place.runs)}"


def _stages(status: Status) -> Iterator[str]:
    yield from _heading("Stages")
    for progress in status.progress:
        state = progress.state
        yield (
            f"{progress.stage} (into {PLACES[progress.stage]}): contiguous to {state.last_contiguous_run},"
            f" attempted to {state.last_attempted_run}, {len(progress.log)} in the failure log"
        )


def _gaps(status: Status) -> Iterator[str]:
    disk, artdaqdb, ucondb = (place.runs for place in status.places)
    missing = (
        ("on disk, not in artdaqDB", disk - artdaqdb - status.open),
        ("in artdaqDB, not in UconDB", artdaqdb - ucondb),
        ("in UconDB, no longer on disk", ucondb - disk),
    )
    if status.readable and any(found for _, found in missing):
        yield from _heading("Gaps")
        for title, found in missing:
            if found:
                yield f"{_count(len(found), 'run')} {title}: {_some(found)}"


def _failures(status: Status) -> Iterator[str]:
    for progress in status.progress:
        if progress.log:
            yield from _heading(f"Not archived ({progress.stage})")
            yield from _reasons(progress)


def _reasons(progress: Progress) -> Iterator[str]:
    for failure in islice(progress.failures, SHOWN):
        yield f"{failure.message} [{failure.kind}, {_count(failure.attempts, 'attempt')}, last {failure.last}]"
    if len(progress.failures) > SHOWN:
        yield f"... and {len(progress.failures) - SHOWN} more"
    if progress.not_attempted:
        yield f"never attempted: {_some(progress.not_attempted)}"
    others = set(progress.log) - {failure.run for failure in progress.failures} - progress.not_attempted
    if others:
        yield f"listed by an operator: {_some(others)}"


def _kept(status: Status) -> Iterator[str]:
    yield from _files("Files kept as text (archived as they are, but no FHiCL)", status.kept)
    yield from _files("Entries of records that are not archived", status.skipped)
    if status.watched:
        yield from _heading("Archived without a stop time")
        yield _some(status.watched)
    if status.damaged:
        yield from _heading("Damaged")
        yield from status.damaged


def _files(title: str, found: dict[int, dict[str, str]]) -> Iterator[str]:
    if found:
        yield from _heading(title)
        for run, files in islice(found.items(), SHOWN):
            for name, reason in files.items():
                yield f"run {run}: {name} {reason}"
        if len(found) > SHOWN:
            yield f"... and {len(found) - SHOWN} more runs; their import markers tell"


def _ignored(status: Status) -> Iterator[str]:
    if status.ignored:
        yield from _heading("Ignored in the records' directory")
        for name, reason in islice(status.ignored, SHOWN):
            yield f"{name}: {reason}"
        if len(status.ignored) > SHOWN:
            yield f"... and {len(status.ignored) - SHOWN} more"


def _recommendations(status: Status) -> Iterator[str]:
    yield from _heading("What to do")
    command = f"./run_archiver.sh {status.settings.path}"
    steps = []
    if not status.readable:
        steps.append(f"{command} --check\n    once what the lines above say is mended")
    else:
        steps += _steps(status, command)
    yield from steps or ["nothing"]


def _steps(status: Status, command: str) -> Iterator[str]:
    """What helps, in the order in which it has to be done."""
    _, artdaqdb, ucondb = (place.runs for place in status.places)
    missing = {"import": status.complete - artdaqdb, "migrate": artdaqdb - ucondb}
    held = {"import": artdaqdb, "migrate": ucondb}
    new, passed = False, False
    for progress in status.progress:
        if progress.archived - held[progress.stage]:
            lost = f"{PLACES[progress.stage]} lost runs that have a marker"
            yield f"{command} --recover-{progress.stage}-state\n    {lost}"
    for progress in status.progress:
        if progress.log:
            yield f"{command} --retry-failed-{progress.stage}\n    once the reasons above are mended"
        open_ends = missing[progress.stage] - set(progress.log) - progress.archived
        new |= any(run > progress.state.start for run in open_ends)
        passed |= any(run <= progress.state.start for run in open_ends)
    if new:
        yield f"{command} --incremental\n    new runs wait"
    if passed:
        yield f"{command}\n    runs below the state's numbers wait"


def _folded(line: str) -> list[str]:
    """The line, or several if it is too long; a message with line ends in it stays one paragraph."""
    if len(line) <= WIDTH and "\n" not in line:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _heading(title: str) -> Iterator[str]:
    yield ""
    yield title
    yield "-" * len(title)


def _some(numbers: Iterable[int]) -> str:
    """The first ranges of these runs, and how many more there are."""
    found = runs.ranges(numbers)
    shown = runs.text(run for low, high in found[:SHOWN] for run in range(low, high + 1)).replace(",", ", ")
    return shown if len(found) <= SHOWN else f"{shown}, ... ({len(found) - SHOWN} more ranges)"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
