"""Read an archive directory on another host through ssh: its indexes, and the documents of a run."""

from __future__ import annotations

import shlex
import time

from rra_state.base.errors import IndexDamaged
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import index, versions
from rra_state.stores.artdaqdb.base import COLLECTIONS, RUN_HISTORY, Export, Item, Location
from rra_state.stores.artdaqdb.index import NAME, Index
from rra_state.stores.artdaqdb.tool_runner import RemoteTools

_POLL_SECONDS = 0.5


def how_to_rebuild(path: str) -> str:
    """What to type on the host of an archive whose index is damaged.

    artdaq's program deletes the indexes and writes a copy of the archive beside it. Source: docs/design/artdaqdb.md,
    Loader and downloader.
    """
    kept, copy = f"{path}.damaged", f"{path}_new"
    moves = " && ".join(shlex.join(["mv", *pair]) for pair in ((path, kept), (copy, path)))
    uri = shlex.quote(f"filesystemdb://{path}")
    return f"on that host, with no loader running: rebuild_database_index -u {uri} && {moves}"


class SshReader:
    """Reads an archive; the same methods as `FilesystemDB` has. Keeps the indexes in memory, writes nothing to disk."""

    def __init__(self, remote: RemoteTools, path: str, host: str) -> None:
        """path: the archive's directory on that host."""
        self._remote, self._path, self._host = remote, path, host
        self._indexes: dict[str, Index] = {}
        self._stamps: list[str] | None = None

    def describe(self) -> str:
        """The archive in one phrase."""
        return f"artdaqDB directory {self._path} on {self._host}"

    def check(self) -> None:
        """Raise StoreError unless the indexes can be read."""
        self.read_indexes()

    def stamp(self) -> str:
        """Inode, size and modification time of the index; empty if there is none."""
        return self._remote.stamp(f"{self._path}/{RUN_HISTORY}/{NAME}")

    def read_indexes(self) -> dict[str, Index]:
        """The indexes as they are now. Copies them only if one changed.

        An index that artdaq's tools are rewriting there is waited for, as on this host: see `index.read`.
        """
        deadline = time.monotonic() + index.WAIT_SECONDS
        while True:
            try:
                return self._read_once()
            except IndexDamaged as error:
                age = self._remote.seconds_unchanged(error.path.partition(":")[2] if error.path else "")
                if age is None or age > index.WAIT_SECONDS or time.monotonic() >= deadline:
                    raise
            time.sleep(_POLL_SECONDS)

    def _read_once(self) -> dict[str, Index]:
        names = {collection: f"{collection}/{NAME}" for collection in COLLECTIONS}
        stamps = [self._remote.stamp(f"{self._path}/{name}") for name in names.values()]
        if stamps != self._stamps:
            found = self._remote.read(self._path, list(names.values()))
            self._indexes = {collection: self._index(collection, found.get(name)) for collection, name in names.items()}
            self._stamps = stamps
        return self._indexes

    def _index(self, collection: str, raw: bytes | None) -> Index:
        """Parse an index. Raises IndexDamaged, also if it is missing and there are documents."""
        path = f"{self._host}:{self._path}/{collection}/{NAME}"
        if raw is None and self._remote.any_file(f"{self._path}/{collection}"):
            raise index.missing(path, how_to_rebuild(self._path))
        try:
            return Index.empty() if raw is None else Index.parse(raw)
        except IndexDamaged as error:
            error.path, error.hint = path, how_to_rebuild(self._path)
            raise

    def export(self, location: Location) -> Export:
        """Read a run from its documents."""
        found = self._remote.read(self._path, [_name(item) for item in location.items])

        def read(item: Item) -> documents.Tree | None:
            return documents.decode(found[_name(item)]) if _name(item) in found else None

        return versions.export(location, read, lambda item: f"{self._host}:{self._path}/{_name(item)}")


def _name(item: Item) -> str:
    return f"{item.collection}/{item.oid}.json"
