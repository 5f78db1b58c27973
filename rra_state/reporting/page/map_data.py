"""Compact values for the page's map, search and plots. All other values of the page are in `render.py`.

100,000 runs have to fit into a page that a phone opens: states go as ranges, times as differences.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, timedelta
from typing import Any

from rra_state.base import run_numbers
from rra_state.reporting import failures
from rra_state.reporting.assessment import Assessment, Day
from rra_state.reporting.counts import Counts, RunState
from rra_state.state.outcome import STAGES
from rra_state.state.snapshot import Snapshot

CODES = {"archived": 0, "waiting": 1, "failed": 2, "open": 3, "gap": 4, "lost": 5}
"""The number of each state in the page's data."""

DAYS = 60
"""Days that the throughput shows."""

Segment = tuple[int, int, int]
"""First run, number of runs, code of their state."""


def segments(counts: Counts) -> list[Segment]:
    """Every number from the lowest run to the highest, in ranges of one state."""
    found: list[Segment] = []
    ranges = ((state, run_numbers.ranges(members)) for state, members in counts.runs.items())
    for low, high, code in sorted((low, high, CODES[state]) for state, pairs in ranges for low, high in pairs):
        end = sum(found[-1][:2]) if found else low  # the run after the last segment
        if end < low:
            found.append((end, low - end, CODES["gap"]))
        found.append((low, high - low + 1, code))
    return found


def columns(snapshot: Snapshot, assessment: Assessment) -> dict[str, Any]:
    """What the search shows of each run, in the order of the runs that are no gap.

    imported: seconds after the run before; migrated: seconds after its import, or since 1970 without one; size: bytes;
    configuration: index into `configurations`. Joined by commas, empty where there is none: a tenth of what JSON
    objects would take.
    """
    imports, migrations = (snapshot.columns(stage) for stage in STAGES)
    imported, migrated = (each.by_run(each.archived) for each in (imports, migrations))
    size, configuration = migrations.by_run(migrations.size), imports.by_run(imports.configuration)
    order = sorted(run for members in assessment.counts.runs.values() for run in members)
    names = {name: index for index, name in enumerate(dict.fromkeys(configuration.values()))}
    return {
        "imported": _joined(_differences([imported.get(run) for run in order])),
        "migrated": _joined(migrated[run] - imported.get(run, 0) if run in migrated else None for run in order),
        "size": _joined(size.get(run) for run in order),
        "configuration": _joined(names.get(configuration.get(run, "")) for run in order),
        "configurations": list(names),
        "unverified": run_numbers.ranges(assessment.unverified),
    }


def _differences(values: Sequence[int | None]) -> Iterator[int | None]:
    before = 0
    for value in values:
        if value is None:
            yield None
        else:
            yield value - before
            before = value


def _joined(values: Iterable[object]) -> str:
    return ",".join("" if value is None else str(value) for value in values)


def last_days(days: Iterable[Day], today: date) -> list[Day]:
    """The last DAYS days up to today, also those on which nothing happened."""
    known = {each.day: each for each in days}
    return [known.get(day, Day(day)) for day in (today - timedelta(days=DAYS - 1 - n) for n in range(DAYS))]


def ages(snapshot: Snapshot, counts: Counts) -> dict[str, dict[str, int]]:
    """How long runs that should be archived are missing: per span of time, how many wait and how many failed."""
    found = {name: {"waiting": 0, "failed": 0} for name, _ in SPANS}
    missing: tuple[RunState, ...] = ("waiting", "failed")
    for state in missing:
        for run in counts.runs[state]:
            since = failures.missing_since(snapshot, failures.stuck_in(snapshot, run), run)
            age = 0.0 if since is None else snapshot.at - since
            found[next(name for name, limit in SPANS if age < limit)][state] += 1
    return found


_HOUR, _DAY = 3600.0, 86400.0
SPANS = (
    ("under 1 hour", _HOUR),
    ("1 to 6 hours", 6 * _HOUR),
    ("6 to 24 hours", _DAY),
    ("1 to 7 days", 7 * _DAY),
    ("over 7 days", float("inf")),
)
"""Spans of waiting, by their upper limit in seconds."""
