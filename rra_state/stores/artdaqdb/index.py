"""The search index of one FileSystemDB collection: read, ask, extend, write.

Nothing else links a run to its documents. Lists are held as encoded pieces, so that publishing encodes only those it
touches and 20,000 runs take 60 MB instead of 200. Format: spec/artdaqdb.md section (b), index.json.
"""

from __future__ import annotations

import bisect
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Any, TypeAlias

from rra_state import runs
from rra_state.errors import IndexDamaged, StoreError, StoreUnavailable

NAME = "index.json"
EMPTY = (
    b'{"ouid":[], "version":{},"configurations.name":{}, "entities.name":{},'
    b'"aliases.active.name":{}, "runs.name":{},"configurations.assigned":{} }'
)
VERSION, CONFIGURATION, ENTITY = "version", "configurations.name", "entities.name"
ALIAS, RUN, ASSIGNED = "aliases.active.name", "runs.name", "configurations.assigned"

_OUID = "ouid"
_SECTIONS = (VERSION, CONFIGURATION, ENTITY, ALIAS, RUN, ASSIGNED)
_REQUIRED = (_OUID, VERSION, CONFIGURATION, ENTITY)
"""Without these artdaq itself finds nothing ("Key not found"); the others may be missing for reading."""
_BETWEEN = b'",\n"'
_HINT = "rebuild it from the documents: run_archiver.sh CONFIG --rebuild-index"
_encode_key = json.JSONEncoder(ensure_ascii=False).encode

Stamp: TypeAlias = tuple[int, int, int]
"""Inode, size and mtime (ns) of an index file: equal stamps, equal content."""


class Additions:
    """What is to be added to an index: object ids under section and key."""

    def __init__(self) -> None:
        self.ouid: set[str] = set()
        self.sections: dict[str, dict[str, set[str]]] = {name: defaultdict(set) for name in _SECTIONS}

    def document(self, oid: str, version: str, configurations: Iterable[tuple[str, str]]) -> None:
        """Note a document, its version, and its configurations with the time each was assigned."""
        self.ouid.add(oid)
        self.sections[VERSION][version].add(oid)
        for configuration, assigned in configurations:
            self.sections[CONFIGURATION][configuration].add(oid)
            self.sections[ASSIGNED][configuration].add(assigned)

    def name(self, section: str, key: str, oid: str) -> None:
        """Note one name (entity, run, alias) of a document."""
        self.sections[section][key].add(oid)


class Index:
    """One search index in memory. `read` makes one; `Index.empty()` is the start of a collection."""

    def __init__(self, sections: dict[str, dict[str, bytes]], ouid: bytes, extra: dict[str, Any]) -> None:
        self._sections = sections
        self._ouid = ouid
        self._extra = extra
        self._by_run: dict[str, dict[int, list[str]]] = {}

    @classmethod
    def empty(cls) -> Index:
        """An index that lists nothing."""
        return cls.parse(EMPTY.decode())

    @classmethod
    def parse(cls, text: str) -> Index:
        """Raise IndexDamaged, without a path, for anything but a whole index. Sections it does not know are kept."""
        try:
            tree = json.loads(text)
            if not isinstance(tree, dict):
                raise TypeError("not a JSON object")
            if missing := [name for name in _REQUIRED if name not in tree]:
                raise ValueError(f"it has no section {missing[0]}")
            # Most indexes hold no escape at all; only where there is one can a list hold what must be escaped.
            pack = _pack_checked if "\\" in text else _pack
            del text
            ouid = pack(tree.pop(_OUID))
            sections = {name: _pack_section(tree.pop(name, {}), pack) for name in _SECTIONS}
        except (TypeError, ValueError, AttributeError, RecursionError) as error:
            raise IndexDamaged(f"the index is damaged: {error}", hint=_HINT) from error
        return cls(sections, ouid, tree)

    # ---- asking ----------------------------------------------------------------------------------------------------

    def keys(self, section: str) -> Collection[str]:
        """Names listed in a section, in the order of their coming."""
        return self._sections[section].keys()

    def oids(self, section: str, key: str) -> list[str]:
        """What is listed under a name, sorted; empty if there is no such name."""
        return _unpack(self._sections[section].get(key, b""))

    def has(self, section: str, key: str, item: str) -> bool:
        """Whether `item` is listed under a name."""
        return f'"{item}"'.encode() in b'"%b"' % self._sections[section].get(key, b"")

    def runs(self) -> set[int]:
        """Runs that have a document: by configuration `<run>/<name>`, and by `runs.name` where that is kept."""
        found = set(self.by_run(CONFIGURATION))
        found.update(number for key, items in self._sections[RUN].items() if items and (number := runs.number(key)))
        return found

    def by_run(self, section: str) -> dict[int, list[str]]:
        """Names `<run>/...` of a section (configurations, versions), grouped by run."""
        if section not in self._by_run:
            grouped: dict[int, list[str]] = defaultdict(list)
            for key, items in self._sections[section].items():
                number = runs.number(key.partition("/")[0])
                if number is not None and items and "/" in key:
                    grouped[number].append(key)
            self._by_run[section] = dict(grouped)
        return self._by_run[section]

    def names_of(self, section: str, wanted: Collection[str]) -> dict[str, list[str]]:
        """The names under which these object ids are listed in a section; costs one pass over the section."""
        found: dict[str, list[str]] = {}
        wanted = frozenset(wanted)
        for key, packed in self._sections[section].items():
            for oid in wanted.intersection(_unpack(packed)):
                found.setdefault(oid, []).append(key)
        return found

    # ---- extending -------------------------------------------------------------------------------------------------

    def add(self, additions: Additions) -> bool:
        """List these documents; lists stay sorted, each entry once. False if all were listed already."""
        self._by_run.clear()
        ouid = _insert(self._ouid, additions.ouid)
        changed = ouid is not None
        self._ouid = self._ouid if ouid is None else ouid
        for name, section in additions.sections.items():
            own = self._sections[name]
            for key, items in section.items():
                packed = _insert(own.get(key, b""), items)
                if packed is not None:
                    own[key] = packed
                    changed = True
        return changed

    def everything(self) -> Additions:
        """All entries, to be added to another index."""
        additions = Additions()
        additions.ouid.update(_unpack(self._ouid))
        for name, section in self._sections.items():
            for key, packed in section.items():
                additions.sections[name][key].update(_unpack(packed))
        return additions

    def serialise(self) -> bytes:
        """The file as artdaq writes it: one token a line, `"key" : value`, no indentation, no final newline."""
        parts = [b'{\n"ouid" : ', *_list(self._ouid)]
        for name, section in self._sections.items():
            parts.append(b',\n"%b" : {\n' % name.encode())
            between = b""
            for key, packed in section.items():
                parts += (between, _encode_key(key).encode(), b" : ", *_list(packed))
                between = b",\n"
            parts.append(b"\n}" if section else b"}")
        for key, value in self._extra.items():
            encoded = json.dumps(value, ensure_ascii=False, indent=0, separators=(",", " : "))
            parts.append(f",\n{_encode_key(key)} : {encoded}".encode())
        return b"".join((*parts, b"\n}"))


def read(path: Path) -> tuple[Index, Stamp]:
    """Read an index file and its stamp.

    A foreign writer truncates and rewrites in place: what was read while that went on is read again. Raises
    IndexDamaged, StoreUnavailable if that does not end, OSError (FileNotFoundError if there is none).
    """
    fault: StoreError = StoreUnavailable("another program keeps rewriting the index", hint="let artdaq's tools finish")
    for _ in range(5):
        with open(path, encoding="utf-8", newline="") as stream:
            before = stamp(stream.fileno())
            try:
                index = Index.parse(stream.read())
            except UnicodeDecodeError as error:
                fault = IndexDamaged(f"the index is damaged: {error}", hint=_HINT)
            except IndexDamaged as error:
                fault = error
            else:
                if stamp(stream.fileno()) == before:
                    return index, before
                continue
        if stamp(path) == before:
            break
    fault.path = str(path)
    raise fault


def missing(path: Path) -> IndexDamaged:
    """The error for a collection that has documents but no index. Source: artdaq takes that for an empty archive."""
    return IndexDamaged("the index is missing but there are documents", path=path, hint=_HINT)


def stamp(file: Path | int) -> Stamp:
    """Inode, size and mtime of a file or descriptor. Raises OSError."""
    status = os.fstat(file) if isinstance(file, int) else file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


# ---- lists as pieces: `a",\n"b` stands for ["a", "b"], empty for [] --------------------------------------------------


def _pack(items: list[str]) -> bytes:
    if not isinstance(items, list):
        raise TypeError(f"a list was expected, not {type(items).__name__}")
    return '",\n"'.join(items).encode()


def _pack_checked(items: list[str]) -> bytes:
    packed = _pack(items)
    if packed.count(b'"') != 2 * max(len(items) - 1, 0) or b"\\" in packed or not "".join(items).isprintable():
        raise ValueError("an object id or a time holds a character that none can hold")
    return packed


def _pack_section(section: dict[str, list[str]], pack: Any) -> dict[str, bytes]:
    if not isinstance(section, dict):
        raise TypeError(f"a table was expected, not {type(section).__name__}")
    packed = {}
    for key in list(section):
        key.encode()  # a lone surrogate, which could not be written again, raises ValueError
        packed[key] = pack(section.pop(key))
    return packed


def _unpack(packed: bytes) -> list[str]:
    return packed.decode().split('",\n"') if packed else []


def _insert(packed: bytes, items: Iterable[str]) -> bytes | None:
    """The list with these items; None if it had them all."""
    present = packed.split(_BETWEEN) if packed else []
    present.sort()  # foreign lists are sorted already, and that is cheap; a hand-made one may not be
    new = [item for item in sorted(item.encode() for item in items) if not _contains(present, item)]
    if not new:
        return None
    present += new
    present.sort()
    return _BETWEEN.join(present)


def _contains(ordered: list[bytes], item: bytes) -> bool:
    place = bisect.bisect_left(ordered, item)
    return place < len(ordered) and ordered[place] == item


def _list(packed: bytes) -> tuple[bytes, ...]:
    """A list as the file has it, in parts: the pieces are large and are copied once, when the file is put together."""
    return (b'[\n"', packed, b'"\n]') if packed else (b"[\n]",)
