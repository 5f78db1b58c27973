"""The status report as text: what is safe, what is missing, what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from itertools import islice

import pandas as pd

from rra_state import runs
from rra_state.outcome import PLACES
from rra_state.status import Progress, Status
from rra_state.verdict import SHOWN, count, some, steps, verdict

WIDTH = 80


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
    yield verdict(status).text
    if status.open:
        yield f"Still being written: {some(status.open)}"


def _places(status: Status) -> Iterator[str]:
    yield from _heading("Places")
    table = places(status)
    if len(table):
        yield from table.astype(object).where(table.notna(), "-").to_string(index=False).splitlines()
    for place in status.places:
        if place.error is not None:
            yield f"{place.name}: {place.error}"
        elif place.runs:
            yield f"{place.name} runs: {some(place.runs)}"


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
                yield f"{count(len(found), 'run')} {title}: {some(found)}"


def _failures(status: Status) -> Iterator[str]:
    for progress in status.progress:
        if progress.log:
            yield from _heading(f"Not archived ({progress.stage})")
            yield from _reasons(progress)


def _reasons(progress: Progress) -> Iterator[str]:
    for failure in islice(progress.failures, SHOWN):
        yield f"{failure.message} [{failure.kind}, {count(failure.attempts, 'attempt')}, last {failure.last}]"
    if len(progress.failures) > SHOWN:
        yield f"... and {len(progress.failures) - SHOWN} more"
    if progress.not_attempted:
        yield f"never attempted: {some(progress.not_attempted)}"
    others = set(progress.log) - {failure.run for failure in progress.failures} - progress.not_attempted
    if others:
        yield f"listed by an operator: {some(others)}"


def _kept(status: Status) -> Iterator[str]:
    yield from _files("Files kept as text (archived as they are, but no FHiCL)", status.kept)
    yield from _files("Entries of records that are not archived", status.skipped)
    if status.watched:
        yield from _heading("Archived without a stop time")
        yield some(status.watched)
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
    yield from [f"{step.command(status)}\n    {step.why}" for step in steps(status)] or ["nothing"]


def _folded(line: str) -> list[str]:
    """The line, or several if it is too long; a message with line ends in it stays one paragraph."""
    if len(line) <= WIDTH and "\n" not in line:
        return [line]
    return textwrap.wrap(line, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _heading(title: str) -> Iterator[str]:
    yield ""
    yield title
    yield "-" * len(title)
