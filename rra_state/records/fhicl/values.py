"""The values of an evaluated FHiCL document. Evaluates nothing."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple


class Scalar(NamedTuple):
    """A value that holds no other.

    kind: nil, bool, number, complex or string; text: canonical, as `dump` prints it. During the evaluation also
    `id`, a reference that nothing resolves; none is left in the result.
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
