"""The search index of one FileSystemDB collection: read, ask, extend, write.

Nothing else links a run to its documents. Lists stay text (`index_text.py`), so that a run costs little in a large
archive. Format: docs/design/artdaqdb.md, Index file.
"""

from __future__ import annotations

import bisect
import json
import os
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from rra_state.base import run_numbers
from rra_state.base.errors import IndexDamaged, StoreError, StoreUnavailable
from rra_state.stores.artdaqdb.index_text import HINT, Section, split

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
_LONG = 2**17
"""Bytes of a list that is not taken apart to add to it. Nobody makes one by hand: a program did, and sorted it."""
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

    def __init__(self, sections: dict[str, Section], ouid: bytes, extra: dict[str, Any]) -> None:
        self._sections = sections
        self._ouid = ouid
        self._extra = extra

    @classmethod
    def empty(cls) -> Index:
        """An index that lists nothing."""
        return cls.parse(EMPTY)

    @classmethod
    def parse(cls, raw: bytes) -> Index:
        """Raise IndexDamaged, without a path, for anything but a whole index. Sections it does not know are kept."""
        found = split(raw, _OUID, _SECTIONS)
        return cls._parse_any(raw) if found is None else cls(found[1], found[0], {})

    @classmethod
    def _parse_any(cls, raw: bytes) -> Index:
        """An index however it is laid out."""
        try:
            text = raw.decode()
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
            raise IndexDamaged(f"the index is damaged: {error}", hint=HINT) from error
        return cls(sections, ouid, tree)

    # ---- asking ----------------------------------------------------------------------------------------------------

    def keys(self, section: str) -> Collection[str]:
        """Names listed in a section, in the order of their coming."""
        return self._sections[section].lists().keys()

    def oids(self, section: str, key: str) -> list[str]:
        """What is listed under a name, sorted; empty if there is no such name."""
        return _unpack(self._sections[section].get(key))

    def runs(self) -> set[int]:
        """Runs that have a document: by configuration `<run>/<name>`, and by `runs.name` where that is kept."""
        named = (key for key, items in self._sections[RUN].lists().items() if items)
        return self._configured() | run_numbers.numbers(filter(str.isdecimal, named))

    def without(self, expected: Iterable[int]) -> set[int]:
        """Those that are none of `runs`."""
        missing = set(expected) - self._configured()
        return missing - self.runs() if missing else missing

    def _configured(self) -> set[int]:
        return run_numbers.numbers(filter(str.isdecimal, self._sections[CONFIGURATION].prefixes()))

    def of_run(self, section: str, run: int) -> Sequence[str]:
        """The names `<run>/...` of a section (configurations, versions)."""
        return self._sections[section].below(str(run))

    def names_of(self, section: str, wanted: Collection[str], likely: Mapping[str, str]) -> dict[str, list[str]]:
        """The names under which these object ids are listed in a section.

        likely: by object id the name it ought to have. Looked at first, since what is not there costs a pass over the
        whole section.
        """
        if not wanted:
            return {}
        names = self._sections[section].lists()
        found = {oid: [key] for oid, key in likely.items() if oid in wanted and _holds(names.get(key, b""), oid)}
        rest = frozenset(wanted) - found.keys()
        for key, packed in names.items() if rest else ():
            for oid in rest.intersection(_unpack(packed)):
                found.setdefault(oid, []).append(key)
        return found

    # ---- extending -------------------------------------------------------------------------------------------------

    def add(self, additions: Additions) -> bool:
        """List these documents; lists stay sorted, each entry once. False if all were listed already."""
        ouid = _insert(self._ouid, additions.ouid)
        changed = ouid is not None
        self._ouid = self._ouid if ouid is None else ouid
        for name, section in additions.sections.items():
            own = self._sections[name]
            for key, items in section.items():
                packed = _insert(own.get(key), items)
                if packed is not None:
                    own.put(key, packed)
                    changed = True
        return changed

    def everything(self) -> Additions:
        """All entries, to be added to another index."""
        additions = Additions()
        additions.ouid.update(_unpack(self._ouid))
        for name, section in self._sections.items():
            for key, packed in section.lists().items():
                additions.sections[name][key].update(_unpack(packed))
        return additions

    def serialise(self) -> bytes:
        """The file as artdaq writes it: one token a line, `"key" : value`, no indentation, no final newline."""
        ouid = (b'[\n"', self._ouid, b'"\n]') if self._ouid else (b"[\n]",)
        parts = [b'{\n"ouid" : ', *ouid]
        for name, section in self._sections.items():
            parts.append(b',\n"%b" : {\n' % name.encode())
            parts += section.parts()
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
        with open(path, "rb") as stream:
            before = stamp(stream.fileno())
            try:
                index = Index.parse(stream.read())
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
    return IndexDamaged("the index is missing but there are documents", path=path, hint=HINT)


def stamp(file: Path | int) -> Stamp:
    """Inode, size and mtime of a file or descriptor. Raises OSError."""
    status = os.fstat(file) if isinstance(file, int) else file.stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


# ---- lists as text, see index_text.py ------------------------------------------------------------------------------


def _pack(items: list[str]) -> bytes:
    if not isinstance(items, list):
        raise TypeError(f"a list was expected, not {type(items).__name__}")
    return '",\n"'.join(items).encode()


def _pack_checked(items: list[str]) -> bytes:
    packed = _pack(items)
    if packed.count(b'"') != 2 * max(len(items) - 1, 0) or b"\\" in packed or not "".join(items).isprintable():
        raise ValueError("an object id or a time holds a character that none can hold")
    return packed


def _pack_section(section: dict[str, list[str]], pack: Any) -> Section:
    if not isinstance(section, dict):
        raise TypeError(f"a table was expected, not {type(section).__name__}")
    packed = {}
    for key in list(section):
        key.encode()  # a lone surrogate, which could not be written again, raises ValueError
        packed[key] = pack(section.pop(key))
    return Section(packed)


def _unpack(packed: bytes) -> list[str]:
    return packed.decode().split('",\n"') if packed else []


def _insert(packed: bytes, items: Iterable[str]) -> bytes | None:
    """The list with these items; None if it had them all."""
    wanted = sorted({item.encode() for item in items})
    if len(packed) > _LONG and (spliced := _spliced(packed, wanted)) is not None:
        return spliced if len(spliced) > len(packed) else None
    present = packed.split(_BETWEEN) if packed else []
    present.sort()  # foreign lists are sorted already, and that is cheap; a hand-made one may not be
    new = [item for item in wanted if not _contains(present, item)]
    if not new:
        return None
    present += new
    present.sort()
    return _BETWEEN.join(present)


def _spliced(packed: bytes, wanted: Sequence[bytes]) -> bytes | None:
    """A long sorted list with these items at their places; None unless all it shows on the way is as long as they."""
    parts, done = [], 0
    for item in wanted:
        place = _place(packed, item)
        if place is None:
            return None
        end = place + len(item)
        if packed[place:end] == item:
            if packed[end : end + len(_BETWEEN)] not in (b"", _BETWEEN):
                return None
            continue
        after = place > len(packed)
        parts += [packed[done:place], *((_BETWEEN, item) if after else (item, _BETWEEN))]
        done = min(place, len(packed))
    return b"".join((*parts, packed[done:]))


def _place(packed: bytes, item: bytes) -> int | None:
    """Where the first item begins that does not come before this one; beyond the end if all do. None: other widths."""
    width = len(item) + len(_BETWEEN)
    low, high = 0, (len(packed) + len(_BETWEEN)) // width
    if high * width != len(packed) + len(_BETWEEN):
        return None
    while low < high:
        middle = (low + high) // 2
        start = middle * width
        if start and packed[start - len(_BETWEEN) : start] != _BETWEEN:
            return None
        low, high = (middle + 1, high) if packed[start : start + len(item)] < item else (low, middle)
    return low * width


def _holds(packed: bytes, item: str) -> bool:
    """Whether a sorted list of items as long as this one holds it; False if it is anything else."""
    wanted = item.encode()
    width = len(wanted) + len(_BETWEEN)
    low, high = 0, (len(packed) + len(_BETWEEN)) // width
    while low < high:
        middle = (low + high) // 2
        start = middle * width
        found = packed[start : start + len(wanted)]
        if found == wanted:
            return packed[start - 1 : start] in (b"", b'"') and packed[start + len(wanted) :][:1] in (b"", b'"')
        low, high = (middle + 1, high) if found < wanted else (low, middle)
    return False


def _contains(ordered: list[bytes], item: bytes) -> bool:
    place = bisect.bisect_left(ordered, item)
    return place < len(ordered) and ordered[place] == item
