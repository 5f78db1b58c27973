"""The FHiCL document under construction: keys that are valid and unique, comments that are ASCII, never empty."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from rra_state.records import fhicl

_TO_BLANKS = {ord("\v"): " ", ord("\f"): " "}
_NOT_PRINTABLE = re.compile(r"[^\t\x20-\x7e]")


@dataclass(slots=True)
class _Definition:
    name: str
    value: str | list[str]
    note: str | None


class Entries:
    """Definitions and comments in the order of the text.

    In FHiCL a later definition wins, so of equal keys the last keeps the name; the earlier ones stay readable as
    `<name>_earlier1`, `<name>_earlier2`, ... Source: docs/design/run_records.md, Rules of all conversions.
    """

    def __init__(self) -> None:
        self._items: list[_Definition | str] = []

    def add(self, key: str, value: str | list[str], *, origin: str | None = None) -> None:
        """Define `key` as `value`: FHiCL text, or strings that become a sequence and may grow until `text` is called.

        `key` is made a FHiCL name; if that, or the caller (`origin`), altered it, the original is in a comment above.
        """
        name = fhicl.name(key)
        original = key if origin is None else origin
        self._items.append(_Definition(name, value, original if name != key or original != key else None))

    def comment(self, line: str) -> None:
        """Keep a comment line, or an empty one; one that FHiCL would take for an `#include` gets another `#`.

        VT and FF before the `#` become blanks: escaped like other control characters, they would not be white space.
        """
        indent, mark, words = line.partition("#")
        text = indent.translate(_TO_BLANKS) + _NOT_PRINTABLE.sub(_escape, mark + words)
        self._items.append(f"# {text}" if text.startswith("#include") else text)

    def text(self) -> str:
        """The whole document. artdaqDB refuses one without a definition: it gets the definition `no_entries: true`."""
        if not any(isinstance(item, _Definition) for item in self._items):
            self.add("no_entries", "true")
        return self.body()

    def body(self, indent: str = "") -> str:
        """The definitions and comments, each line ended by LF; "" if there are none."""
        lines: list[str] = []
        names = self._unique()
        for item in self._items:
            if isinstance(item, str):
                lines.append(item)
                continue
            if item.note is not None:
                lines.append(f"# {fhicl.quote(item.note)}")
            value = item.value if isinstance(item.value, str) else fhicl.sequence(item.value)
            lines.append(f"{next(names)}: {value}")
        return "".join(f"{indent}{line}\n" for line in lines)

    def _unique(self) -> Iterator[str]:
        """The final name of each definition, in order."""
        names = [item.name for item in self._items if isinstance(item, _Definition)]
        left = Counter(names)
        taken = set(names)
        count: Counter[str] = Counter()
        for name in names:
            left[name] -= 1
            if not left[name]:
                yield name
                continue
            count[name] += 1
            while (earlier := f"{name}_earlier{count[name]}") in taken:
                count[name] += 1
            taken.add(earlier)
            yield earlier


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02X}"
    return f"\\x{code:02X}" if code < 0x80 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"
