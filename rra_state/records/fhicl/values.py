"""The values of an evaluated FHiCL document, and how a string is printed. Evaluates nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Scalar(NamedTuple):
    """A value that holds no other.

    kind: nil, bool, number, complex or string; text: canonical, as `dump` prints it. While a document is evaluated also
    `id`, which must not survive.
    """

    kind: str
    text: str


@dataclass(slots=True, eq=False)
class TableValue:
    """A table. guards: protection of members, where there is one; shared: referenced more than once."""

    items: dict[str, Value] = field(default_factory=dict)
    guards: dict[str, int] = field(default_factory=dict)
    shared: bool = False


@dataclass(slots=True, eq=False)
class SequenceValue:
    """A sequence; guards by index."""

    items: list[Value] = field(default_factory=list)
    guards: dict[int, int] = field(default_factory=dict)
    shared: bool = False


Value = Scalar | TableValue | SequenceValue
NIL = Scalar("nil", "@nil")


def canonical_string(kind: str, raw: str) -> str:
    """A string token as `dump` prints it, always in double quotes and with `'` escaped.

    kind: `word`, `single` or `double`; raw: the token, valid, quotes included.
    """
    if kind == "word":
        return f'"{raw}"'
    text = raw[1:-1]
    if kind == "single":
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    elif "'" in text or '"' in text:
        # A quote with an even number of backslashes before it stands inside, too; the real library prints it escaped.
        text = text.replace("\\\\", "\0").replace("\\'", "'").replace('\\"', '"')
        text = text.replace("'", "\\'").replace('"', '\\"').replace("\0", "\\\\")
    if not text.isprintable():
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{text}"'


def copied(value: TableValue | SequenceValue) -> TableValue | SequenceValue:
    """A copy one level deep; what is below is shared from now on."""
    if isinstance(value, TableValue):
        share_items(value.items.values())
        return TableValue(dict(value.items), dict(value.guards))
    share_items(value.items)
    return SequenceValue(list(value.items), dict(value.guards))


def share_items(values: Iterable[Value]) -> None:
    """Mark tables and sequences as referenced more than once."""
    for value in values:
        if not isinstance(value, Scalar):
            value.shared = True
