"""The status report as text: what is safe, what is missing, what to type next. It only shows an assessment."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import TextIO

from rich.console import Console
from rich.text import Text

from rra_state.base import run_numbers
from rra_state.base.wording import by_text, count, minute, printable, ranges, second, utc, which_runs
from rra_state.reporting.assessment import WHOLE, Assessment, Gap, Part
from rra_state.reporting.failures import LISTED, FailureGroup
from rra_state.state.outcome import STORES, Stage

WIDTH = 80
SHOWN = 10
"""Most lines of a kind; the number of the others follows."""
WEEK = 7 * 86400
MOST_DAYS = 31
RULE = "=" * 70
_MISSING: dict[Stage, str] = {"import": "on disk, not in artdaqDB", "migrate": "in artdaqDB, not in UconDB"}

_FAILED: dict[Stage, str] = {
    "import": "Not archived (import)",
    "migrate": "Not archived (migrate)",
    "refresh": "Changed since, and not archived again",
    "verify": "Found wrong by a verification",
}


def report(assessment: Assessment, part: Part = WHOLE) -> str:
    """The report, at most 80 columns wide but for names and commands that are longer. part: what it is narrowed to."""
    sections = (
        _verdict(assessment, part),
        _sites(assessment),
        _stages(assessment),
        _gaps(assessment, part),
        _failures(assessment),
        _days(assessment, part),
        _remarks(assessment),
    )
    lines = [folded for section in sections for line in section for folded in _folded(line)]
    return "\n".join([*lines, *_steps(assessment)]) + "\n"


def comparison(assessment: Assessment) -> str:
    """What `--compare-state` prints."""
    lines = [RULE, "STATE COMPARISON", RULE]
    for site in assessment.sites:
        gaps = run_numbers.text(run for low, high in run_numbers.gaps(site.runs) for run in range(low, high + 1))
        span = f", {min(site.runs)} to {max(site.runs)}" if site.runs else ""
        held = f"{count(len(site.runs), 'run')}{span}, {f'gaps: {gaps}' if gaps else 'no gaps'}"
        lines.append(f"{site.name}: {held if site.error is None else site.error}")
    lines += assessment.notes
    lines += [f"{each.text}; repair with: {assessment.command(each.remedy)}" for each in assessment.discrepancies]
    if not assessment.readable:
        lines.append("NOT COMPARED: a site cannot be read")
    elif assessment.discrepancies:
        lines.append(f"INCONSISTENT: {count(len(assessment.discrepancies), 'discrepancy', 'discrepancies')}")
    else:
        lines.append("consistent: state files, failure logs and markers agree with the sites")
    return "\n".join((*map(printable, lines), RULE)) + "\n"


def show(text: str, out: TextIO, styles: Mapping[str, str] | None = None) -> None:
    """Write a report to a terminal, with colours. styles: by beginnings of lines; None: those of the status report."""
    console = Console(file=out, highlight=False, soft_wrap=True)
    lines = text.splitlines()
    for line, below in zip(lines, [*lines[1:], ""], strict=True):
        style = next((style for begin, style in (styles or _STYLES).items() if line.startswith(begin)), "")
        heading = below and set(below) == {"-"}
        console.print(Text(line, style="bold" if heading else style))


_STYLES = {
    "SAFE": "bold green",
    "NOT SAFE": "bold red",
    "NOT SURE": "bold yellow",
    "NOT KNOWN": "bold yellow",
    "NO RUN ON DISK": "bold yellow",
    "./run_archiver.sh": "cyan",
}
"""Beginnings of lines, and how they look on a terminal."""


def _verdict(assessment: Assessment, part: Part) -> Iterator[str]:
    yield "=" * WIDTH
    yield "RUN RECORD ARCHIVER - STATUS"
    yield "=" * WIDTH
    yield assessment.verdict.text
    yield from assessment.unusable
    if assessment.forgotten:
        yield f"Lost, and given up with --forget: {ranges(assessment.forgotten)}"
    if still_open := assessment.counts.runs["open"]:
        yield f"Still being written: {ranges(still_open)}"
    if part.since is not None:
        yield f"Failures, files and days since {minute(part.since)} only."


def _sites(assessment: Assessment) -> Iterator[str]:
    yield from _heading("Sites")
    rows = [
        (
            site.name,
            len(site.runs),
            min(site.runs, default="-"),
            max(site.runs, default="-"),
            len(run_numbers.gaps(site.runs)),
        )
        for site in assessment.sites
        if site.error is None
    ]
    if rows:
        yield from _table(("site", "runs", "lowest", "highest", "gaps"), rows)
    for site in assessment.sites:
        if site.error is not None:
            yield f"{site.name}: {site.error}"
        elif site.runs:
            yield f"{site.name} runs: {ranges(site.runs)}"


def _stages(assessment: Assessment) -> Iterator[str]:
    yield from _heading("Stages")
    for stage, counted in assessment.counts.stages.items():
        state, logged = counted.derived.state, len(counted.derived.log)
        yield (
            f"{stage}: contiguous to {state.last_contiguous_run}, attempted to {state.last_attempted_run},"
            f" {logged} in the failure log"
        )


def _gaps(assessment: Assessment, part: Part) -> Iterator[str]:
    lines = [
        _missing(title, gaps)
        for stage, title in _MISSING.items()
        if (gaps := [gap for gap in assessment.gaps if gap.place == STORES[stage]])
    ]
    gone = assessment.remarks.gone
    if gone and part.stage is None:
        lines.append(f"{count(len(gone), 'run')} in UconDB, no longer on disk: {ranges(gone)}")
    if lines and assessment.readable:
        yield from _heading("Gaps")
        yield from lines


def _missing(title: str, gaps: Sequence[Gap]) -> str:
    runs = [run for gap in gaps for run in range(gap.first, gap.last + 1)]
    since = min((gap.since for gap in gaps if gap.since is not None), default=None)
    age = "" if since is None else f" (since {minute(since)})"
    return f"{count(len(runs), 'run')} {title}: {ranges(runs)}{age}"


def _failures(assessment: Assessment) -> Iterator[str]:
    for stage, title in _FAILED.items():
        yield from _reasons(title, [each for each in assessment.failures if each.stage == stage])


def _reasons(title: str, groups: Sequence[FailureGroup]) -> Iterator[str]:
    if not groups:
        return
    yield from _heading(title)
    for group in islice(groups, SHOWN):
        yield _reason(group)
    if len(groups) > SHOWN:
        runs = sum(len(group.runs) for group in groups[SHOWN:])
        yield f"... and {count(len(groups) - SHOWN, 'more reason')} of {count(runs, 'run')}"


def _reason(group: FailureGroup) -> str:
    several = len(group.runs) > 1
    if group.example is None:
        text = "listed by an operator" if group.kind == LISTED else group.text
        return f"{text.replace('takes it', 'takes them') if several else text}: {ranges(group.runs)}"
    which = f"{count(len(group.runs), 'run')} ({ranges(group.runs)}): {group.text}" if several else group.example
    tries = f"{'up to ' if several else ''}{count(group.attempts or 0, 'attempt')}"
    last = "unknown" if group.last is None else second(group.last)
    return f"{which} [{group.kind}, {tries}, last {last}]"


def _days(assessment: Assessment, part: Part) -> Iterator[str]:
    """The last week, or the days since a time: days with an event, and today; at most MOST_DAYS."""
    today = utc(assessment.counts.at).date()
    since = utc(assessment.counts.at - WEEK if part.since is None else part.since).date()
    shown = [day for day in assessment.days if day.day >= since and (day or day.day == today)][-MOST_DAYS:]
    if shown:
        yield from _heading("Per day (UTC)")
        rows = [(each.day, each.imported, each.migrated, f"{each.size / 1e6:.1f}", each.failed) for each in shown]
        yield from _table(("day", "imported", "migrated", "MB", "failed"), rows)


def _remarks(assessment: Assessment) -> Iterator[str]:
    remarks = assessment.remarks
    if remarks.of_runs:
        yield from _heading("Remarks")
        yield from _listed(f"{which_runs(runs)}: {text}" for text, runs in by_text(remarks.of_runs))
    if remarks.watched:
        yield from _heading("Archived without a stop time")
        yield ranges(remarks.watched)
    if remarks.damaged:
        yield from _heading("Damaged")
        yield from remarks.damaged
    if remarks.ignored:
        yield from _heading("Ignored in the records' directory")
        yield from _listed(f"{name}: {reason}" for name, reason in remarks.ignored)


def _listed(lines: Iterable[str]) -> Iterator[str]:
    found = list(lines)
    yield from found[:SHOWN]
    if len(found) > SHOWN:
        yield f"... and {len(found) - SHOWN} more"


def _steps(assessment: Assessment) -> Iterator[str]:
    yield from _heading("What to do")
    yield from [f"{assessment.command(step.options)}\n    {step.why}" for step in assessment.steps] or ["nothing"]


def _table(names: Sequence[str], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Columns as wide as they have to be, aligned to the right."""
    cells = [list(map(str, row)) for row in (names, *rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for row in cells:
        yield "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True))


def _folded(line: str) -> list[str]:
    """The line, or several if it is too long; a message with line ends in it stays one paragraph."""
    text = printable(" ".join(line.splitlines()))
    if len(text) <= WIDTH:
        return [text]
    return textwrap.wrap(text, WIDTH, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


def _heading(title: str) -> Iterator[str]:
    yield ""
    yield title
    yield "-" * len(title)
