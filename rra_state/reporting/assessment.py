"""What a snapshot means: one judgement for text, page, JSON, frames, metrics and messages. Pure.

`assess` reads every marker; what a cycle needs after its end is in `counts.py`.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Literal

from rra_state.base import run_numbers
from rra_state.base.errors import ArchiverError, SiteShrank
from rra_state.base.wording import count, ranges, seconds
from rra_state.records.model import Remark
from rra_state.reporting import counts, failures
from rra_state.reporting.counts import Counts
from rra_state.reporting.discrepancies import Discrepancy, StageRecords, discrepancies, notes
from rra_state.reporting.failures import FailureGroup
from rra_state.state.outcome import PLACES, STAGES, Damaged, Failure, Marker, MarkerColumns, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Known

Level = Literal["safe", "unsafe", "unsure", "unknown", "empty"]
Listing = frozenset[int] | ArchiverError
"""The runs that a store lists, or why it cannot be read."""
DISK = "filesystem"


@dataclass(frozen=True, slots=True)
class Listings:
    """What the stores themselves said."""

    artdaqdb: Listing
    ucondb: Listing


@dataclass(frozen=True, slots=True)
class Site:
    """The runs that disk or store hold; `error` if it cannot be read."""

    name: str
    runs: frozenset[int] = frozenset()
    error: ArchiverError | None = None


Sites = tuple[Site, Site, Site]
"""Disk, artdaqDB, UconDB."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement. word: in capitals, for a glance. reason: the rest of the sentence."""

    level: Level
    word: str
    reason: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.word} {self.reason}" if self.level == "empty" else f"{self.word}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Step:
    """Something to type: the options after the configuration, and why.

    person: it helps only after a person did what `why` says, or decided.
    """

    options: str
    why: str
    person: bool = False


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
    """What was archived on one day (UTC). size: bytes of the blobs migrated. failed: runs whose last failure it saw."""

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

    of_runs: per run, what its marker says. ignored: entries of the records' directory. watched: archived without a stop
    time. gone: in UconDB and no longer on disk. damaged: what is wrong with files of the tree.
    """

    of_runs: Mapping[int, tuple[Remark, ...]]
    ignored: tuple[tuple[str, str], ...]
    watched: frozenset[int]
    gone: frozenset[int]
    damaged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Assessment:
    """Everything that is said about an archive. asked: whether the stores themselves were asked.

    sites: disk, artdaqDB, UconDB. unusable: why state files cannot be used. gaps: by site and number.
    unverified: archived runs of which a marker says that their content was never compared. lost: those that were seen
    or tried, and are nowhere any more; forgotten: those of them that a person gave up.
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


def assess(snapshot: Snapshot, listings: Listings | None = None) -> Assessment:
    """Judge a snapshot. listings: what the stores said, if they were asked; else the markers stand for them.

    Raises WorkDirError.
    """
    sites = _sites(snapshot, listings)
    records = [_records(snapshot, stage, sites) for stage in STAGES]
    unusable = tuple(str(each.written.error) for each in records if each.written.error is not None)
    counted = counts.count_runs(snapshot, sites[1].runs | sites[2].runs)
    unverified, lost = snapshot.unverified, _lost(snapshot, sites)
    readable = all(site.error is None for site in sites)
    return Assessment(
        snapshot.settings.path,
        asked=listings is not None,
        verdict=next(_verdicts(snapshot, sites, counted, lost, unusable)),
        sites=sites,
        unusable=unusable,
        counts=counted,
        gaps=tuple(_gaps(snapshot, sites)),
        failures=counted.groups,
        remarks=_remarks(snapshot, sites, unusable),
        notes=tuple(line for each in records for line in notes(each)) if readable else (),
        discrepancies=tuple(line for each in records for line in discrepancies(each)) if readable else (),
        steps=tuple(_steps(snapshot, sites, records, counted, lost)),
        days=tuple(_days(snapshot)),
        unverified=unverified,
        lost=lost,
        forgotten=snapshot.forgotten,
    )


def _sites(snapshot: Snapshot, listings: Listings | None) -> Sites:
    disk = Site(DISK, snapshot.on_disk, snapshot.source_error)
    artdaqdb, ucondb = (
        (snapshot.archived["import"], snapshot.archived["migrate"])
        if listings is None
        else (listings.artdaqdb, listings.ucondb)
    )
    return disk, _site(PLACES["import"], artdaqdb), _site(PLACES["migrate"], ucondb)


def _site(name: str, listing: Listing) -> Site:
    return Site(name, error=listing) if isinstance(listing, ArchiverError) else Site(name, listing)


def _records(snapshot: Snapshot, stage: Stage, sites: Sites) -> StageRecords:
    """The archiver's files of a stage beside what the sites hold."""
    disk, artdaqdb, ucondb = (site.runs for site in sites)
    source, listed = (disk, artdaqdb) if stage == "import" else (artdaqdb, ucondb)
    conflicts = {run for run, each in snapshot.failures(stage).items() if isinstance(each, Failure) and each.conflict}
    archived = listed - conflicts
    unstored = snapshot.open - listed
    is_open = (lambda run: run in unstored) if stage == "import" else (lambda _run: False)
    known = Known(source, archived, snapshot.failed[stage] - archived, is_open)
    return StageRecords(stage, known, snapshot.archived[stage], snapshot.written(stage))


def _lost(snapshot: Snapshot, sites: Sites) -> frozenset[int]:
    """Runs that were seen, tried or archived, and that neither disk nor stores have; none if one cannot be read."""
    if any(site.error is not None for site in sites):
        return frozenset()
    marked = (snapshot.archived["import"] | snapshot.archived["migrate"]) - snapshot.forgotten
    return (snapshot.lost | marked).difference(*(site.runs for site in sites))


def _verdicts(
    snapshot: Snapshot,
    sites: Sites,
    counted: Counts,
    lost: frozenset[int],
    unusable: tuple[str, ...],
) -> Iterator[Verdict]:
    """What is true of the archive, the worst first. Nothing is safe that a site does not show, or that failed."""
    disk, artdaqdb, ucondb = (site.runs for site in sites)
    complete = disk - (snapshot.open - artdaqdb - ucondb)
    if any(site.error is not None for site in sites):
        shrunk = " and ".join(site.name for site in sites if isinstance(site.error, SiteShrank))
        reason = f"{shrunk} has shrunk (see below)." if shrunk else "a site cannot be read (see below)."
        yield Verdict("unknown", "NOT KNOWN", reason)
    if unusable:
        yield Verdict("unknown", "NOT KNOWN", "a state file cannot be used, and no cycle can run (see below).")
    if lost:
        text = f"LOST {count(len(lost), 'run')}, seen or tried and now in neither store and not on disk: {ranges(lost)}"
        yield Verdict("unsafe", "NOT SAFE", text)
    if waiting := complete - ucondb:
        yield Verdict("unsafe", "NOT SAFE", f"{count(len(waiting), 'run')} on disk not in UconDB.")
    if halfway := artdaqdb - ucondb - disk:
        yield Verdict("unsafe", "NOT SAFE", f"{count(len(halfway), 'run')} in artdaqDB only, not on disk any more.")
    if wrong := counted.failed["verify"]:
        text = f"a verification found {count(len(wrong), 'archived run')} wrong: {ranges(wrong)}"
        yield Verdict("unsafe", "NOT SAFE", text)
    if differing := frozenset().union(*counted.failed.values()) & ucondb:
        text = f"what UconDB holds is not the record as it is now: {ranges(differing)}"
        yield Verdict("unsafe", "NOT SAFE", text)
    if changed := snapshot.changed:
        text = f"{count(len(changed), 'record')} changed on disk since the run was archived: {ranges(changed)}"
        yield Verdict("unsafe", "NOT SAFE", text)
    logged = {run for stage in counted.stages.values() for run in stage.derived.log}
    if (
        unproven := complete - (snapshot.archived["import"] & snapshot.archived["migrate"] & artdaqdb)
        | complete & logged
    ):
        text = f"UconDB lists these, but they have no marker or are in a failure log: {ranges(unproven)}"
        yield Verdict("unsure", "NOT SURE", text)
    if unverified := snapshot.unverified:
        text = f"{count(len(unverified), 'run')} only seen in a listing, not read back and compared."
        yield Verdict("unsure", "NOT SURE", text)
    if not disk:
        where = snapshot.settings.source_files.run_records_dir
        yield Verdict("empty", "NO RUN ON DISK", f"in {where}: is it mounted?")
    gone = f" {count(len(ucondb - disk), 'archived run')} no longer on disk." if ucondb - disk else ""
    yield Verdict("safe", "SAFE", f"every complete run on disk ({len(complete)}) is in UconDB.{gone}")


def _steps(
    snapshot: Snapshot,
    sites: Sites,
    records: list[StageRecords],
    counted: Counts,
    lost: frozenset[int],
) -> Iterator[Step]:
    """What helps, in the order in which it has to be done."""
    for each in records:
        if each.written.error is not None:
            yield Step(f"--recover-{each.stage}-state", "the state file or failure log cannot be used")
    if any(site.error is not None for site in sites):
        yield Step("--check", "once what is said of the sites is repaired", person=True)
        yield from (
            Step(f"--recover-{stage}-state --accept-loss", f"if the runs are lost in {site.name} for good", person=True)
            for stage, site in zip(STAGES, sites[1:], strict=True)
            if isinstance(site.error, SiteShrank)
        )
        return
    new = passed = False
    for each in records:
        store, derived = PLACES[each.stage], counted.stages[each.stage].derived
        if each.lost:
            yield Step(f"--recover-{each.stage}-state", f"{store} lost runs that have a marker")
        elif each.unmarked:
            yield Step(f"--recover-{each.stage}-state", f"{store} holds runs that have no marker")
        elif snapshot.columns(each.stage).damaged:
            yield Step(f"--recover-{each.stage}-state", "a marker cannot be read; remove it first", person=True)
        tried = set(derived.log) - derived.not_attempted
        if tried - lost:
            yield Step(f"--retry-failed-{each.stage}", "once the reasons are repaired", person=True)
        offered = each.known.source - snapshot.open if each.stage == "import" else sites[1].runs
        left = offered - sites[1 if each.stage == "import" else 2].runs - tried - each.markers
        new |= any(run > derived.state.start or run in derived.not_attempted for run in left)
        passed |= any(run <= derived.state.start and run not in derived.not_attempted for run in left)
    yield from _further_steps(snapshot, counted, lost, new=new, passed=passed)


def _further_steps(
    snapshot: Snapshot, counted: Counts, lost: frozenset[int], *, new: bool, passed: bool
) -> Iterator[Step]:
    """What helps once the state is sound. new, passed: runs above, and below, the state's numbers wait."""
    if snapshot.outdated:
        text = "records that changed, once the reasons are repaired"
        yield Step(f"--runs {run_numbers.text(snapshot.outdated)}", text, person=True)
    if new:
        yield Step("--incremental", "new runs wait")
    elif snapshot.changed - snapshot.differing - snapshot.outdated:
        yield Step("--incremental", "records changed since their runs were archived")
    if differing := snapshot.differing - snapshot.outdated:
        text = (
            "if these records are right as they are now; else put back what they lost, or wait until they are complete"
        )
        yield Step(f"--refresh {run_numbers.text(differing)}", text, person=True)
    if passed:
        yield Step("", "runs below the state's numbers wait")
    if given_up := lost & snapshot.lost:
        yield Step(f"--forget {run_numbers.text(given_up)}", "if their records cannot be put back", person=True)
    for group in counted.groups:
        if group.stage == "verify":
            yield Step(group.option, group.remedy, person=True)
    if snapshot.unverified:
        yield Step("--verify", "runs were only seen in a listing")


def _gaps(snapshot: Snapshot, sites: Sites) -> Iterator[Gap]:
    """Ranges of missing runs, by site, then by number. For a store that cannot be read the markers stand.

    A number without a record is missing since the next run that has one was there: that is when it was left out.
    """
    marked = (snapshot.on_disk, snapshot.archived["import"], snapshot.archived["migrate"])
    disk, artdaqdb, ucondb = (own if site.error else site.runs for site, own in zip(sites, marked, strict=True))
    for low, high in run_numbers.gaps(disk | artdaqdb | ucondb):
        since = snapshot.waiting_since("import", high + 1) or snapshot.waiting_since("migrate", high + 1)
        yield Gap(DISK, low, high, since=since)
    missing: tuple[tuple[Stage, frozenset[int]], ...] = (
        ("import", disk - artdaqdb - snapshot.open),
        ("migrate", artdaqdb - ucondb),
    )
    for stage, runs in missing:
        for low, high in run_numbers.ranges(runs):
            members = range(low, high + 1)
            times = (since for run in members if (since := failures.missing_since(snapshot, stage, run)) is not None)
            failed = sum(run in snapshot.failed[stage] for run in members)
            yield Gap(PLACES[stage], low, high, failed, min(times, default=None))


def _remarks(snapshot: Snapshot, sites: Sites, unusable: tuple[str, ...]) -> Remarks:
    imported, migrated = (snapshot.columns(stage) for stage in STAGES)
    damaged = [each.text for columns in (imported, migrated) for each in columns.damaged]
    for records in (*map(snapshot.failures, failures.EVERY_STAGE), snapshot.newest_refreshes):
        damaged += [each.text for each in records.values() if isinstance(each, Damaged)]
    return Remarks(
        _remarks_of_runs(snapshot),
        snapshot.ignored,
        snapshot.watched - _with_stop_time(snapshot),
        gone=sites[2].runs - sites[0].runs,
        damaged=(*unusable, *damaged),
    )


def _with_stop_time(snapshot: Snapshot) -> frozenset[int]:
    """Runs that are archived with their stop time."""
    columns = snapshot.columns("import")
    refreshed = snapshot.newest_refreshes.items()
    found = {run for run, each in refreshed if isinstance(each, Marker) and each.facts.stop_time}
    return frozenset(found | columns.by_run(columns.stop_time).keys())


def _remarks_of_runs(snapshot: Snapshot) -> dict[int, tuple[Remark, ...]]:
    """The remarks about each run that has some: those of its newest refresh, else of its import."""
    newest = {run: each.facts.remarks for run, each in snapshot.newest_refreshes.items() if isinstance(each, Marker)}
    found = snapshot.columns("import").remarks | newest
    return {run: found[run] for run in sorted(found) if found[run]}


def _days(snapshot: Snapshot) -> Iterator[Day]:
    """Every day from the first on which anything happened to the last.

    Days without anything are left out after the snapshot's: a clock was wrong that made one there.
    """
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
    into_artdaqdb, into_ucondb = _per_day(imported), _per_day(migrated)
    seen = {day for found in (into_artdaqdb, into_ucondb, failed) for day in found if day is not None}
    today = _day(snapshot.at)
    past = {day for day in seen if today is None or day <= today}
    if past:
        span = (max(past) - min(past)).days + 1
        seen |= {min(past) + timedelta(days=number) for number in range(span)}
    for day in sorted(seen):
        yield Day(day, into_artdaqdb[day], into_ucondb[day], size[day], failed[day])


def _per_day(columns: MarkerColumns) -> Counter[date | None]:
    return Counter(map(_day, columns.archived))


def _day(when: float | None) -> date | None:
    return None if when is None else date(1970, 1, 1) + timedelta(days=int(when // 86400))
