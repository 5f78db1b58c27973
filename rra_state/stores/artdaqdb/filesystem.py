"""artdaqDB in a directory: artdaq's FileSystemDB format, written and read without artdaq's tools.

Documents are written first, by workers; then the driver makes them visible through the index, SystemLayout's before
RunHistory's, whose index decides what an archive holds. Format: docs/design/artdaqdb.md, Layout.
"""

from __future__ import annotations

import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from rra_state.base import files
from rra_state.base.errors import ArchiverError, IndexDamaged, StoreError, VerificationError
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import directory as place
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import index as indexes
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb.base import Capabilities, Export, Item, Location, Outline, Staged
from rra_state.stores.artdaqdb.document import RUN_HISTORY, SYSTEM_LAYOUT
from rra_state.stores.artdaqdb.index import Index, Stamp

_METADATA = "SystemMetadata"
_COLLECTIONS = (SYSTEM_LAYOUT, RUN_HISTORY)
"""In the order of publishing."""
_TRIES = 5


class FilesystemDB:
    """An artdaqDB archive in a directory; implements `base.ArtdaqDB`. One instance per process; not for threads."""

    capabilities = Capabilities(byte_identical=True, atomic=True, concurrent_readers=True)

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
        """Raise StoreError unless the archive, or the directory that is to hold it, can be read and written."""
        with place.faults(self.path):
            directories = [self.path, *(self.path / name for name in _COLLECTIONS)]
            present = [directory for directory in directories if directory.exists()] or [_nearest_parent(self.path)]
            for directory in present:
                os.scandir(directory).close()
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise PermissionError(13, "permission denied", str(directory))
            if os.statvfs(present[0]).f_bavail == 0:
                raise OSError(28, "no space left on device", str(present[0]))
        self.read_indexes()
        if self._schema is not None:
            self._schema.parsed()

    def stamp(self) -> str:
        """Inode, size and time of change of the index; empty if there is none."""
        path = self._index_path(RUN_HISTORY)
        with place.faults(path):
            try:
                return "-".join(map(str, indexes.stamp(path)))
            except FileNotFoundError:
                return ""

    def runs(self) -> set[int]:
        """Every visible run. Raises IndexDamaged rather than take a damaged archive for an empty one."""
        return self._index(RUN_HISTORY).runs()

    def lost(self, expected: Iterable[int]) -> set[int]:
        """Runs that ought to be visible and are not, say because artdaq's own tools overwrote the index."""
        return self._index(RUN_HISTORY).without(expected)

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest content of each visible run; see `search.locate` for the choice."""
        return lookup.locate(self.read_indexes(), runs)

    def outlines(self, runs: Iterable[int], needed: Collection[str]) -> Iterator[Outline]:
        """The same versions, each with whether it has these entities."""
        return lookup.outlines(self.locate, runs, needed)

    def read_indexes(self) -> dict[str, Index]:
        """Every collection's index, as it is on the disk now."""
        return {collection: self._index(collection) for collection in _COLLECTIONS}

    def _index(self, collection: str) -> Index:
        """The index as it is on the disk now, read again only if it changed."""
        path = self._index_path(collection)
        with place.faults(path):
            current = _stamp(path)
            if current is None:
                self._cache.pop(collection, None)
                return Index.empty()
            if self._cache.get(collection, (None, None))[1] != current:
                self._cache.pop(collection, None)  # before reading: two of them would be 200 MB
                self._cache[collection] = indexes.read(path)
        return self._cache[collection][0]

    def _index_path(self, collection: str) -> Path:
        return self.path / collection / indexes.NAME

    def _document_path(self, collection: str, oid: str) -> Path:
        return self.path / collection / f"{oid}.json"

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Make documents durable, invisible as yet; all of a call with one sync of the file system."""
        self._prepare()
        outcomes: list[Staged | ArchiverError] = []
        with place.faults(self.path):
            files.write_batch(self._files(records, known, outcomes))
        return outcomes

    def _files(
        self, records: Sequence[RunDocuments], known: Mapping[int, Location], outcomes: list[Staged | ArchiverError]
    ) -> Iterator[tuple[Path, bytes]]:
        """The files of all records, one in memory at a time; notes each record's outcome.

        Of a record with a fault those before it are written: invisible, and replaced by the next try.
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

    def _planned(self, record: RunDocuments, known: Location | None, now: str) -> tuple[Staged, versions.Plan | None]:
        """One run's outcome and plan; no plan if a visible version holds the same. Raises ArchiverError."""
        plan = versions.plan(record, known, now, self._schema)
        if any(self._document_path(item.collection, item.oid).exists() for item in plan.items):
            # Left by a try that was never published, or another archiver was faster: only the index can tell.
            known = self.locate([record.run]).get(record.run)
            plan = versions.plan(record, known, now, self._schema)
        if known is not None and versions.holds(self.export(known), record):
            return Staged(known, changed=False, assigned=now), None
        return plan.staged, plan

    def _prepare(self) -> None:
        """Make what an archive needs before its first document, or the documents would look like a lost index."""
        if self._prepared:
            return
        with place.faults(self.path):
            files.make_directory(self.path)
            with place.locked(self.path):
                for collection in _COLLECTIONS:
                    path = self._index_path(collection)
                    files.make_directory(path.parent)
                    if _stamp(path) is None:
                        files.write_atomic(path, indexes.EMPTY)
                self._write_metadata()
        self._prepared = True

    def _write_metadata(self) -> None:
        """The archive's own record, as artdaq makes it on first use."""
        directory = self.path / _METADATA
        if not place.has_documents(directory):
            files.make_directory(directory)
            oid = documents.object_id(_METADATA, "", "artdaq")
            files.write_atomic(directory / f"{oid}.json", _metadata_record(self.path, oid))

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible. Two archivers may do so at once: each adds to what the other wrote."""
        changed = [each for each in staged if each.changed]
        if not changed:
            return
        with place.faults(self.path), place.locked(self.path):
            for collection in _COLLECTIONS:
                additions = _additions(changed, collection)
                if additions.ouid:
                    self._extend(collection, additions)

    def _extend(self, collection: str, additions: indexes.Additions) -> None:
        """Add to an index on the disk. Archivers are kept out by the lock; artdaq's tools, which take none, are not.

        They rewrite the file in place: before our rename its stamp tells, and after it the file we replaced does, which
        is held open for that. What they wrote is merged.
        """
        path = self._index_path(collection)
        for _ in range(_TRIES):
            index = self._index(collection)
            seen = self._cache.pop(collection, (index, None))[1]  # kept again only when memory and disk agree
            if not index.add(additions):
                return
            data = index.serialise()
            with open(path, "rb") as replaced:
                if indexes.stamp(path) != seen:
                    continue
                files.write_atomic(path, data)
                if indexes.stamp(replaced.fileno()) == seen:
                    self._keep(collection, index, len(data))
                    return
                additions = _foreign(replaced.read(), path).everything()
        raise StoreError(
            "another program keeps changing the index", path=path, hint="stop artdaq's tools and try again"
        )

    def _keep(self, collection: str, index: Index, size: int) -> None:
        written = indexes.stamp(self._index_path(collection))
        if written[1] == size:
            self._cache[collection] = index, written

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a version back by object ids, without the index; every document is checked."""
        return versions.export(location, self._read, lambda item: str(self._document_path(item.collection, item.oid)))

    def _read(self, item: Item) -> documents.Tree:
        path = f"{self.path}/{item.collection}/{item.oid}.json"  # no Path: it would take a fifth of the time
        with place.faults(path):
            return documents.decode(self._bytes(path, item))

    def _bytes(self, path: str, item: Item) -> bytes:
        try:
            with open(path, "rb", buffering=0) as file:
                return file.read()
        except FileNotFoundError:
            if not (self.path / item.collection).is_dir():
                raise  # the whole archive is gone, which is no fault of this run
            raise VerificationError(f"document {item.entity} is missing") from None


def _stamp(path: Path) -> Stamp | None:
    """The stamp of an index; None if the collection holds nothing yet. Raises OSError; IndexDamaged if it was lost."""
    try:
        return indexes.stamp(path)
    except FileNotFoundError:
        if not place.has_documents(path.parent):
            return None
    try:
        return indexes.stamp(path)  # it came, with its first documents, between the two looks
    except FileNotFoundError:
        raise indexes.missing(path) from None


def _foreign(raw: bytes, path: Path) -> Index:
    """What another program wrote into the index file that ours replaced."""
    try:
        return Index.parse(raw)
    except IndexDamaged as error:
        error.path = str(path)
        raise


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


def _nearest_parent(path: Path) -> Path:
    return next(parent for parent in path.absolute().parents if parent.exists())


def _metadata_record(path: Path, oid: str) -> bytes:
    """SystemMetadata's one record. Source: docs/design/artdaqdb.md, Layout."""
    system = os.uname()
    names = ("sysname", "nodename", "release", "version", "machine")
    record = {
        "document": {
            "name": "artdaq",
            "uri": f"filesystemdb://{path}",
            "locale": "en_US.UTF-8",
            "create_time": documents.timestamp(),
            "create_user": "",
            "uname": {name: getattr(system, name) for name in names},
            "database_format": 3,
        },
        "_id": {"$oid": oid},
    }
    return json.dumps(record, separators=(",", ":")).encode("ascii")
