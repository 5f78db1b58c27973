"""What the tree says of every run, as plain columns: the common source of frames, page and files of a report.

No store is asked and pandas is not loaded. Counting alone is `summary.py`'s.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from operator import itemgetter
from typing import Any

from rra_state.base import run_numbers
from rra_state.base.errors import WorkDirError
from rra_state.config.loading import Settings
from rra_state.reporting import shelf
from rra_state.reporting.shelf import Shelf
from rra_state.state.changed_records import Refresh
from rra_state.state.counts import (
    DAMAGED,
    LISTED,
    NOT_ATTEMPTED,
    Census,
    RunState,
    Summary,
    derived,
    seconds,
    summarize,
)
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Failure, Stage
from rra_state.state.state_files import Derived

UNREADABLE = "its failure record cannot be read"


@dataclass(frozen=True, slots=True)
class Gap:
    """A closed range of runs that are missing somewhere.

    place: where: "filesystem" (no record of these numbers anywhere), "artdaqDB" or "UconDB". failed: how many of them
    failed there. since: when the first of them came to be missing, seconds since 1970, None if nobody knows.
    """

    place: str
    first: int
    last: int
    failed: int = 0
    since: float | None = None

    @property
    def runs(self) -> int:
        """How many runs."""
        return self.last - self.first + 1


@dataclass(frozen=True, slots=True)
class Catalog:
    """Everything there is to know without a store.

    failures: per stage and run, those of refreshes included. derived: state and failure log as they have to be.
    refreshed: the newest refresh marker of each run that was archived again. damaged: what is wrong with markers and
    failure records.
    """

    settings: Settings
    census: Census
    summary: Summary
    shelves: Mapping[Stage, Shelf]
    failures: Mapping[Stage, Mapping[int, Failure]]
    derived: Mapping[Stage, Derived]
    refreshed: Mapping[int, Mapping[str, Any]] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()
    _since: dict[tuple[Stage, int], float | None] = field(default_factory=dict, repr=False)

    @property
    def tree(self) -> Tree:
        """The marker tree."""
        return self.census.planner.tree

    def states(self) -> dict[int, RunState]:
        """Every run known, ascending, with what it is."""
        found = ((run, state) for state, members in self.census.by_state().items() for run in members)
        return dict(sorted(found, key=itemgetter(0)))

    def troubled(self, stage: Stage) -> Set[int]:
        """Runs that failed in the stage, or are in its failure log without ever having been tried."""
        if stage == "refresh":
            return self.failures[stage].keys()
        return self.census.failed[stage] | set(self.derived[stage].log)

    def kind(self, stage: Stage, run: int) -> str:
        """The class of failure of one of these."""
        if stage in self.derived and run in self.derived[stage].not_attempted:
            return NOT_ATTEMPTED
        if failure := self.failures[stage].get(run):
            return failure.kind
        return DAMAGED if run in self.census.failed[stage] else LISTED

    def stuck_in(self, run: int) -> Stage:
        """The stage that a run which is not archived, or not as it is now, has still to go through."""
        if run in self.census.outdated:
            return "refresh"
        return "migrate" if run in self.census.archived["import"] else "import"

    def missing_since(self, stage: Stage, run: int) -> float | None:
        """Since when a run is missing in the stage's store, seconds since 1970: first failure, or ready and waiting."""
        if (failure := self.failures[stage].get(run)) and (first := seconds(failure.first)) is not None:
            return first
        if (stage, run) not in self._since and stage != "refresh":
            self._since[stage, run] = self.census.waiting_since(stage, run)
        return self._since.get((stage, run))


def take(settings: Settings, now: float | None = None, *, renew: bool = False) -> Catalog:
    """Read the tree. now: seconds since 1970. renew: renew the copy of the markers, for who holds the archive's lock.

    Raises StateFileError, WorkDirError.
    """
    census = Census.take(settings, time.time() if now is None else now)
    shelves = {stage: shelf.read(census.planner.tree, stage, census.archived[stage], renew=renew) for stage in STAGES}
    damaged = [line for each in shelves.values() for line in each.damaged]
    failures = {stage: dict(_failures(census, stage, damaged)) for stage in STAGES}
    failures["refresh"] = dict(_failed_refreshes(census.planner.tree, damaged))
    states = {stage: derived(census, stage) for stage in STAGES}
    counted = summarize(census, states, failures)
    refreshed = dict(_refreshed(census.planner.tree, damaged))
    return Catalog(settings, census, counted, shelves, failures, states, refreshed, tuple(damaged))


def _failures(census: Census, stage: Stage, damaged: list[str]) -> Iterator[tuple[int, Failure]]:
    for run, failure in census.planner.tree.failures(stage, census.failed[stage]):
        if isinstance(failure, WorkDirError):
            damaged.append(str(failure))
        elif failure.message.isascii():
            yield run, failure
        else:
            yield run, replace(failure, message=readable(failure.message))


def _failed_refreshes(tree: Tree, damaged: list[str]) -> Iterator[tuple[int, Failure]]:
    """A failure whose record is damaged is still one: the run is not archived as it is now."""
    for name in sorted(tree.failed_refreshes()):
        try:
            failure = tree.failed_refresh(name)
        except WorkDirError as error:
            damaged.append(str(error))
            run = Refresh.of(name).run
            failure = Failure(run, "refresh", DAMAGED, f"run {run}: {UNREADABLE}", 0, "unknown", "unknown")
        if failure is not None:
            yield failure.run, replace(failure, message=readable(failure.message))


def _refreshed(tree: Tree, damaged: list[str]) -> Iterator[tuple[int, dict[str, Any]]]:
    for run, fingerprints in tree.refreshed().items():
        try:
            yield run, (tree.newest_refresh(run) or {}) | {"refreshes": len(fingerprints)}
        except WorkDirError as error:
            damaged.append(str(error))


# ---- gaps ----------------------------------------------------------------------------------------------------------


def gaps(catalog: Catalog) -> list[Gap]:
    """Ranges of missing runs, by place, then by number.

    A number without a record is missing since the next run that has one was there: that is when it was left out.
    """
    census = catalog.census
    imported = census.archived["import"]
    known = census.on_disk | imported | census.archived["migrate"]
    on_disk = [
        Gap("filesystem", low, high, since=_appeared(catalog, high + 1)) for low, high in run_numbers.gaps(known)
    ]
    missing: tuple[tuple[str, Stage, set[int]], ...] = (
        ("artdaqDB", "import", set(census.on_disk - imported - census.open)),
        ("UconDB", "migrate", set(imported - census.archived["migrate"])),
    )
    return on_disk + [
        _gap(catalog, place, stage, low, high)
        for place, stage, members in missing
        for low, high in run_numbers.ranges(members)
    ]


def _gap(catalog: Catalog, place: str, stage: Stage, low: int, high: int) -> Gap:
    members = range(low, high + 1)
    times = [since for run in members if (since := catalog.missing_since(stage, run)) is not None]
    failed = sum(run in catalog.census.failed[stage] for run in members)
    return Gap(place, low, high, failed, min(times, default=None))


def _appeared(catalog: Catalog, run: int) -> float | None:
    """When a run came to be known: its record was written, or it was archived."""
    return catalog.census.waiting_since("import", run) or catalog.census.waiting_since("migrate", run)


# ---- failures ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Kind:
    """The runs of a stage that failed for a reason of one class, ascending. first, last: seconds since 1970.

    attempts: most attempts of one of them. example: message of the lowest run.
    """

    stage: Stage
    name: str
    runs: tuple[int, ...]
    attempts: int | None = None
    first: float | None = None
    last: float | None = None
    example: str | None = None


def kinds(catalog: Catalog) -> list[Kind]:
    """Failures by stage and class; the runs in a failure log that were never tried are a class of their own."""
    found = []
    for stage in catalog.failures:
        members: dict[str, list[int]] = {}
        for run in sorted(catalog.troubled(stage)):
            members.setdefault(catalog.kind(stage, run), []).append(run)
        found += [_kind(catalog, stage, name, members[name]) for name in sorted(members)]
    return found


def _kind(catalog: Catalog, stage: Stage, name: str, members: list[int]) -> Kind:
    records = [catalog.failures[stage][run] for run in members if run in catalog.failures[stage]]
    if not records:
        return Kind(stage, name, tuple(members))
    first = [when for each in records if (when := seconds(each.first)) is not None]
    last = [when for each in records if (when := seconds(each.last)) is not None]
    attempts = max(each.attempts for each in records)
    return Kind(
        stage, name, tuple(members), attempts, min(first, default=None), max(last, default=None), records[0].message
    )


# ---- days ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Day:
    """What was archived on one day (UTC). size: bytes of the blobs migrated. failed: runs whose last failure it saw."""

    day: date
    imported: int = 0
    migrated: int = 0
    size: int = 0
    failed: int = 0


def days(catalog: Catalog) -> list[Day]:
    """Every day from the first on which anything happened to the last, without a hole."""
    imported, migrated = (Counter(map(_day, catalog.shelves[stage].columns["archived"])) for stage in STAGES)
    failed = Counter(_day(seconds(each.last)) for found in catalog.failures.values() for each in found.values())
    size: Counter[date | None] = Counter()
    shelf = catalog.shelves["migrate"]
    for when, number in zip(shelf.columns["archived"], shelf.columns["size"], strict=True):
        size[_day(when)] += number or 0
    seen = [day for day in (*imported, *migrated, *failed) if day is not None]
    if not seen:
        return []
    span = (max(seen) - min(seen)).days + 1
    every = (min(seen) + timedelta(days=number) for number in range(span))
    return [Day(day, imported[day], migrated[day], size[day], failed[day]) for day in every]


def _day(when: float | None) -> date | None:
    return None if when is None else _EPOCH + timedelta(days=int(when // 86400))


_EPOCH = date(1970, 1, 1)


def readable(text: str) -> str:
    """The text without lone surrogates, which stand for bytes of a name that are no UTF-8, and which no file takes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def utc(when: float) -> datetime:
    """A time in seconds since 1970 as a date."""
    return datetime.fromtimestamp(when, UTC)
