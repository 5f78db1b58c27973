"""What one look at the records' directory and the marker tree gives; taken once per command, or per window of a cycle.

Every directory is listed once, when the snapshot is taken. Records, markers and failure records are read when they are
asked for, and then once. Planner, state files, report, metrics and messages are functions of a snapshot.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rra_state.base import run_numbers
from rra_state.base.errors import ArchiverError, WorkDirError
from rra_state.config.loading import Settings
from rra_state.records import source
from rra_state.records.listing import Listing, listing
from rra_state.state import changed_records, newer_versions, shrunk_sites
from rra_state.state.changed_records import Look, NamedRuns, Refresh
from rra_state.state.markers import ARRIVING, SEEN, Tree
from rra_state.state.outcome import STAGES, Damaged, Failure, Marker, MarkerColumns, Stage
from rra_state.state.state_files import Derived, Known, StateFiles, Written, derive


@dataclass(frozen=True)
class Snapshot:
    """Which runs there are, by records and tree.

    at: seconds since 1970. listing: the records' directory, or why it cannot be read. archived: runs with a marker.
    failed: runs with a failure record and no marker. refreshed: per run the fingerprints of its refresh markers.
    watched: archived runs whose record is looked at again. findings: archived runs with one. forgotten: lost runs
    that a person gave up. leftovers: files of killed processes that mean nothing.
    """

    settings: Settings
    at: float
    listing: Listing | ArchiverError
    archived: Mapping[Stage, frozenset[int]]
    failed: Mapping[Stage, frozenset[int]]
    refreshed: Mapping[int, set[str]]
    failed_refreshes: frozenset[Refresh]
    watched: frozenset[int]
    findings: frozenset[int] = frozenset()
    forgotten: frozenset[int] = frozenset()
    leftovers: tuple[Path, ...] = ()
    _ready: dict[int, bool] = field(default_factory=dict, repr=False)
    _sightings: dict[int, source.Sighting] = field(default_factory=dict, repr=False)
    _since: dict[tuple[Stage, int], float | None] = field(default_factory=dict, repr=False)
    _failures: dict[Stage, dict[int, Failure | Damaged]] = field(default_factory=dict, repr=False)
    _columns: dict[Stage, MarkerColumns] = field(default_factory=dict, repr=False)
    _written: dict[Stage, Written] = field(default_factory=dict, repr=False)
    _derived: dict[Stage, Derived] = field(default_factory=dict, repr=False)
    _named: dict[frozenset[int], NamedRuns] = field(default_factory=dict, repr=False)

    @classmethod
    def take(
        cls,
        settings: Settings,
        now: float | None = None,
        earlier: Snapshot | None = None,
        *,
        accept_loss: bool = False,
    ) -> Snapshot:
        """List the directories. Raises WorkDirError.

        now: seconds since 1970. earlier: one whose listing of the records may still be true. A cycle may be at work:
        what it writes last is listed first, so that no run seems to be nowhere.
        accept_loss: an empty directory of records is no error.
        """
        tree = Tree(settings.app.work_dir)
        failures = {stage: tree.names(f"failures/{stage}") for stage in STAGES}
        watch = tree.names("watch")
        failed_refreshes, refreshed = tree.failed_refreshes(), tree.refreshed()
        migrated = frozenset(tree.archived("migrate"))
        archived: dict[Stage, frozenset[int]] = {"import": frozenset(tree.archived("import")), "migrate": migrated}
        recorded = {stage: run_numbers.numbers(names, ".json") for stage, names in failures.items()}
        leftovers = [tree.failure_path(stage, run) for stage in STAGES for run in recorded[stage] & archived[stage]]
        for name, names in (*((f"failures/{stage}", failures[stage]) for stage in STAGES), ("watch", watch)):
            leftovers += [tree.root / name / each for each in names if each.startswith(".") and each.endswith(".tmp")]
        return cls(
            settings,
            time.time() if now is None else now,
            _listing(settings, earlier, 0 if accept_loss else len(archived["import"] | recorded["import"])),
            archived,
            {stage: frozenset(recorded[stage] - archived[stage]) for stage in STAGES},
            refreshed,
            frozenset(map(Refresh.of, failed_refreshes)),
            frozenset(run_numbers.numbers(watch)),
            frozenset(tree.findings() & (archived["import"] | migrated)),
            frozenset(tree.forgotten()),
            tuple(leftovers),
        )

    def again(self) -> Snapshot:
        """A new snapshot, which keeps this listing of the records if the directory did not change."""
        return Snapshot.take(self.settings, earlier=self)

    @property
    def tree(self) -> Tree:
        """The marker tree."""
        return Tree(self.settings.app.work_dir)

    # ---- records ----

    @property
    def records(self) -> frozenset[int]:
        """Runs with a record on disk. Raises SourceUnreadable."""
        if self.source_error is not None:
            raise self.source_error
        return self.on_disk

    @property
    def on_disk(self) -> frozenset[int]:
        """The same, none if the disk cannot be read."""
        return frozenset() if isinstance(self.listing, ArchiverError) else self.listing.runs

    @property
    def source_error(self) -> ArchiverError | None:
        """Why the records' directory cannot be read."""
        return self.listing if isinstance(self.listing, ArchiverError) else None

    @property
    def ignored(self) -> tuple[tuple[str, str], ...]:
        """Entries of the records' directory that are no run records, each with the reason; not the DAQ's own.

        Source: docs/design/run_records.md, Names of run directories.
        """
        entries = () if isinstance(self.listing, ArchiverError) else self.listing.ignored
        return tuple((entry.name, entry.reason) for entry in entries if entry.name != ".record_directory_info")

    def is_ready(self, run: int) -> bool:
        """Whether nothing in the record of a run changed for long enough. Reads its metadata.txt."""
        if run not in self._ready:
            found = source.readiness(self.settings.source_files, run, self.at, self._sightings_before.get(run))
            self._ready[run] = found.ready
            if found.sighting is not None:
                self._sightings[run] = found.sighting
        return self._ready[run]

    @cached_property
    def _sightings_before(self) -> dict[int, source.Sighting]:
        return changed_records.sightings(self.tree)

    def remember(self) -> None:
        """Write down for the next cycle which records were changed in the future. Raises WorkDirError."""
        before = self._sightings_before
        kept = {run: seen for run, seen in before.items() if run in self.on_disk and run not in self._ready}
        if (found := kept | self._sightings) != before:
            self.tree.write_note(changed_records.SIGHTINGS, {str(run): seen for run, seen in found.items()})

    @cached_property
    def open(self) -> frozenset[int]:
        """Runs that are still being written, among those that were never tried."""
        fresh = self.on_disk - self.archived["import"] - self.failed["import"]
        return frozenset(run for run in fresh if not self.is_ready(run)) | self.arriving

    @cached_property
    def arriving(self) -> frozenset[int]:
        """Runs that another program was still storing in artdaqDB when a cycle last looked."""
        noted = self.tree.noted_runs(ARRIVING) or frozenset()
        return noted - self.archived["migrate"] - self.failed["import"] - self.failed["migrate"]

    @cached_property
    def lost(self) -> frozenset[int]:
        """Runs that were seen or tried, are in neither store, and have no record any more. Not those given up."""
        if self.source_error is not None:
            return frozenset()
        tried = {run for stage in STAGES for run in (*self.failed[stage], *self.derived(stage).log)}
        archived = self.archived["import"] | self.archived["migrate"]
        return frozenset((tried | self.seen) - self.on_disk - archived - self.forgotten - self.arriving)

    @cached_property
    def seen(self) -> frozenset[int]:
        """Runs that were on disk and not imported when the last cycle began; none if that note is damaged."""
        return self.tree.noted_runs(SEEN) or frozenset()

    # ---- records that changed ----

    @cached_property
    def returned(self) -> frozenset[int]:
        """Archived runs whose record was away, or in another directory, when the last cycle began.

        It may be another run's of the same number.
        """
        before = self.tree.on_disk_before(self.settings.source_files.run_records_dir)
        if before is None:
            return frozenset()
        return self.on_disk & self.archived["import"] & self.archived["migrate"] - before - self.watched

    @cached_property
    def changes(self) -> Look:
        """The archived runs whose record may have changed. Raises SourceUnreadable."""
        return changed_records.look(self)

    @cached_property
    def changed(self) -> frozenset[int]:
        """Archived runs whose record is not as it was archived; none if the disk cannot be read."""
        if self.source_error is not None:
            return frozenset()
        return self.differing | {each.run for each in self.changes.changed}

    @cached_property
    def differing(self) -> frozenset[int]:
        """Those of them that a cycle does not archive again now: they may still be written to, or cannot be read."""
        return frozenset() if self.source_error is not None else self.changes.differing

    @cached_property
    def newer(self) -> Mapping[int, str]:
        """By run, the version in artdaqDB that another program stored after the run was archived."""
        return newer_versions.noted(self.tree)

    @cached_property
    def unfinished(self) -> Mapping[int, str]:
        """By run, the version in artdaqDB that this archiver stored and that the newest marker does not name."""
        return newer_versions.unfinished(self.tree)

    def named(self, runs: frozenset[int]) -> NamedRuns:
        """What --refresh can do for these runs. Raises SourceUnreadable."""
        if runs not in self._named:
            self._named[runs] = changed_records.look_at(self, runs)
        return self._named[runs]

    def next_refresh(self, run: int, fingerprint: str) -> Refresh | None:
        """The refresh of a record with this fingerprint, see `Refresh.next`."""
        return Refresh.next(run, fingerprint, self.refreshed.get(run, ()))

    @cached_property
    def outdated(self) -> frozenset[int]:
        """Archived runs whose record changed since, and could not be archived again."""
        return frozenset(each.run for each in self.failed_refreshes) & self.archived["migrate"]

    @property
    def vanished(self) -> frozenset[int]:
        """Those of them whose record is gone, so that its changes are lost; none if the disk cannot be read."""
        return frozenset() if self.source_error is not None else self.outdated - self.on_disk

    # ---- typed records ----

    def failures(self, stage: Stage) -> Mapping[int, Failure | Damaged]:
        """The failure records of the runs that failed in a stage, those of refreshes by run; or the findings."""
        if stage not in self._failures:
            found = self.tree.failures(stage, self.failed[stage]) if stage in STAGES else self._of_refreshes()
            self._failures[stage] = self.tree.found(self.findings) if stage == "verify" else dict(found)
        return self._failures[stage]

    def _of_refreshes(self) -> list[tuple[int, Failure | Damaged]]:
        found: list[tuple[int, Failure | Damaged]] = []
        for each in sorted(self.failed_refreshes):
            try:
                failure = self.tree.failure("refresh", str(each))
            except WorkDirError as error:
                found.append((each.run, Damaged(each.run, str(error))))
            else:
                found += [(each.run, failure)] if failure else []
        return found

    def columns(self, stage: Stage) -> MarkerColumns:
        """The markers of a stage, ascending by run."""
        if stage not in self._columns:
            self._columns[stage] = self.tree.columns(stage, self.archived[stage])
        return self._columns[stage]

    @cached_property
    def unverified(self) -> frozenset[int]:
        """Archived runs of which a marker says that their content was never compared. Reads every marker."""
        columns = [self.columns(stage) for stage in STAGES]
        found = {run for each in columns for run, said in zip(each.runs, each.verified, strict=True) if not said}
        again = self.newest_markers.items()
        right = {run for run, each in again if isinstance(each, Marker) and each.facts.verified}
        damaged = {each.run for column in columns for each in column.damaged}
        return frozenset(found.union(self.newest_markers) - (right - damaged))

    @cached_property
    def uncompared(self) -> frozenset[int]:
        """Verified runs whose record came back since, and was never compared with what is archived. Reads markers."""
        again = self.newest_markers.items()
        compared = {run for run, each in again if isinstance(each, Marker) and each.facts.fingerprint}
        return frozenset(self.columns("migrate").without_record & self.on_disk - compared - self.unverified)

    @cached_property
    def newest_markers(self) -> Mapping[int, Marker | Damaged]:
        """The marker of the newest blob of each run that was archived again."""
        found: dict[int, Marker | Damaged] = {}
        for run, fingerprints in sorted(self.refreshed.items()):
            try:
                marker = changed_records.newest_marker(self.tree, run, fingerprints)
            except WorkDirError as error:
                found[run] = Damaged(run, str(error))
            else:
                found |= {run: marker} if marker else {}
        return found

    # ---- state files ----

    def known(self, stage: Stage) -> Known:
        """The runs of a stage. Raises SourceUnreadable."""
        return self._known(stage, self.records) if stage == "import" else self._known(stage)

    def _known(self, stage: Stage, records: frozenset[int] = frozenset()) -> Known:
        def is_open(run: int) -> bool:
            return run in self.arriving or (stage == "import" and not self.is_ready(run))

        offered = records if stage == "import" else self.archived["import"]
        return Known(offered, self.archived[stage], self.failed[stage], is_open)

    def written(self, stage: Stage) -> Written:
        """What state file, failure log and ledger of a stage say; damage is part of the answer."""
        if stage not in self._written:
            self._written[stage] = StateFiles(self.settings, stage).look(self._known(stage, self.on_disk))
        return self._written[stage]

    def derived(self, stage: Stage) -> Derived:
        """State and failure log of a stage as they have to be, from the markers alone if its files are damaged."""
        if stage not in self._derived:
            self._derived[stage] = derive(self._known(stage, self.on_disk), self.written(stage).ledger)
        return self._derived[stage]

    # ---- times ----

    def waiting_since(self, stage: Stage, run: int) -> float | None:
        """Since when a run could have been archived, in seconds since 1970; None if it just vanished.

        For the import: since the DAQ last wrote to the record. For the migration: since the run was imported.
        """
        if (stage, run) not in self._since:
            directory = self.settings.source_files.run_records_dir / str(run)
            record = (directory, directory / "metadata.txt")
            times = map(_last_written, record if stage == "import" else (self.tree.marker_path("import", run),))
            self._since[stage, run] = max((each for each in times if each is not None), default=None)
        return self._since[stage, run]


def _listing(settings: Settings, earlier: Snapshot | None, known: int) -> Listing | ArchiverError:
    """The records' directory, or why it cannot be used. known: how many runs came from it."""
    before = None if earlier is None or isinstance(earlier.listing, ArchiverError) else earlier.listing
    directory = settings.source_files.run_records_dir
    try:
        found = listing(directory, before)
        return shrunk_sites.source(directory, found, known) or found
    except ArchiverError as error:
        return error


def _last_written(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116 - of 100,000 runs, after a long pause
    except OSError:
        return None
