"""Archived runs whose record changed since: the watched ones, and those that a person names. Only reads.

A run is watched for `source_files.watch_days` after it was archived, and longer while it has no stop time. A look costs
a listing of each watched record; it is read only if that differs from what the last look saw. Every change is archived
once, as a new version in both stores, and `markers/refresh/<run>-<fingerprint>.json` is its marker.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rra_state.base.errors import ArchiverError, RecordError, UsageError, WorkDirError
from rra_state.config.loading import Settings
from rra_state.config.models import SourceFiles
from rra_state.records import convert, signatures, source
from rra_state.records.model import LEFT_OUT, Record
from rra_state.state.markers import Tree, newest
from rra_state.state.outcome import Marker

if TYPE_CHECKING:
    from rra_state.state.snapshot import Snapshot

NOTE = "watch"
"""Name of the note with what the last look saw: `state/watch.json`, a signature per run."""
SIGHTINGS = "changed_in_future"
"""Name of the note with records that were changed in the future: signature, and since when it is the same."""

_NOT_READ = frozenset(f"{reason}; {LEFT_OUT}" for reason in source.NOT_READ_BEFORE)


@dataclass(frozen=True, slots=True, order=True)
class Refresh:
    """A record that is to be archived again. fingerprint: the beginning of the changed record's, eight hex characters.

    More of them if it has been archived like this before, and was something else in between. If another program stored
    a version in artdaqDB, the fingerprint is of that version's name.
    """

    run: int
    fingerprint: str

    @classmethod
    def next(cls, run: int, fingerprint: str, done: Collection[str]) -> Refresh | None:
        """The refresh to do; done: those of the run that have a marker. None once it came back eight times."""
        lengths = (length for length in range(8, len(fingerprint) + 1, 8) if fingerprint[:length] not in done)
        return next((cls(run, fingerprint[:length]) for length in lengths), None)

    @classmethod
    def of_version(cls, run: int, version: str) -> Refresh:
        """The refresh by which UconDB gets a version that another program stored."""
        return cls(run, hashlib.sha256(version.encode()).hexdigest()[:8])

    @classmethod
    def of(cls, text: str) -> Refresh:
        """Inverse of `str`. Raises ValueError."""
        run, _, fingerprint = text.partition("-")
        return cls(int(run), fingerprint)

    def __str__(self) -> str:
        """`7027-1f2e3d4c`, the name of its marker."""
        return f"{self.run}-{self.fingerprint}"


@dataclass(frozen=True, slots=True)
class Look:
    """What a look at the watched records found.

    changed: records to archive again. unchanged: by run, as text, the signature of records that are as archived.
    ended: runs that need no watch any more. differing: records that changed and cannot be archived again now: they are
    still being written, or cannot be read.
    """

    changed: tuple[Refresh, ...] = ()
    unchanged: tuple[tuple[str, str], ...] = ()
    ended: frozenset[int] = frozenset()
    differing: frozenset[int] = frozenset()

    def remember(self, tree: Tree) -> None:
        """Write down what the next look need not read again, and end watches. Raises WorkDirError."""
        seen = dict(self.unchanged)
        if seen != (tree.note(NOTE) or {}):
            tree.write_note(NOTE, seen)
        tree.remove_from("watch", self.ended)


def look(snapshot: Snapshot) -> Look:
    """Look at every watched run that is in both stores. Raises WorkDirError, SourceUnreadable."""
    watched = (snapshot.watched | snapshot.unfinished.keys()) & snapshot.archived["migrate"]
    if not watched:
        return Look()
    files, tree = snapshot.settings.source_files, snapshot.tree
    since = snapshot.at - files.watch_days * 86400
    seen = tree.note(NOTE) or {}
    newer = watched & snapshot.newer.keys()
    differing = {run for run in newer & snapshot.records if not snapshot.is_ready(run)}
    changed = [Refresh.of_version(run, snapshot.newer[run]) for run in sorted(newer - differing)]
    unchanged: dict[str, str] = {}
    ended: set[int] = set()
    for run in sorted(watched - newer):
        signature = source.signature(files, run)
        gone, unfinished = run not in snapshot.records, run in snapshot.unfinished
        same = not unfinished and (gone or (signature is not None and signature == seen.get(str(run))))
        if same and signature is not None:
            unchanged[str(run)] = signature
        began = tree.watched_since(run)
        over = began <= since
        left_unread = not files.watch_days and began > 0 and not unfinished
        if same and not over:
            continue
        try:
            newest = newest_marker(tree, run, snapshot.refreshed.get(run, ()))
        except WorkDirError:  # a damaged marker: the report names it
            if not same:
                differing.add(run)
            continue
        archived = None if newest is None else newest.facts
        if over and (same or left_unread) and archived is not None and archived.stop_time:
            ended.add(run)
        elif not same:
            record = _read(snapshot.settings, run) if snapshot.is_ready(run) else None
            before = archived.fingerprint if archived is not None and not unfinished else None
            if record and before and before in (record.fingerprint, _as_read_before(snapshot, run, newest)):
                unchanged[str(run)] = str(signature)
            elif record and (again := snapshot.next_refresh(run, record.fingerprint)):
                changed.append(again)
            else:
                differing.add(run)
    return Look(tuple(changed), tuple(unchanged.items()), frozenset(ended), frozenset(differing))


@dataclass(slots=True)
class NamedRuns:
    """What can be done for the runs of `--refresh`.

    changed: records to archive again. unchanged: runs that are archived as their records are now.
    refused: why a run cannot be refreshed.
    """

    changed: list[Refresh] = field(default_factory=list)
    unchanged: list[int] = field(default_factory=list)
    refused: list[ArchiverError] = field(default_factory=list)

    def lines(self) -> Iterator[tuple[int, str]]:
        """Logging level and text for each run that is not archived again: why it is not."""
        for run in self.unchanged:
            yield logging.INFO, f"run {run}: is archived as its record is now"
        for error in self.refused:
            yield logging.ERROR, str(error)


def look_at(snapshot: Snapshot, named: Iterable[int]) -> NamedRuns:
    """Compare the records of these runs, however old, with what was archived of them.

    Raises WorkDirError, SourceUnreadable.
    """
    found = NamedRuns()
    for run in sorted(named):
        try:
            if run not in snapshot.archived["migrate"]:
                raise UsageError("is not in both stores yet", run=run, hint=f"archive it first: --runs {run}")
            files, newer = snapshot.settings.source_files, snapshot.newer.get(run)
            if newer is not None:
                found.changed.append(Refresh.of_version(run, newer))
                continue
            if run not in snapshot.records:
                gone, hint = files.run_records_dir / str(run), "put it back; both stores keep what they hold"
                raise RecordError("the record's directory is gone", run=run, path=gone, hint=hint)
            fingerprint = source.read_record(files, run, even_if_open=True).fingerprint
            newest = newest_marker(snapshot.tree, run, snapshot.refreshed.get(run, ()))
        except WorkDirError as error:
            error.run = run
            found.refused.append(error)
            continue
        except ArchiverError as error:
            if error.stops_cycle:
                raise
            found.refused.append(error)
            continue
        # A text that the configuration left out is in the fingerprint, and not in the stores.
        doubted = run in snapshot.unfinished or run in snapshot.findings
        doubted |= newest is not None and any(each.text == convert.NOT_CHOSEN for each in newest.facts.remarks)
        if newest is not None and fingerprint == newest.facts.fingerprint and not doubted:
            found.unchanged.append(run)
        elif again := snapshot.next_refresh(run, fingerprint):
            found.changed.append(again)
        else:
            found.refused.append(UsageError("came back to this content eight times; it is in both stores", run=run))
    return found


def is_recent(files: SourceFiles, run: int) -> bool:
    """Whether a file came to the record, or went, within `watch_days`: it may change again."""
    try:
        changed = signatures.changed_at((files.run_records_dir / str(run)).stat())
    except OSError:
        return False
    return time.time() - changed < files.watch_days * 86400


def newest_marker(tree: Tree, run: int, fingerprints: Collection[str] | None = None) -> Marker | None:
    """What was archived last of a run: the marker of its newest blob, be it of a refresh or of its migration.

    fingerprints: of its refreshes, if the tree was listed. Raises WorkDirError.
    """
    return newest(tree.marker("migrate", run), tree.newest_refresh(run, fingerprints))


def not_read(newest: Marker | None, imported: Marker | None) -> frozenset[str]:
    """Files of a record that a version before 2026-12 did not read when the run was archived last.

    They are not in the fingerprint. Only the marker of an import or a refresh names them.
    """
    noted = newest if newest is not None and newest.stage == "refresh" else imported
    return frozenset(each.file for each in (noted.facts.remarks if noted else ()) if each.text in _NOT_READ)


def sightings(tree: Tree) -> dict[int, source.Sighting]:
    """By run, what is noted of records that were changed in the future; none if the note is damaged."""
    try:
        return {int(run): (str(seen[0]), float(seen[1])) for run, seen in (tree.note(SIGHTINGS) or {}).items()}
    except (ValueError, TypeError, LookupError):
        return {}


def _as_read_before(snapshot: Snapshot, run: int, newest: Marker | None) -> str | None:
    """The fingerprint of the record without the files that an older version did not read; None if there are none.

    So an archive of that version is not archived again as a whole, and --refresh brings the files in.
    """
    try:
        imported = snapshot.tree.marker("import", run)
    except WorkDirError:  # a damaged marker: the report names it
        imported = None
    without = not_read(newest, imported)
    record = _read(snapshot.settings, run, without) if without else None
    return None if record is None else record.fingerprint


def _read(settings: Settings, run: int, without: Collection[str] = ()) -> Record | None:
    """The record as it is now; None if it cannot be read: what is archived of it stays the best there is."""
    try:
        return source.read_record(settings.source_files, run, even_if_open=True, without=without)
    except ArchiverError as error:
        if error.stops_cycle:
            raise
        return None
