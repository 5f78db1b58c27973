r"""The text of a search index, used as it is: one of 20,000 runs is 47 MB in 1.7 million strings.

Knows one layout only, the one artdaq and this archiver write; whatever is laid out otherwise, or holds anything that
needs a closer look, is left to a JSON parser. Format: docs/design/artdaqdb.md, Index file.

A list is held as the text between its outer quotes: `a",\n"b` stands for ["a", "b"], nothing for [].
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from rra_state.base.errors import IndexDamaged

HINT = "rebuild it from the documents: run_archiver.sh CONFIG --rebuild-index"
_PLAIN = bytes(byte for byte in range(0x20, 0x7F) if byte not in b'"\\')
"""What a string in an index holds as it is."""
_NEXT_ITEM, _FIRST_ITEM, _NEXT_NAME = b'",\n"', b'" : [\n"', b'"\n],\n"'
_LOOKUPS = 16
"""So many names are looked for in the text; for more it pays to take the section apart."""
_encode_key = json.JSONEncoder(ensure_ascii=False).encode


class Section:
    """Names with their lists, in the order of their coming. Of a text only what is asked for is taken apart."""

    def __init__(self, lists: dict[str, bytes], raw: bytes = b"", bounds: tuple[int, int] = (0, 0)) -> None:
        """lists: all of them; or the bounds in a text, from the quote of the first name to the end of the last list."""
        self._lists = lists
        self._raw, (self._start, self._end) = raw, bounds
        self._whole = self._start == self._end
        self._lookups = 0
        self._by_prefix: dict[str, list[str]] | None = None

    def get(self, name: str) -> bytes:
        """The list under a name; empty if there is no such name."""
        if self._whole or name in self._lists:
            return self._lists.get(name, b"")
        start = self._find(b"%b : [\n" % _encode_key(name).encode())
        if self._whole or start < 0:
            return self._lists.get(name, b"")
        first = self._raw.index(_FIRST_ITEM, start) + len(_FIRST_ITEM)
        return self._raw[first : self._raw.index(b'"\n]', first)]

    def put(self, name: str, packed: bytes) -> None:
        """Replace the list under a name, or add one."""
        before = self.get(name)
        if before and name not in self._lists:
            self._take_apart()
        self._lists[name] = packed
        if packed and not before and self._by_prefix is not None and "/" in name:
            self._by_prefix[name.partition("/")[0]].append(name)

    def lists(self) -> dict[str, bytes]:
        """All names and lists, for reading."""
        self._take_apart()
        return self._lists

    def below(self, prefix: str) -> Sequence[str]:
        """The names `<prefix>/...` under which anything is listed."""
        if self._by_prefix is None and not self._whole:
            start = self._find(b'"%b/' % prefix.encode())
            if not self._whole and start < 0:
                return [name for name, packed in self._lists.items() if packed and name.startswith(f"{prefix}/")]
        return self._prefixes().get(prefix, ())

    def prefixes(self) -> Iterator[str]:
        """What stands before the first slash of such names."""
        yield from self._prefixes()

    def parts(self) -> Iterator[bytes]:
        """The lists as the file has them, in parts: they are large and are copied once, when it is put together."""
        between = b""
        if not self._whole:
            yield self._raw[self._start : self._end]
            between = b",\n"
        for name, packed in self._lists.items():
            yield between
            yield _encode_key(name).encode()
            yield from (b' : [\n"', packed, b'"\n]') if packed else (b" : [\n]",)
            between = b",\n"

    def __bool__(self) -> bool:
        return not self._whole or bool(self._lists)

    def _find(self, line: bytes) -> int:
        """Where a line begins with this; negative if none does. Takes the section apart if that was asked too often."""
        self._lookups += 1
        if self._lookups > _LOOKUPS:
            self._take_apart()
            return -1
        if self._raw.startswith(line, self._start):
            return self._start
        return self._raw.find(b"\n" + line, self._start, self._end)

    def _prefixes(self) -> dict[str, list[str]]:
        if self._by_prefix is None:
            self._by_prefix = defaultdict(list)
            for name, packed in self.lists().items():
                if packed and "/" in name:
                    self._by_prefix[name.partition("/")[0]].append(name)
        return self._by_prefix

    def _take_apart(self) -> None:
        """Raises IndexDamaged if the text is in no order that an index can have."""
        if self._whole:
            return
        found = {}
        for entry in self._raw[self._start + 1 : self._end - len(b'"\n]')].split(_NEXT_NAME):
            name, opened, packed = entry.partition(_FIRST_ITEM)
            if not opened or b'"' in name or _FIRST_ITEM in packed:
                raise IndexDamaged("the index is damaged: its lists are out of order", hint=HINT)
            found[name.decode()] = packed
        self._lists = found | self._lists
        self._whole, self._raw = True, b""


def split(raw: bytes, first: str, names: Sequence[str]) -> tuple[bytes, dict[str, Section]] | None:
    """The list and the sections of an index that holds these and no more; None for any other text.

    None as well unless whatever stands between two strings is one of the layout's few forms: no string can then hold a
    quote, and the text is the JSON it looks like.
    """
    marks = raw.translate(None, _PLAIN)
    quotes, lines = marks.count(b'"'), marks.count(b"\n")
    start = b'{\n"%b" : [\n"' % first.encode()
    if quotes + lines != len(marks) or not raw.startswith(start) or not raw.endswith(b"}\n}"):
        return None
    try:
        bounds = _bounds(raw, len(start), names)
    except ValueError:
        return None
    sections = {name: Section({}, raw, each) for name, each in zip(names, bounds[1:], strict=True)}
    if (quotes, lines) != _marks(raw, sections):
        return None
    return raw[slice(*bounds[0])], sections


def _bounds(raw: bytes, place: int, names: Sequence[str]) -> list[tuple[int, int]]:
    """Where the list and the sections begin and end. Raises ValueError where the text is not laid out so."""
    bounds, end_of_list = [], b'"\n]'
    for name in names:
        heading = b',\n"%b" : {\n' % name.encode()
        end = raw.index(heading, place)
        bounds.append(_inside(raw, place, end, end_of_list))
        place, end_of_list = end + len(heading), b'"\n]\n}'
    bounds.append(_inside(raw, place, len(raw) - 2, end_of_list))
    return bounds


def _inside(raw: bytes, start: int, end: int, closing: bytes) -> tuple[int, int]:
    """The part without what closes it."""
    if raw[start:end] == b"}":
        return start, start
    if not raw.endswith(closing, start, end):
        raise ValueError("another layout")
    return start, end - (2 if closing.endswith(b"}") else len(closing))


def _marks(raw: bytes, sections: Mapping[str, Section]) -> tuple[int, int]:
    """How many quotes and line ends there are if between two strings there is nothing but what the layout has there."""
    items, lists, names = raw.count(_NEXT_ITEM), raw.count(_FIRST_ITEM), raw.count(_NEXT_NAME)
    filled = sum(map(bool, sections.values()))
    strings = items + lists + names + filled + len(sections)
    return 2 * strings, 1 + items + lists + 2 * (names + filled + len(sections))
