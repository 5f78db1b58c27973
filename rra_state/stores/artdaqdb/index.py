"""The search index of one FileSystemDB collection: read it, ask it, extend it, write it.

Nothing else links a run to its documents. It is read and written whole. Format: docs/design/artdaqdb.md, Index file.
"""

from __future__ import annotations

import bisect
import os
import time
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias

import orjson

from rra_state.base import run_numbers
from rra_state.base.errors import IndexDamaged, StoreUnavailable

NAME = "index.json"
EMPTY = (
    b'{"ouid":[], "version":{},"configurations.name":{}, "entities.name":{},'
    b'"aliases.active.name":{}, "runs.name":{},"configurations.assigned":{} }'
)
VERSION, CONFIGURATION, ENTITY = "version", "configurations.name", "entities.name"
ALIAS, RUN, ASSIGNED = "aliases.active.name", "runs.name", "configurations.assigned"
WAIT_SECONDS = 60.0
"""Time that another program gets to finish rewriting an index. artdaq's tools truncate it first."""

_OUID = "ouid"
_SECTIONS = (VERSION, CONFIGURATION, ENTITY, ALIAS, RUN, ASSIGNED)
_REQUIRED = (_OUID, VERSION, CONFIGURATION, ENTITY)
"""Without these artdaq itself finds nothing ("Key not found"); the others may be missing for reading."""
_POLL_SECONDS = 0.1
_HINT = "rebuild it from the documents: run_archiver.sh CONFIG --rebuild-index"

Stamp: TypeAlias = tuple[int, int, int]
"""Inode, size and mtime (ns) of an index file: equal stamps, equal content."""


class Additions:
    """What is to be added to an index: object ids under section and key."""

    def __init__(self) -> None:
        self.ouid: set[str] = set()
        self.sections: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in _SECTIONS}

    def document(self, oid: str, version: str, configurations: Iterable[tuple[str, str]]) -> None:
        """Add a document, its version, and its configurations with the time each was assigned."""
        self.ouid.add(oid)
        self.sections[VERSION][version].add(oid)
        for configuration, assigned in configurations:
            self.sections[CONFIGURATION][configuration].add(oid)
            self.sections[ASSIGNED][configuration].add(assigned)

    def name(self, section: str, key: str, oid: str) -> None:
        """Add one name (entity, run, alias) of a document."""
        self.sections[section][key].add(oid)


class Index:
    """One search index in memory. `read` makes one; `Index.empty()` is the start of a collection."""

    def __init__(self, tree: dict[str, Any]) -> None:
        """tree: the parsed file; its known sections are sorted lists of strings by key."""
        self._ouid: list[str] = tree[_OUID]
        self._sections: dict[str, dict[str, list[str]]] = {name: tree[name] for name in _SECTIONS}
        self._tree = tree
        self._by_run: dict[str, dict[str, list[str]]] = {}

    @classmethod
    def empty(cls) -> Index:
        """An index that lists nothing."""
        return cls.parse(EMPTY)

    @classmethod
    def parse(cls, raw: bytes) -> Index:
        """Raise IndexDamaged, without a path, for anything but a whole index. Unknown sections are kept."""
        try:
            tree = orjson.loads(raw)
            if not isinstance(tree, dict):
                raise ValueError("not a JSON object")
            if missing := [name for name in _REQUIRED if name not in tree]:
                raise ValueError(f"it has no section {missing[0]}")
            tree[_OUID] = _strings(tree[_OUID])
            for name in _SECTIONS:
                tree[name] = {key: _strings(items) for key, items in tree.get(name, {}).items()}
        except ValueError as error:
            raise IndexDamaged(f"the index is damaged: {error}", hint=_HINT) from error
        except (TypeError, AttributeError) as error:
            raise IndexDamaged("the index is damaged: a section holds no lists of texts", hint=_HINT) from error
        return cls(tree)

    # ---- asking ----------------------------------------------------------------------------------------------------

    def keys(self, section: str) -> Collection[str]:
        """Names listed in a section, in the order of the file."""
        return self._sections[section].keys()

    def oids(self, section: str, key: str) -> Sequence[str]:
        """Entries under a name, sorted; empty if there is no such name."""
        return self._sections[section].get(key, ())

    def runs(self) -> set[int]:
        """Runs that have a document: by configuration `<run>/<name>`, and by `runs.name` where that is kept."""
        named = [key for key, items in self._sections[RUN].items() if items]
        return run_numbers.numbers(filter(str.isdecimal, [*named, *self._names_by_run(CONFIGURATION)]))

    def of_run(self, section: str, run: int) -> Sequence[str]:
        """The names `<run>/...` of a section (configurations, versions) under which anything is listed."""
        return self._names_by_run(section).get(str(run), ())

    def _names_by_run(self, section: str) -> dict[str, list[str]]:
        """Names with a slash by the part before it; made once until the index changes."""
        if section not in self._by_run:
            names: dict[str, list[str]] = defaultdict(list)
            for name, items in self._sections[section].items():
                if items and "/" in name:
                    names[name.partition("/")[0]].append(name)
            self._by_run[section] = names
        return self._by_run[section]

    def names_of(self, section: str, oids: Iterable[str]) -> dict[str, list[str]]:
        """The names under which each of these object ids is listed in a section."""
        wanted = frozenset(oids)
        found: dict[str, list[str]] = defaultdict(list)
        for name, items in self._sections[section].items() if wanted else ():
            for oid in wanted.intersection(items):
                found[oid].append(name)
        return found

    # ---- extending -------------------------------------------------------------------------------------------------

    def add(self, additions: Additions) -> bool:
        """List these documents; lists stay sorted, each entry once. False if all were listed already."""
        changed = _insert(self._ouid, additions.ouid)
        for name, section in additions.sections.items():
            for key, items in section.items():
                changed |= _insert(self._sections[name].setdefault(key, []), items)
        self._by_run.clear()
        return changed

    def everything(self) -> Additions:
        """All entries, to be added to another index."""
        additions = Additions()
        additions.ouid.update(self._ouid)
        for name, section in self._sections.items():
            for key, items in section.items():
                additions.sections[name][key].update(items)
        return additions

    def serialise(self) -> bytes:
        """The bytes of index.json, compact: artdaq accepts any white space between the tokens."""
        return orjson.dumps(self._tree)


def read(path: Path, replaced: BinaryIO | None = None) -> tuple[Index, Stamp]:
    """Read an index file and its stamp. replaced: an open index that a rename has replaced at `path`, read instead.

    artdaq's tools truncate the file and write it again. While one of them does, this waits, for up to WAIT_SECONDS.
    Raises IndexDamaged if the file is not whole and was not changed for that time, StoreUnavailable if it is changed
    all that time, OSError (FileNotFoundError if there is none).
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        with open(path, "rb") if replaced is None else nullcontext(replaced) as stream:
            if found := _read_once(stream, path, deadline):
                return found
        time.sleep(_POLL_SECONDS)


def _read_once(stream: BinaryIO, path: Path, deadline: float) -> tuple[Index, Stamp] | None:
    """The index in an open file, and its stamp; None while another program is writing it, before the deadline."""
    stream.seek(0)
    before = stamp(stream.fileno())
    late = time.monotonic() >= deadline
    try:
        index = Index.parse(stream.read())
    except IndexDamaged as error:
        unchanged = time.time() - before[2] / 1e9 > WAIT_SECONDS and stamp(stream.fileno()) == before
        if late or unchanged:
            error.path = str(path)
            raise
        return None
    if stamp(stream.fileno()) == before:
        return index, before
    if late:
        raise StoreUnavailable("another program keeps rewriting the index", path=path, hint="let artdaq's tools finish")
    return None


def missing(path: Path | str, hint: str = _HINT) -> IndexDamaged:
    """The error for a collection that has documents but no index, which artdaq takes for an empty archive."""
    return IndexDamaged("the index is missing but there are documents", path=path, hint=hint)


def stamp(file: Path | int) -> Stamp:
    """Inode, size and mtime of a file or descriptor. Raises OSError."""
    status = os.fstat(file) if isinstance(file, int) else file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def _strings(items: object) -> list[str]:
    """The list, sorted. Raises TypeError for anything but a list of strings."""
    if not isinstance(items, list):
        raise TypeError("a list was expected")
    "".join(items)  # raises TypeError for what is no string, three times faster than a loop
    items.sort()
    return items


def _insert(ordered: list[str], items: Iterable[str]) -> bool:
    """Add to a sorted list those items that it lacks; False if it has them all."""
    new = [item for item in items if not _contains(ordered, item)]
    ordered += new
    ordered.sort()
    return bool(new)


def _contains(ordered: list[str], item: str) -> bool:
    position = bisect.bisect_left(ordered, item)
    return position < len(ordered) and ordered[position] == item
