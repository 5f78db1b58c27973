"""What the page shows, as plain values: run lengths for the map, reasons gathered, columns for the search.

100,000 runs have to fit into a page that a phone opens: states go as ranges, times as differences.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rra_state.base import run_numbers
from rra_state.reporting import catalog as catalogs
from rra_state.reporting import remedies
from rra_state.reporting.catalog import Catalog
from rra_state.state.counts import DAMAGED, LISTED, NOT_ATTEMPTED, seconds
from rra_state.state.outcome import STAGES, Stage

CODES = {"archived": 0, "waiting": 1, "failed": 2, "open": 3, "gap": 4}
"""How the page writes states."""

Segment = tuple[int, int, int]
"""First run, number of runs, code of their state."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Runs of one stage that failed for the same reason. first, last: seconds since 1970."""

    stage: Stage
    kind: str
    text: str
    runs: tuple[int, ...]
    attempts: int | None
    first: float | None
    last: float | None

    @property
    def remedy(self) -> str:
        """What to do."""
        return remedies.remedy(self.kind)

    @property
    def option(self) -> str:
        """What to type then."""
        return remedies.option(self.kind, self.stage, self.runs)


def segments(catalog: Catalog) -> list[Segment]:
    """Every number from the lowest run to the highest, with what it is."""
    found: list[Segment] = []
    begin = before = code = None
    for run, state in catalog.states().items():
        if before is not None and run == before + 1 and CODES[state] == code:
            before = run
            continue
        if begin is not None and before is not None and code is not None:
            found.append((begin, before - begin + 1, code))
            if run > before + 1:
                found.append((before + 1, run - before - 1, CODES["gap"]))
        begin, before, code = run, run, CODES[state]
    if begin is not None and before is not None and code is not None:
        found.append((begin, before - begin + 1, code))
    return found


def reasons(catalog: Catalog) -> list[Reason]:
    """Failures gathered by stage, class and text, the largest group first."""
    found: dict[tuple[Stage, str, str], list[int]] = {}
    for stage in catalog.failures:
        for run in sorted(catalog.troubled(stage)):
            failure = catalog.failures[stage].get(run)
            kind = catalog.kind(stage, run)
            text = _without_run(failure.message, run) if failure else _WITHOUT_RECORD[kind]
            found.setdefault((stage, kind, text), []).append(run)
    gathered = [_reason(catalog, *key, members) for key, members in found.items()]
    return sorted(gathered, key=lambda reason: (-len(reason.runs), reason.runs))


_WITHOUT_RECORD = {
    NOT_ATTEMPTED: "Never tried, though later runs were.",
    LISTED: "An operator wrote it into the failure log; it was never tried.",
    DAMAGED: f"{catalogs.UNREADABLE.capitalize()}.",
}
"""Why a run is not archived that has no failure record to tell, by class."""


def _reason(catalog: Catalog, stage: Stage, kind: str, text: str, members: Sequence[int]) -> Reason:
    records = [catalog.failures[stage][run] for run in members if run in catalog.failures[stage]]
    first = [when for each in records if (when := seconds(each.first)) is not None]
    last = [when for each in records if (when := seconds(each.last)) is not None]
    return Reason(
        stage,
        kind,
        text,
        tuple(members),
        max((each.attempts for each in records), default=None),
        min(first, default=None),
        max(last, default=None),
    )


def _without_run(message: str, run: int) -> str:
    """The message without its run's number, so that the same fault of many runs reads the same."""
    text = message.removeprefix(f"run {run}: ")
    return re.sub(rf"(?<![\w.-]){run}(?![\w-])", "<run>", text)


def columns(catalog: Catalog) -> dict[str, Any]:
    """What the search tells of each run, in the order of the runs that are no gap.

    imported: seconds after the run before; migrated: seconds after its import; size: bytes; configuration: index into
    `configurations`. Joined by commas, empty where there is none: a tenth of what JSON objects would take.
    """
    imported, migrated = (catalog.shelves[stage].by_run("archived") for stage in STAGES)
    size, configuration = catalog.shelves["migrate"].by_run("size"), catalog.shelves["import"].by_run("configuration")
    order = list(catalog.states())
    names = {name: index for index, name in enumerate(dict.fromkeys(filter(None, configuration.values())))}
    verified = catalog.shelves["migrate"].by_run("verified")
    return {
        "imported": _joined(_differences([imported.get(run) for run in order])),
        "migrated": _joined(_delay(imported.get(run), migrated.get(run)) for run in order),
        "size": _joined(size.get(run) for run in order),
        "configuration": _joined(names.get(configuration.get(run) or "") for run in order),
        "configurations": list(names),
        "unverified": run_numbers.ranges(run for run, value in verified.items() if value is False),
    }


def _differences(values: Sequence[int | None]) -> Iterator[int | None]:
    before = 0
    for value in values:
        if value is None:
            yield None
        else:
            yield value - before
            before = value


def _delay(begin: int | None, end: int | None) -> int | None:
    """The time in between; of a run without an import, the time itself."""
    return None if end is None else end - (begin or 0)


def _joined(values: Any) -> str:
    return ",".join("" if value is None else str(value) for value in values)


def ages(catalog: Catalog) -> dict[str, Mapping[str, int]]:
    """How long runs that should be archived are missing: per span of time, how many wait and how many failed."""
    census = catalog.census
    found = {name: {"waiting": 0, "failed": 0} for name, _ in SPANS}
    for state, members in census.by_state().items():
        if state not in ("waiting", "failed"):
            continue
        for run in members:
            since = catalog.missing_since(catalog.stuck_in(run), run)
            age = 0.0 if since is None else census.at - since
            found[next(name for name, limit in SPANS if age < limit)][state] += 1
    return dict(found)


_HOUR, _DAY = 3600.0, 86400.0
SPANS = (
    ("under 1 hour", _HOUR),
    ("1 to 6 hours", 6 * _HOUR),
    ("6 to 24 hours", _DAY),
    ("1 to 7 days", 7 * _DAY),
    ("over 7 days", float("inf")),
)
"""Spans of waiting, by their upper limit in seconds."""
