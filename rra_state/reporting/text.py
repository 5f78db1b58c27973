"""The status report as text: what is safe, what is missing, what to type next."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import TextIO

import pandas as pd
from rich.console import Console
from rich.text import Text

from rra_state.base import run_numbers
from rra_state.base.wording import count, minute, ranges
from rra_state.reporting.catalog import UNREADABLE, Catalog, days, utc
from rra_state.reporting.status import Progress, Status
from rra_state.reporting.verdict import steps, verdict
from rra_state.state.counts import seconds
from rra_state.state.outcome import PLACES, Stage

WIDTH = 80
SHOWN = 10
"""Lines of a kind that are shown before the rest is counted."""
WEEK = 7 * 86400
MOST_DAYS = 31


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a report that is wanted. since: seconds since 1970; stage: only this one. Verdict and places are
    always those of everything.
    """

    since: float | None = None
    stage: Stage | None = None

    def narrow(self, status: Status, catalog: Catalog | None) -> Status:
        """Without what is older, or of the other stage."""
        progress = tuple(each for each in status.progress if self.stage in (None, each.stage))
        if self.since is None:
            return replace(status, progress=progress)
        since = self.since
        imported = catalog.shelves["import"].by_run("archived") if catalog else {}
        return replace(
            status,
            progress=tuple(
                replace(each, failures=tuple(f for f in each.failures if (seconds(f.last) or since) >= since))
                for each in progress
            ),
            kept={run: files for run, files in status.kept.items() if (imported.get(run) or since) >= since},
            skipped={run: files for run, files in status.skipped.items() if (imported.get(run) or since) >= since},
        )


WHOLE = Part()


def text(status: Status, catalog: Catalog | None = None, part: Part = WHOLE) -> str:
    """The report, at most 80 columns wide but for names and commands that are longer.

    catalog: what `status` was made from; with it ages and days are told too.
    """
    narrowed = part.narrow(status, catalog)
    sections = (
        _verdict(status, part),
        _places(status),
        _stages(narrowed),
        _gaps(status, catalog, part),
        _failures(narrowed),
        _days(catalog, part),
        _kept(narrowed),
        _ignored(status),
    )
    told = (folded for section in sections for line in section for folded in _folded(line))
    return "\n".join([*told, *_recommendations(status)]) + "\n"


def show(report: str, out: TextIO) -> None:
    """Write a report to a terminal, with the colours it has."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    lines = report.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        style = next((style for begin, style in _STYLES.items() if line.startswith(begin)), "")
        heading = below and set(below) == {"-"}
        console.print(Text(line, style="bold" if heading else style))


_STYLES = {
    "SAFE": "bold green",
    "NOT SAFE YET": "bold red",
    "NOT SURE": "bold yellow",
    "NOT KNOWN": "bold yellow",
    "NO RUN ON DISK": "bold yellow",
    "./run_archiver.sh": "cyan",
}
"""Beginnings of lines, and how they look on a terminal."""


def places(status: Status) -> pd.DataFrame:
    """One row per place: number of runs, lowest, highest, gaps."""
    rows = [
        {
            "place": place.name,
            "runs": len(place.runs),
            "lowest": min(place.runs, default=pd.NA),
            "highest": max(place.runs, default=pd.NA),
            "gaps": len(run_numbers.gaps(place.runs)),
        }
        for place in status.places
        if place.error is None
    ]
    columns = ["place", "runs", "lowest", "highest", "gaps"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.astype(dict.fromkeys(columns[1:], "Int64"))


def _verdict(status: Status, part: Part) -> Iterator[str]:
    yield "=" * WIDTH
    yield "RUN RECORD ARCHIVER - STATUS"
    yield "=" * WIDTH
    yield verdict(status).text
    if status.open:
        yield f"Still being written: {ranges(status.open)}"
    if part.since is not None:
        yield f"Failures, files and days since {minute(part.since)} only."


def _places(status: Status) -> Iterator[str]:
    yield from _heading("Places")
    table = places(status)
    if len(table):
        yield from table.astype(object).where(table.notna(), "-").to_string(index=False).splitlines()
    for place in status.places:
        if place.error is not None:
            yield f"{place.name}: {place.error}"
        elif place.runs:
            yield f"{place.name} runs: {ranges(place.runs)}"


def _stages(status: Status) -> Iterator[str]:
    yield from _heading("Stages")
    for progress in status.progress:
        state = progress.state
        yield (
            f"{progress.stage} (into {PLACES[progress.stage]}): contiguous to {state.last_contiguous_run},"
            f" attempted to {state.last_attempted_run}, {len(progress.log)} in the failure log"
        )


def _gaps(status: Status, catalog: Catalog | None, part: Part) -> Iterator[str]:
    disk, artdaqdb, ucondb = (place.runs for place in status.places)
    missing: tuple[tuple[str, Stage | None, Set[int]], ...] = (
        ("on disk, not in artdaqDB", "import", disk - artdaqdb - status.open),
        ("in artdaqDB, not in UconDB", "migrate", artdaqdb - ucondb),
        ("in UconDB, no longer on disk", None, ucondb - disk),
    )
    wanted = [each for each in missing if each[2] and part.stage in (None, each[1])]
    if status.readable and wanted:
        yield from _heading("Gaps")
        for title, stage, found in wanted:
            yield f"{count(len(found), 'run')} {title}: {ranges(found)}{_oldest(catalog, stage, found)}"


def _oldest(catalog: Catalog | None, stage: Stage | None, found: Set[int]) -> str:
    """Since when the first of these runs is missing."""
    if catalog is None or stage is None:
        return ""
    times = [since for run in found if (since := catalog.missing_since(stage, run)) is not None]
    return f" (since {minute(min(times))})" if times else ""


def _days(catalog: Catalog | None, part: Part) -> Iterator[str]:
    """The last days, or those since a time, as far as they fit on a screen."""
    if catalog is None:
        return
    since = catalog.summary.at.timestamp() - WEEK if part.since is None else part.since
    shown = [day for day in days(catalog) if day.day >= utc(since).date()][-MOST_DAYS:]
    if shown:
        yield from _heading("Per day (UTC)")
        table = pd.DataFrame(
            {
                "day": [str(day.day) for day in shown],
                "imported": [day.imported for day in shown],
                "migrated": [day.migrated for day in shown],
                "MB": [f"{day.size / 1e6:.1f}" for day in shown],
                "failed": [day.failed for day in shown],
            }
        )
        yield from table.to_string(index=False).splitlines()


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
        yield f"never attempted: {ranges(progress.not_attempted)}"
    if progress.damaged:
        yield f"{UNREADABLE}: {ranges(progress.damaged)}"
    told = {failure.run for failure in progress.failures} | progress.not_attempted | progress.damaged
    others = set(progress.log) - told
    if others:
        yield f"listed by an operator: {ranges(others)}"


def _kept(status: Status) -> Iterator[str]:
    yield from _files("Files kept as text (archived as they are, but no FHiCL)", status.kept)
    yield from _files("Entries of records that are not archived", status.skipped)
    if status.watched:
        yield from _heading("Archived without a stop time")
        yield ranges(status.watched)
    if status.outdated:
        yield from _heading("Changed since, and not archived again")
        for failure in status.outdated:
            yield f"{failure.message} [{failure.kind}, {count(failure.attempts, 'attempt')}, last {failure.last}]"
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
            yield f"... and {count(len(found) - SHOWN, 'more run')}; see their import markers"


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
