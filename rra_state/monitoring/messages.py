"""The words of a message: what `changes.py` found, for a person to read. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rra_state.base import run_numbers
from rra_state.base.wording import count, minute, printable, ranges
from rra_state.monitoring.changes import Changes, Runs
from rra_state.reporting.counts import Counts
from rra_state.reporting.failures import FailureGroup

MOST_REASONS = 10
"""Reasons that a message names for a stage."""


@dataclass(frozen=True, slots=True)
class Message:
    """What is sent. title: subject of the mail. bad: somebody has to do something."""

    title: str
    text: str
    bad: bool


def message(news: Changes, counts: Counts | None, place: str, command: str) -> Message:
    """One message for all that changed. place: host; command: how to type one."""
    groups = () if counts is None else counts.groups
    parts = [*_fault_part(news, command), *_failed_part(news, groups, command), *_stuck_part(news, command)]
    parts += _good_part(news)
    if counts is not None and (lost := counts.runs["lost"]):
        parts += ["", f"LOST {count(len(lost), 'run')}: {ranges(lost)}"]
        parts += [f"If their records cannot be put back, type: {command} --forget {run_numbers.text(lost)}"]
    if counts is not None:
        parts += ["", f"Now: {_numbers(counts)}."]
    return Message(
        f"run record archiver on {place}: {'; '.join(_titles(news))}",
        "\n".join(map(printable, parts)).strip() + "\n",
        news.bad,
    )


def _titles(news: Changes) -> Iterator[str]:
    if news.fault is not None:
        yield "cycles end by an error" if news.began is None else "cycles still end by an error"
    elif news.silent:
        yield "no good cycle for long"
    if failed := _total(news.failed):
        yield f"{count(failed, 'run')} failed"
    if news.stuck:
        yield "runs wait too long"
    if recovered := _total(news.recovered):
        yield f"{count(recovered, 'run')} recovered"
    if news.moving:
        yield "runs no longer wait"
    if news.over is not None:
        yield "cycles go well again"


def _fault_part(news: Changes, command: str) -> Iterator[str]:
    if news.fault is not None:
        since = "" if news.began is None else f" Faults end cycles since {minute(news.began)}."
        yield from ("", f"A cycle was ended by an error. No run is lost; the next cycle takes what is left.{since}")
        yield f"    {news.fault.text}"
    for stage, when in news.silent.items():
        yield from ("", f"No {stage} cycle has gone well since {minute(when)}.")
    if news.fault is not None or news.silent:
        yield f"Type: {command} --check"


def _failed_part(news: Changes, groups: Sequence[FailureGroup], command: str) -> Iterator[str]:
    for stage, found in news.failed.items():
        if found:
            yield from ("", f"{count(len(found), 'run')} failed ({stage}): {ranges(found)}")
            yield from _reasons([group for group in groups if group.stage == stage], found)
            retry = {"refresh": "", "verify": " --verify"}.get(stage, f" --retry-failed-{stage}")
            yield f"Once that is repaired: {command}{retry}"


def _reasons(groups: Iterable[FailureGroup], failed: frozenset[int]) -> Iterator[str]:
    """A line per reason, with the text of its first run."""
    found = [(group, sorted(failed & set(group.runs))) for group in groups]
    lines = [
        f"    run {runs[0]}: {group.text.replace('<run>', str(runs[0]))} [{group.kind}"
        + ("]" if len(runs) == 1 else f", {count(len(runs), 'run')}]")
        for group, runs in found
        if runs
    ]
    yield from lines[:MOST_REASONS]
    if len(lines) > MOST_REASONS:
        yield f"    ... and {count(len(lines) - MOST_REASONS, 'more reason')}"


def _stuck_part(news: Changes, command: str) -> Iterator[str]:
    for stage, oldest in news.stuck.items():
        yield from ("", f"Run {oldest.run} has been waiting since {minute(oldest.since)} ({stage}).")
    if news.stuck:
        yield f"Type: {command} --report-status"


def _good_part(news: Changes) -> Iterator[str]:
    for stage, found in news.recovered.items():
        if found:
            yield from ("", f"{count(len(found), 'run')} no longer failed ({stage}): {ranges(found)}")
    for stage in sorted(news.moving):
        yield from ("", f"No run waits too long any more ({stage}).")
    if news.over is not None:
        yield from ("", f"Cycles go well again; before: {news.over.text or news.over.kind}")


def _numbers(counts: Counts) -> str:
    names = {"open": "still being written"}
    shown = {state: number for state, number in counts.numbers.items() if number or state != "lost"}
    return ", ".join(f"{number} {names.get(state, state)}" for state, number in shown.items())


def _total(found: Runs) -> int:
    return len(frozenset().union(*found.values()))
