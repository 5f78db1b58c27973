"""Judge a snapshot, once for text, page, JSON, frames, metrics and messages. Pure.

`assess` reads every marker; what a cycle needs after its end is in `counts.py`.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date, timedelta
from pathlib import Path

from rra_state.base import run_numbers
from rra_state.base.wording import seconds, utc
from rra_state.records.model import Remark
from rra_state.reporting import counts, failures
from rra_state.reporting.counts import Counts
from rra_state.reporting.discrepancies import Discrepancy, StageRecords, discrepancies, notes
from rra_state.reporting.failures import FailureGroup
from rra_state.reporting.verdict import DISK, Listings, Sites, Step, Verdict, sites_of, steps, verdicts
from rra_state.state.outcome import STAGES, STORES, Damaged, Failure, Marker, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Known


@dataclass(frozen=True, slots=True)
class Gap:
    """A closed range of runs that are missing somewhere.

    place: "filesystem" (no record of these numbers anywhere), "artdaqDB" or "UconDB". failed: how many of them failed
    there. since: when the first of them came to be missing, seconds since 1970, None if that is not known.
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
class Day:
    """What was archived on one day (UTC). size: bytes of the blobs migrated. failed: runs that failed last then."""

    day: date
    imported: int = 0
    migrated: int = 0
    size: int = 0
    failed: int = 0

    def __bool__(self) -> bool:
        return bool(self.imported or self.migrated or self.failed)


@dataclass(frozen=True, slots=True)
class Remarks:
    """What is worth knowing although nothing failed.

    of_runs: those in the marker of each run. ignored: entries of the records' directory. watched: archived without a
    stop time. gone: in UconDB and no longer on disk. damaged: what is wrong with files of the tree.
    """

    of_runs: Mapping[int, tuple[Remark, ...]]
    ignored: tuple[tuple[str, str], ...]
    watched: frozenset[int]
    gone: frozenset[int]
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything that is known about an archive. asked: whether the stores were asked.

    sites: disk, artdaqDB, UconDB. unusable: why state files cannot be used. gaps: by site and number.
    unverified: archived runs of which a marker says that their content was never compared. lost: runs that were seen
    or tried, and are nowhere any more. forgotten: lost runs that a person gave up.
    """

    config: Path
    asked: bool
    verdict: Verdict
    sites: Sites
    unusable: tuple[str, ...]
    counts: Counts
    gaps: tuple[Gap, ...]
    failures: tuple[FailureGroup, ...]
    remarks: Remarks
    notes: tuple[str, ...]
    discrepancies: tuple[Discrepancy, ...]
    steps: tuple[Step, ...]
    days: tuple[Day, ...]
    unverified: frozenset[int]
    lost: frozenset[int] = frozenset()
    forgotten: frozenset[int] = frozenset()

    @property
    def readable(self) -> bool:
        """True if disk and stores could all be read."""
        return all(site.error is None for site in self.sites)

    @property
    def safe(self) -> bool:
        """True if nothing is to be done: the verdict is SAFE, or there is no run anywhere."""
        return self.verdict.level == "safe" or (self.verdict.level == "empty" and not any(s.runs for s in self.sites))

    def command(self, options: str) -> str:
        """The whole command line."""
        return f"./run_archiver.sh {shlex.quote(str(self.config))} {options}".strip()


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a report that is asked for: verdict and sites are always those of the whole archive.

    since: seconds since 1970. stage: only this one.
    """

    since: float | None = None
    stage: Stage | None = None

    def of(self, assessment: Assessment, snapshot: Snapshot) -> Assessment:
        """The assessment without older entries, and without those of the other stage."""
        found = assessment
        if self.since is not None:
            columns, first = snapshot.columns("import"), utc(self.since).date()
            archived, of_runs = columns.by_run(columns.archived), found.remarks.of_runs
            late = {run: each for run, each in of_runs.items() if archived.get(run, self.since) >= self.since}
            found = replace(
                found,
                failures=failures.groups(snapshot, self.since),
                days=tuple(day for day in found.days if day.day >= first),
                remarks=replace(found.remarks, of_runs=late),
            )
        if self.stage is not None:
            found = replace(
                found,
                gaps=tuple(gap for gap in found.gaps if gap.place in (DISK, STORES[self.stage])),
                failures=tuple(group for group in found.failures if group.stage == self.stage),
                counts=replace(found.counts, stages={self.stage: found.counts.stages[self.stage]}),
            )
        return found


WHOLE = Part()


def assess(snapshot: Snapshot, listings: Listings | None = None) -> Assessment:
    """Judge a snapshot. listings: the runs that the stores list; None: not asked, the markers stand in for them.

    Raises WorkDirError.
    """
    sites = sites_of(snapshot, listings)
    records = [_records(snapshot, stage, sites) for stage in STAGES]
    unusable = tuple(str(each.written.error) for each in records if each.written.error is not None)
    counted = counts.count_runs(snapshot, sites[1].runs | sites[2].runs)
    lost = _lost(snapshot, sites)
    readable = all(site.error is None for site in sites)
    return Assessment(
        snapshot.settings.path,
        asked=listings is not None,
        verdict=next(verdicts(snapshot, sites, counted, lost, unusable)),
        sites=sites,
        unusable=unusable,
        counts=counted,
        gaps=tuple(_gaps(snapshot, sites)),
        failures=counted.groups,
        remarks=_remarks(snapshot, sites, unusable),
        notes=tuple(line for each in records for line in notes(each)) if readable else (),
        discrepancies=tuple(line for each in records for line in discrepancies(each)) if readable else (),
        steps=tuple(steps(snapshot, sites, records, counted, lost)),
        days=tuple(_days(snapshot)),
        unverified=snapshot.unverified,
        lost=lost,
        forgotten=snapshot.forgotten,
    )


def _records(snapshot: Snapshot, stage: Stage, sites: Sites) -> StageRecords:
    """The archiver's files of a stage beside what the sites hold."""
    disk, artdaqdb, ucondb = (site.runs for site in sites)
    source, listed = (disk, artdaqdb - snapshot.arriving) if stage == "import" else (artdaqdb, ucondb)
    conflicts = {run for run, each in snapshot.failures(stage).items() if isinstance(each, Failure) and each.conflict}
    archived = listed - conflicts
    unstored = snapshot.open - listed if stage == "import" else snapshot.arriving
    known = Known(source, archived, snapshot.failed[stage] - archived, unstored.__contains__)
    damaged = tuple(each.text for each in snapshot.columns(stage).damaged)
    return StageRecords(stage, known, snapshot.archived[stage], snapshot.written(stage), damaged)


def _lost(snapshot: Snapshot, sites: Sites) -> frozenset[int]:
    """Runs that were seen, tried or archived, and that neither disk nor stores have; none if one cannot be read."""
    if any(site.error is not None for site in sites):
        return frozenset()
    marked = (snapshot.archived["import"] | snapshot.archived["migrate"]) - snapshot.forgotten
    return (snapshot.lost | marked).difference(*(site.runs for site in sites))


def _gaps(snapshot: Snapshot, sites: Sites) -> Iterator[Gap]:
    """Ranges of missing runs, by site, then by number. The markers stand in for a store that cannot be read.

    A number without a record counts as missing since the next run with a record could have been archived.
    """
    marked = (snapshot.on_disk, snapshot.archived["import"], snapshot.archived["migrate"])
    disk, artdaqdb, ucondb = (own if site.error else site.runs for site, own in zip(sites, marked, strict=True))
    for low, high in run_numbers.gaps(disk | artdaqdb | ucondb):
        since = snapshot.waiting_since("import", high + 1) or snapshot.waiting_since("migrate", high + 1)
        yield Gap(DISK, low, high, since=since)
    missing: tuple[tuple[Stage, frozenset[int]], ...] = (
        ("import", disk - artdaqdb - snapshot.open),
        ("migrate", artdaqdb - ucondb - snapshot.arriving),
    )
    for stage, runs in missing:
        for low, high in run_numbers.ranges(runs):
            members = range(low, high + 1)
            times = (since for run in members if (since := failures.missing_since(snapshot, stage, run)) is not None)
            failed = sum(run in snapshot.failed[stage] for run in members)
            yield Gap(STORES[stage], low, high, failed, min(times, default=None))


def _remarks(snapshot: Snapshot, sites: Sites, unusable: tuple[str, ...]) -> Remarks:
    imported, migrated = (snapshot.columns(stage) for stage in STAGES)
    damaged = [each.text for columns in (imported, migrated) for each in columns.damaged]
    for records in (*map(snapshot.failures, failures.EVERY_STAGE), snapshot.newest_markers):
        damaged += [each.text for each in records.values() if isinstance(each, Damaged)]
    return Remarks(
        _remarks_of_runs(snapshot),
        snapshot.ignored,
        snapshot.watched - _with_stop_time(snapshot),
        gone=sites[2].runs - sites[0].runs,
        damaged=tuple(dict.fromkeys((*unusable, *damaged))),
    )


def _with_stop_time(snapshot: Snapshot) -> frozenset[int]:
    """Runs that are archived with their stop time."""
    columns = snapshot.columns("import")
    refreshed = snapshot.newest_markers.items()
    found = {run for run, each in refreshed if isinstance(each, Marker) and each.facts.stop_time}
    return frozenset(found | columns.by_run(columns.stop_time).keys())


def _remarks_of_runs(snapshot: Snapshot) -> dict[int, tuple[Remark, ...]]:
    """The remarks about each run that has some: those of the record that was archived last."""
    markers = [each for each in snapshot.newest_markers.values() if isinstance(each, Marker)]
    newest = {each.run: each.facts.remarks for each in markers if each.facts.fingerprint}
    found = snapshot.columns("import").remarks | newest
    return {run: found[run] for run in sorted(found) if found[run]}


def _days(snapshot: Snapshot) -> Iterator[Day]:
    """Every day from the first event to the last; after the snapshot, by a wrong clock, only days with an event."""
    imported, migrated = (snapshot.columns(stage) for stage in STAGES)
    failed = Counter(
        _day(seconds(each.last))
        for stage in failures.EVERY_STAGE
        for each in snapshot.failures(stage).values()
        if isinstance(each, Failure)
    )
    size: Counter[date | None] = Counter()
    for when, number in zip(migrated.archived, migrated.size, strict=True):
        size[_day(when)] += number or 0
    into_artdaqdb, into_ucondb = (Counter(map(_day, columns.archived)) for columns in (imported, migrated))
    seen = {day for found in (into_artdaqdb, into_ucondb, failed) for day in found if day is not None}
    today = _day(snapshot.at)
    past = {day for day in seen if today is None or day <= today}
    if past:
        span = (max(past) - min(past)).days + 1
        seen |= {min(past) + timedelta(days=number) for number in range(span)}
    for day in sorted(seen):
        yield Day(day, into_artdaqdb[day], into_ucondb[day], size[day], failed[day])


def _day(when: float | None) -> date | None:
    return None if when is None else date(1970, 1, 1) + timedelta(days=int(when // 86400))
