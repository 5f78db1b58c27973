"""FHiCL documents grown definition by definition, and what each has to mean: a model that copies instead of sharing.

Prologs, guards, references and erasures are all in it. Source: docs/design/fhicl.md, Grammar and Evaluation.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from rra_state.base.errors import FhiclError
from rra_state.records import fhicl

Path: TypeAlias = tuple[str | int, ...]
Model: TypeAlias = dict[str, Any]
"""A table as dict, a sequence as list, a number as int, a string as str, a boolean as bool, @nil as None."""

LONGEST = 30
"""Definitions of a document."""
_NAMES = ("a", "b", "c", "t1", "s_2", "longer_name", "END")
_GUARDED = ("g1", "g2")
"""Names that may be protected. A prolog has none of them."""
_ATOMS: tuple[tuple[str, Any], ...] = (
    ("1", 1), ("0x10", 16), ("00042", 42), ("true", True), ("@nil", None), ("word", "word"), ('"q \\"x\\""', 'q "x"'),
    ("'C:\\x'", "C:\\x"), ("99999", 99999), ('"#x{"', "#x{"), ("{}", {}), ("[]", []),
)  # fmt: skip
_BETWEEN = ("\n", " ", "\n# a: 2\n", " // }\n\t", "\r\n")
_GUARDS = ("", " @protect_ignore", " @protect_error")


class Refused(Exception):
    """the definition is an error"""


class Choices:
    """Numbers from bytes: a fuzzer that changes a byte changes one choice."""

    def __init__(self, data: bytes) -> None:
        self._data, self._at = data, 0

    @property
    def left(self) -> bool:
        return self._at < len(self._data)

    def below(self, number: int) -> int:
        """0 to number - 1; 0 when the bytes are used up."""
        value = self._data[self._at] if self.left else 0
        self._at += 1
        return value % number

    def of(self, options: Any) -> Any:
        return options[self.below(len(options))]


@dataclass
class Meaning:
    """What the definitions so far mean. prolog: of all prologs. guards: of names in main."""

    prolog: Model = field(default_factory=dict)
    main: Model = field(default_factory=dict)
    guards: dict[str, int] = field(default_factory=dict)

    def assign(self, path: Path, value: Any, root: Model, guard: int = 0) -> None:
        first = str(path[0])
        if root is self.main:
            self.prolog.pop(first, None)
        held = self.guards.get(first, 0) if root is self.main else 0
        if held == 2:
            raise Refused
        if root.get(first) is not None and guard > held:
            raise Refused
        # An assignment that is ignored makes what is missing on the way all the same, as @nil. A protected @nil that
        # becomes a table that way is protected no more.
        if len(path) > 1 and root.get(first) is None:
            self.guards.pop(first, None)
        root[first] = _with(root.get(first), path[1:], value, only_make=held == 1)
        if guard and held == 0:
            self.guards[first] = guard

    def erase(self, path: Path, root: Model) -> None:
        first = str(path[0])
        if first not in root:
            return
        held = self.guards.get(first, 0) if root is self.main else 0
        if held == 2:
            raise Refused
        if held == 1:
            return
        if len(path) == 1:
            del root[first]
            return
        parent = root[first]
        for part, following in zip(path[1:], (*path[2:], None), strict=True):
            if parent is None or not isinstance(parent, list if isinstance(part, int) else dict):
                raise Refused
            if part >= len(parent) if isinstance(part, int) else part not in parent:
                return
            if following is None and isinstance(part, int):
                raise Refused
            if following is None:
                del parent[part]
                return
            parent = parent[part]

    def referred(self, path: Path) -> Any:
        """A copy of what a reference names."""
        first = str(path[0])
        root = self.main if first in self.main else self.prolog
        if first not in root:
            raise Refused
        value = root[first]
        for part in path[1:]:
            if not isinstance(value, list if isinstance(part, int) else dict):
                raise Refused
            if part >= len(value) if isinstance(part, int) else part not in value:
                raise Refused
            value = value[part]
        return copy.deepcopy(value)


def _with(value: Any, path: Path, new: Any, *, only_make: bool = False) -> Any:
    """A value with something set below it; what is missing is made. only_make: nothing is set."""
    if not path:
        return value if only_make else new
    part = path[0]
    if isinstance(part, int):
        items = [] if value is None else value
        if not isinstance(items, list):
            raise Refused
        items += [None] * (part + 1 - len(items))
        items[part] = _with(items[part], path[1:], new, only_make=only_make)
        return items
    members = {} if value is None else value
    if not isinstance(members, dict):
        raise Refused
    members[part] = _with(members.get(part), path[1:], new, only_make=only_make)
    return members


def check(data: bytes) -> tuple[int, int]:
    """Compare every step with the model. Returns how many documents were taken, and how many refused."""
    steps = list(grown(data))
    for text, meant in steps:
        assert _read(text) == meant, text
    refused = sum(meant is None for _, meant in steps)
    return len(steps) - refused, refused


def _read(text: str) -> Model | None:
    """What the archiver reads in a document; None if it refuses it."""
    try:
        return fhicl.values(text)
    except FhiclError:
        return None


def grown(data: bytes) -> Iterator[tuple[str, Model | None]]:
    """The document after each definition, and its values; None if it has to be refused, and is then left out."""
    choices, meaning = Choices(data), Meaning()
    text, prologs = "", choices.below(3)
    for number in range(LONGEST):
        if not choices.left:
            return
        in_prolog = number < 3 * prologs
        before = copy.deepcopy(meaning)
        root = meaning.prolog if in_prolog else meaning.main
        try:
            made, refused = _definition(choices, meaning, root, in_prolog=in_prolog), False
        except _Written as written:
            made, refused = written.text, True
        longer = f"{text}BEGIN_PROLOG {made} END_PROLOG" if in_prolog else text + made
        longer += choices.of(_BETWEEN)
        yield longer, None if refused else copy.deepcopy(meaning.main)
        if refused:
            meaning = before
        else:
            text = longer


class _Written(Exception):
    """a definition that is written, and refused"""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


def _definition(choices: Choices, meaning: Meaning, root: Model, *, in_prolog: bool) -> str:
    """One definition, which `meaning` then has. Raises _Written if it is an error."""
    kind = choices.below(8)
    guard = 0
    if kind == 0:
        path = _path(choices)
        text, act = f"{_named(path)}: @erase", lambda: meaning.erase(path, root)
    elif kind == 1:
        path = _path(choices)
        text, act = f"@table::{_named(path)}", lambda: _splice(meaning, path, root)
    else:
        guarded = not in_prolog and kind == 2
        path = (choices.of(_GUARDED),) if guarded else _path(choices, *(() if in_prolog else _GUARDED))
        guard = choices.below(3) if guarded else 0
        written, value = _value(choices, meaning, 0)
        blank = "" if guard else choices.of(("", " "))
        text = f"{_named(path)}{_GUARDS[guard]}{blank}:{choices.of(('', ' '))}{written}"
        if isinstance(value, Refused):
            raise _Written(text)
        act = lambda: meaning.assign(path, value, root, guard)  # noqa: E731
    try:
        act()
    except Refused:
        raise _Written(text) from None
    return text


def _splice(meaning: Meaning, path: Path, root: Model) -> None:
    table = meaning.referred(path)
    if not isinstance(table, dict):
        raise Refused
    for name, value in table.items():
        meaning.assign((name,), value, root)


def _path(choices: Choices, *more: str) -> Path:
    """A name of one to three parts."""
    first: str = choices.of((*_NAMES, *more))
    further = range(choices.of((0, 0, 0, 1, 1, 2)))
    return first, *(choices.below(4) if choices.below(3) == 0 else choices.of(_NAMES) for _ in further)


def _named(path: Path) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")


def _value(choices: Choices, meaning: Meaning, depth: int) -> tuple[str, Any]:
    """A value as it is written, and what it means; Refused if it is an error."""
    kind = choices.below(7) if depth < 3 else 0
    if kind in (3, 4):
        path = _path(choices, *_GUARDED)
        return f"@local::{_named(path)} ", _tried(meaning, path, object)
    if kind == 5:
        return _table(choices, meaning, depth)
    if kind == 6:
        return _sequence(choices, meaning, depth)
    text, value = choices.of(_ATOMS)
    return text, copy.deepcopy(value)


def _tried(meaning: Meaning, path: Path, wanted: type) -> Any:
    try:
        value = meaning.referred(path)
    except Refused as refused:
        return refused
    return value if isinstance(value, wanted) else Refused()


def _table(choices: Choices, meaning: Meaning, depth: int) -> tuple[str, Any]:
    members: Model = {}
    written, wrong = [], None
    for _ in range(choices.below(4)):
        kind, name = choices.below(6), choices.of(_NAMES)
        if kind == 0:
            written.append(f"{name}: @erase")
            members.pop(name, None)
        elif kind == 1:
            path = _path(choices, *_GUARDED)
            written.append(f"@table::{_named(path)}")
            value = _tried(meaning, path, dict)
            wrong = value if isinstance(value, Refused) else wrong
            members.update({} if isinstance(value, Refused) else value)
        else:
            text, value = _value(choices, meaning, depth + 1)
            written.append(f"{name}: {text}")
            wrong = value if isinstance(value, Refused) else wrong
            members[name] = value
    return f"{{{choices.of((' ', chr(10))).join(written)}}}", wrong or members


def _sequence(choices: Choices, meaning: Meaning, depth: int) -> tuple[str, Any]:
    items: list[Any] = []
    written, wrong = [], None
    for _ in range(choices.below(4)):
        if choices.below(4) == 0:
            path = _path(choices, *_GUARDED)
            written.append(f"@sequence::{_named(path)} ")
            value = _tried(meaning, path, list)
            items += [] if isinstance(value, Refused) else value
        else:
            text, value = _value(choices, meaning, depth + 1)
            written.append(text)
            items.append(value)
        wrong = value if isinstance(value, Refused) else wrong
    return f"[{', '.join(written)}]", wrong or items
