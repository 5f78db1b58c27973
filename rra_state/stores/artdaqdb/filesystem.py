"""artdaqDB in a directory: reads and writes artdaq's FileSystemDB format without artdaq's tools.

Workers write the documents. Then the driver makes them visible: it adds them to the index of SystemLayout and then to
the index of RunHistory, which decides what the archive holds. Format: docs/design/artdaqdb.md, Layout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rra_state.base import files
from rra_state.base.concurrency import locked
from rra_state.base.errors import ArchiverError, StoreError, VerificationError
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import directory as archive_directory
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import index as indexes
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb.base import (
    COLLECTIONS,
    RUN_HISTORY,
    SYSTEM_METADATA,
    ArtdaqDB,
    Export,
    Item,
    Location,
    Staged,
)
from rra_state.stores.artdaqdb.index import Index, Stamp

_TRIES = 5


class FilesystemDB(ArtdaqDB):
    """An artdaqDB archive in a directory; implements `base.ArtdaqDB`. One instance per process; not for threads."""

    def __init__(self, path: Path, *, schema: bytes | None = None) -> None:
        """path: as in filesystemdb://PATH. schema: schema.fcl, stored with each run in SystemLayout."""
        self.path = path
        self._schema = None if schema is None else versions.Schema(schema)
        self._cache: dict[str, tuple[Index, Stamp]] = {}
        self._prepared = False

    def describe(self) -> str:
        """The store in one phrase."""
        return f"artdaqDB directory {self.path}"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError unless the archive, or the directory to create it in, can be read and written."""
        with archive_directory.mapped_errors(self.path):
            directories = [self.path, *(self.path / name for name in COLLECTIONS)]
            present = [directory for directory in directories if directory.exists()]
            for directory in present or [next(each for each in self.path.absolute().parents if each.exists())]:
                os.scandir(directory).close()
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise PermissionError(13, "permission denied", str(directory))
                files.check_writable(directory)
        self.read_indexes()
        if self._schema is not None:
            self._schema.parsed()

    def stamp(self) -> str:
        """Inode, size and modification time of the index; empty if there is none."""
        path = self._index_path(RUN_HISTORY)
        with archive_directory.mapped_errors(path):
            try:
                return "-".join(map(str, indexes.stamp(path)))
            except FileNotFoundError:
                return ""

    def runs(self) -> set[int]:
        """Every visible run. Raises IndexDamaged if an index is damaged, or missing beside documents."""
        return self._index(RUN_HISTORY).runs()

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest version of each of these runs that is visible and whole; see `lookup.locate`."""
        read = self.read_indexes()
        located = lookup.locate(read, runs)
        return {run: self._last_whole(read, found) for run, found in located.items()}

    def _last_whole(self, read: dict[str, Index], location: Location) -> Location:
        """The version, or the last one before it of which no document is missing.

        artdaq's tools list every document when they rebuild an index, those of a refresh that broke off as well.
        """
        found, passed_over = location, location.passed_over
        while (number := lookup.version_number(found.configuration, found.version)) and not self._is_whole(found):
            earlier = lookup.locate(read, [found.run], below=number).get(found.run)
            if earlier is None:
                break
            passed_over += (f"version {found.version} was never wholly stored",)
            found = earlier
        return location if found is location else replace(found, passed_over=passed_over)

    def _is_whole(self, location: Location) -> bool:
        """Whether the index has as many documents of a version as this archiver stored; True if it did not store it."""
        items = [item for item in location.items if item.collection == RUN_HISTORY]
        ours = [item for item in items if documents.is_ours(item, location.version)]
        try:
            manifest = documents.manifest(self._read(ours[0])) if ours else None
        except (VerificationError, LookupError, ValueError):
            return True  # damaged: `export` says what
        return manifest is None or len(ours) == manifest[1]

    def read_indexes(self) -> dict[str, Index]:
        """The index of every collection, as it is on the disk now."""
        return {collection: self._index(collection) for collection in COLLECTIONS}

    def _index(self, collection: str) -> Index:
        """The index as it is on the disk now. Reads the file only if it changed."""
        path = self._index_path(collection)
        with archive_directory.mapped_errors(path):
            current = _stamp(path)
            if current is None:
                self._cache.pop(collection, None)
                return Index.empty()
            if self._cache.get(collection, (None, None))[1] != current:
                self._cache.pop(collection, None)  # before reading: two of them at 20,000 runs would need 300 MB
                self._cache[collection] = indexes.read(path)
        return self._cache[collection][0]

    def _index_path(self, collection: str) -> Path:
        return self.path / collection / indexes.NAME

    def _document_path(self, collection: str, oid: str) -> Path:
        return self.path / collection / f"{oid}.json"

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Make documents durable, not yet visible, with one sync of the file system per call."""
        self._prepare()
        outcomes: list[Staged | ArchiverError] = []
        with archive_directory.mapped_errors(self.path):
            files.write_batch(self._files(records, known, outcomes))
        return outcomes

    def _files(
        self, records: Sequence[RunDocuments], known: Mapping[int, Location], outcomes: list[Staged | ArchiverError]
    ) -> Iterator[tuple[Path, bytes]]:
        """The files of all records, made one by one. Adds the outcome of each record to `outcomes`.

        If one document of a record fails, those before it are written all the same: they are not visible, and the next
        try replaces them.
        """
        now = documents.timestamp()
        for record in records:
            try:
                staged, plan = self._planned(record, known.get(record.run), now)
                for tree in plan.trees() if plan else ():
                    yield self._document_path(tree["collection"], tree["_id"]["$oid"]), documents.encode(tree)
            except ArchiverError as error:
                if error.stops_cycle:
                    raise
                error.run = record.run if error.run is None else error.run
                outcomes.append(error)
            else:
                outcomes.append(staged)

    def _planned(
        self, record: RunDocuments, known: Location | None, now: str
    ) -> tuple[Staged, versions.PlannedVersion | None]:
        """Outcome and planned version of a run; None if a visible one has the same content. Raises ArchiverError."""
        plan = versions.plan(record, known, now, self._schema)
        if any(self._document_path(item.collection, item.oid).exists() for item in plan.items):
            # Left by a try that was not published, or stored by another archiver: the index decides.
            known = self.locate([record.run]).get(record.run)
            plan = versions.plan(record, known, now, self._schema)
        if known is not None and versions.holds(self.export(known), record):
            return Staged(known, changed=False, assigned=now), None
        return plan.staged, plan

    def _prepare(self) -> None:
        """Create the directories and empty indexes: documents without an index count as a lost index."""
        if self._prepared:
            return
        with archive_directory.mapped_errors(self.path):
            files.make_directory(self.path)
            with locked(self.path):
                for collection in COLLECTIONS:
                    path = self._index_path(collection)
                    files.make_directory(path.parent)
                    if _stamp(path) is None:
                        files.write_atomic(path, indexes.EMPTY)
                self._write_metadata()
        self._prepared = True

    def _write_metadata(self) -> None:
        """Write the SystemMetadata document, as artdaq does on first use."""
        directory = self.path / SYSTEM_METADATA
        if not archive_directory.has_documents(directory):
            files.make_directory(directory)
            oid = documents.object_id(SYSTEM_METADATA, "", "artdaq")
            record = versions.system_metadata(f"filesystemdb://{self.path}") | {"_id": {"$oid": oid}}
            files.write_atomic(directory / f"{oid}.json", json.dumps(record, separators=(",", ":")).encode("ascii"))

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible. Several archivers may publish at the same time: a lock puts them in order."""
        changed = [each for each in staged if each.changed]
        if not changed:
            return
        with archive_directory.mapped_errors(self.path), locked(self.path):
            for collection in COLLECTIONS:
                additions = _additions(changed, collection)
                if additions.ouid:
                    self._extend(collection, additions)

    def _extend(self, collection: str, additions: indexes.Additions) -> None:
        """Add entries to an index on the disk. The caller holds the lock, which artdaq's tools ignore.

        They rewrite the file in place. If its stamp changed before our rename, the file is read again. If it changed
        just then, the replaced file, kept open, shows that: its entries are added in the next try.
        """
        path = self._index_path(collection)
        for _ in range(_TRIES):
            index = self._index(collection)
            seen = self._cache.pop(collection, (index, None))[1]  # put back once it is on the disk
            if not index.add(additions):
                return
            data = index.serialise()
            with open(path, "rb") as replaced:
                if indexes.stamp(path) != seen:
                    continue
                files.write_atomic(path, data)
                if indexes.stamp(replaced.fileno()) == seen:
                    written = indexes.stamp(path)
                    if written[1] == len(data):
                        self._cache[collection] = index, written
                    return
                additions = indexes.read(path, replaced)[0].everything()
        raise StoreError(
            "another program keeps changing the index", path=path, hint="stop artdaq's tools and try again"
        )

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a version by its object ids, without the index; every document is checked."""
        return versions.export(location, self._read, lambda item: str(self._document_path(item.collection, item.oid)))

    def _read(self, item: Item) -> documents.Tree:
        path = f"{self.path}/{item.collection}/{item.oid}.json"  # a Path would take a fifth of the time of a read
        with archive_directory.mapped_errors(path):
            try:
                with open(path, "rb", buffering=0) as file:
                    return documents.decode(file.read())
            except FileNotFoundError:
                if not (self.path / item.collection).is_dir():
                    raise  # the whole archive is gone: an error of the store, not of this run
                raise VerificationError(f"document {item.entity} is missing") from None


def _stamp(path: Path) -> Stamp | None:
    """The stamp of an index; None if the collection has no documents. Raises OSError; IndexDamaged if it is missing."""
    try:
        return indexes.stamp(path)
    except FileNotFoundError:
        if not archive_directory.has_documents(path.parent):
            return None
    try:
        return indexes.stamp(path)  # created, with the first documents, since the first look
    except FileNotFoundError:
        raise indexes.missing(path) from None


def _additions(staged: Sequence[Staged], collection: str) -> indexes.Additions:
    additions = indexes.Additions()
    for each in staged:
        location = each.location
        for item in location.items:
            if item.collection == collection:
                additions.document(item.oid, location.version, [(location.configuration, each.assigned)])
                additions.name(indexes.ENTITY, item.entity, item.oid)
                additions.name(indexes.RUN, str(location.run), item.oid)
    return additions
