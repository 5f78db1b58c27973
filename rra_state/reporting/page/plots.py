"""The two plots of the page as numbers in per cent: the template draws them as inline SVG, without a library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from rra_state.reporting.assessment import Day

DAYS = 60
"""Days that the throughput shows."""


@dataclass(frozen=True, slots=True)
class Bar:
    """One day: left edge, width and height in per cent of the plot; failed: whether runs failed on it."""

    day: date
    left: float
    width: float
    height: float
    imported: int
    migrated: int
    failed: int


@dataclass(frozen=True, slots=True)
class Throughput:
    """Runs that came into UconDB per day. most: the full height. total: of these days."""

    bars: tuple[Bar, ...]
    most: int
    total: int


def throughput(days: Sequence[Day], today: date) -> Throughput:
    """The last DAYS days up to today; a day on which nothing happened has an empty bar."""
    known = {each.day: each for each in days}
    shown = [known.get(day, Day(day)) for day in (today - timedelta(days=DAYS - 1 - n) for n in range(DAYS))]
    most = max(max(each.migrated, each.imported) for each in shown)
    width = 100 / DAYS
    bars = tuple(
        Bar(
            each.day,
            round(number * width + width * 0.12, 3),
            round(width * 0.76, 3),
            round(100 * each.migrated / most, 2) if most else 0,
            each.imported,
            each.migrated,
            each.failed,
        )
        for number, each in enumerate(shown)
    )
    return Throughput(bars, most, sum(each.migrated for each in shown))


@dataclass(frozen=True, slots=True)
class Span:
    """Runs that have been missing for so long; the widths are in per cent of the longest bar."""

    name: str
    waiting: int
    failed: int
    waiting_width: float
    failed_width: float


def ages(spans: Mapping[str, Mapping[str, int]]) -> list[Span]:
    """One bar per span of time. A part that is not zero is wide enough to be seen."""
    most = max(sum(numbers.values()) for numbers in spans.values())

    def width(number: int) -> float:
        return max(1.5, round(100 * number / most, 2)) if number else 0

    return [
        Span(name, numbers["waiting"], numbers["failed"], width(numbers["waiting"]), width(numbers["failed"]))
        for name, numbers in spans.items()
    ]
