"""The verdict on an archive, from what its three sites hold, and the steps that change it. Pure.

Source: docs/design/state.md, Verdict.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rra_state.base import run_numbers
from rra_state.base.errors import ArchiverError, SiteShrank
from rra_state.base.wording import count, ranges
from rra_state.reporting.counts import Counts
from rra_state.reporting.discrepancies import StageRecords
from rra_state.state.outcome import STAGES, STORES
from rra_state.state.snapshot import Snapshot

Level = Literal["safe", "unsafe", "unsure", "unknown", "empty"]
Listing = frozenset[int] | ArchiverError
"""The runs that a store lists, or why it cannot be read."""
DISK = "filesystem"


@dataclass(frozen=True, slots=True)
class Listings:
    """The runs that each store lists."""

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
    """A command to type: the options after the configuration, and why.

    person: it helps only after a person did, or decided, what `why` says.
    """

    options: str
    why: str
    person: bool = False


def sites_of(snapshot: Snapshot, listings: Listings | None) -> Sites:
    """The sites as they were listed; the markers stand in for stores that were not asked."""
    disk = Site(DISK, snapshot.on_disk, snapshot.source_error)
    artdaqdb, ucondb = (
        (snapshot.archived["import"], snapshot.archived["migrate"])
        if listings is None
        else (listings.artdaqdb, listings.ucondb)
    )
    return disk, _site(STORES["import"], artdaqdb), _site(STORES["migrate"], ucondb)


def _site(name: str, listing: Listing) -> Site:
    return Site(name, error=listing) if isinstance(listing, ArchiverError) else Site(name, listing)


def verdicts(
    snapshot: Snapshot,
    sites: Sites,
    counted: Counts,
    lost: frozenset[int],
    unusable: tuple[str, ...],
) -> Iterator[Verdict]:
    """Every verdict that applies, the worst first: the first one is the verdict on the archive."""
    disk, artdaqdb, ucondb = (site.runs for site in sites)
    arriving = snapshot.arriving - ucondb
    complete = disk - (snapshot.open - artdaqdb - ucondb) - arriving
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
    if arriving:
        text = f"another program is still storing {count(len(arriving), 'run')} in artdaqDB: {ranges(arriving)}"
        yield Verdict("unsafe", "NOT SAFE", text)
    if halfway := artdaqdb - ucondb - disk - arriving:
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
    yield from _unsure(snapshot, complete, artdaqdb, counted)
    if not disk:
        where = snapshot.settings.source_files.run_records_dir
        yield Verdict("empty", "NO RUN ON DISK", f"in {where}: is it mounted?")
    gone = f" {count(len(ucondb - disk), 'archived run')} no longer on disk." if ucondb - disk else ""
    yield Verdict("safe", "SAFE", f"every complete run on disk ({len(complete)}) is in UconDB.{gone}")


def _unsure(
    snapshot: Snapshot, complete: frozenset[int], artdaqdb: frozenset[int], counted: Counts
) -> Iterator[Verdict]:
    """What was not compared. complete: the runs on disk that count."""
    logged = {run for stage in counted.stages.values() for run in stage.derived.log}
    marked = snapshot.archived["import"] & snapshot.archived["migrate"] & artdaqdb
    if unproven := (complete - marked) | (complete & logged):
        text = f"UconDB lists these, but they have no marker or are in a failure log: {ranges(unproven)}"
        yield Verdict("unsure", "NOT SURE", text)
    if unverified := snapshot.unverified:
        text = f"{count(len(unverified), 'run')} not read back and compared yet."
        yield Verdict("unsure", "NOT SURE", text)
    if uncompared := snapshot.uncompared | (snapshot.returned - snapshot.unverified):
        records = count(len(uncompared), "record")
        text = f"{records} came back or moved, not compared with the archive yet: {ranges(uncompared)}"
        yield Verdict("unsure", "NOT SURE", text)


def steps(
    snapshot: Snapshot,
    sites: Sites,
    records: list[StageRecords],
    counted: Counts,
    lost: frozenset[int],
) -> Iterator[Step]:
    """The steps, in the order in which they have to be done."""
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
        store, derived = STORES[each.stage], counted.stages[each.stage].derived
        if each.lost:
            yield Step(f"--recover-{each.stage}-state", f"{store} lost runs that have a marker")
        elif each.unmarked:
            yield Step(f"--recover-{each.stage}-state", f"{store} holds runs that have no marker")
        elif each.damaged:
            yield Step(f"--recover-{each.stage}-state", "a marker cannot be read; remove it first", person=True)
        tried = set(derived.log) - derived.not_attempted
        if tried - lost:
            yield Step(f"--retry-failed-{each.stage}", "once the reasons are repaired", person=True)
        offered = each.known.source - snapshot.open if each.stage == "import" else sites[1].runs
        left = offered - sites[1 if each.stage == "import" else 2].runs - tried - each.markers - snapshot.arriving
        new |= any(derived.incremental(run) for run in left)
        passed |= any(not derived.incremental(run) for run in left)
    yield from _further_steps(snapshot, counted, lost, new=new, passed=passed)


def _further_steps(
    snapshot: Snapshot, counted: Counts, lost: frozenset[int], *, new: bool, passed: bool
) -> Iterator[Step]:
    """The steps after those for the state. new: runs above the state's numbers wait; passed: runs below them do."""
    if outdated := snapshot.outdated - snapshot.vanished:
        text = "records that changed, once the reasons are repaired"
        yield Step(f"--runs {run_numbers.text(outdated)}", text, person=True)
    if snapshot.arriving:
        text = f"once the other program has stored these runs: {ranges(snapshot.arriving)}"
        yield Step("--incremental", text, person=True)
    if new:
        yield Step("--incremental", "new runs wait")
    elif snapshot.changed - snapshot.differing - snapshot.outdated:
        yield Step("--incremental", "records changed since their runs were archived")
    elif snapshot.returned - snapshot.uncompared:
        yield Step("--incremental", "records came back or moved after their runs were archived")
    if differing := snapshot.differing - snapshot.outdated:
        text = (
            "if these records are right as they are now; else put back what they lost, or wait until they are complete"
        )
        yield Step(f"--refresh {run_numbers.text(differing)}", text, person=True)
    if passed:
        yield Step("", "runs below the state's numbers wait")
    if given_up := (lost & snapshot.lost) | snapshot.vanished:
        yield Step(f"--forget {run_numbers.text(given_up)}", "if their records cannot be put back", person=True)
    for group in counted.groups:
        if group.stage == "verify":
            yield Step(group.option, group.remedy, person=True)
    if snapshot.unverified:
        yield Step("--verify", "runs were not read back and compared yet")
    elif snapshot.uncompared:
        yield Step("--verify", "records came back after their runs were verified")
