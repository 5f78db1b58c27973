"""The FHiCL parameters of a record by their full names, and which of them a pattern chooses. Reads no file.

A full name is `component01.daq.fragment_receiver.fragment_id`: the file's name without `.fcl`, the tables around the
parameter, its own name. `component01.daq.channels[2]` is the third value of a sequence. A text such as boot.txt counts
as the FHiCL that it is converted to, `boot`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator, Mapping
from fnmatch import translate

from rra_state.base.errors import FhiclError
from rra_state.records.fhicl.evaluate import evaluate
from rra_state.records.fhicl.parse import parse
from rra_state.records.fhicl.values import Scalar, SequenceValue, TableValue, Value
from rra_state.records.fhicl.write import plain

MAX_CHARACTERS = 64 * 2**20
"""Of all full names of one file: references to references can make a small file endless."""
_EMPTY = {TableValue: Scalar("table", "{}"), SequenceValue: Scalar("sequence", "[]")}
_WILD = re.compile(r"[*?]")
_WORD = re.compile(r"\w*[A-Za-z_]\w*", re.ASCII)


def stem_of(file: str) -> str | None:
    """The first part of the full names of a file's parameters; None if it is no `.fcl` file.

    >>> stem_of("reader.01.fcl"), stem_of("notes.txt")
    ('reader.01', None)
    """
    return file.removesuffix(".fcl") if file.endswith(".fcl") else None


def parameters(stem: str, text: bytes) -> Iterator[tuple[str, Scalar]]:
    """Full name and value of every parameter of a document, references resolved. Raises FhiclError.

    An empty table or sequence is a value of its own: a Scalar of kind `table` or `sequence`.
    """
    root = evaluate(parse(text))
    waiting: list[tuple[str, Value]] = [(stem, root)] if root.items else []
    size = 0
    while waiting:
        name, value = waiting.pop()
        size += len(name)
        if size > MAX_CHARACTERS:
            raise FhiclError(f"the names of its parameters have more than {MAX_CHARACTERS} characters", line=1)
        if isinstance(value, Scalar):
            yield name, value
        elif not value.items:
            yield name, _EMPTY[type(value)]
        elif isinstance(value, TableValue):
            waiting.extend((f"{name}.{key}", item) for key, item in value.items.items())
        else:
            waiting.extend((f"{name}[{index}]", item) for index, item in enumerate(value.items))


def python(value: Scalar) -> str | int | float | bool | None:
    """A value as frames and JSON have it: `@nil` is None, and what Python has no plain value for is its text."""
    found = value.text if value.kind in ("table", "sequence", "complex") else plain(value)
    assert found is None or isinstance(found, str | int | float | bool)  # noqa: S101 - the kinds that are left
    return found


def json_value(value: Scalar) -> str | int | float | bool | None:
    """The same; an infinite number, which JSON does not have, is its text."""
    found = python(value)
    return value.text if isinstance(found, float) and math.isinf(found) else found


class Patterns:
    """Globs on full names: `*` stands for any text, dots included, `?` for one character, all else for itself.

    >>> Patterns(["*.generator", "boot.debug_level"]).match("reader01.daq.generator")
    True
    """

    def __init__(self, globs: Iterable[str]) -> None:
        given = tuple(globs)
        # fnmatch needs no time for many stars; its sets of characters are switched off.
        self._full_name = re.compile("|".join(translate(glob.replace("[", "[[]")) for glob in given) or r"(?!)")
        # What each glob requires: how the full name begins, and words that stand in the file's name or in its text.
        self._needed = [(_WILD.split(glob)[0], _WORD.findall(glob)) for glob in given]

    def match(self, name: str) -> bool:
        """Whether one of them matches this full name."""
        return self._full_name.fullmatch(name) is not None

    def may_match_in(self, stem: str) -> bool:
        """Whether a parameter of the file with this stem could match.

        >>> [Patterns(["boot.*"]).may_match_in(stem) for stem in ("boot", "boot2", "ranks")]
        [True, False, False]
        """
        return any(self._may_be(stem, beginning) for beginning, _ in self._needed)

    def chosen(self, stem: str, text: bytes) -> Mapping[str, Scalar]:
        """The parameters of a document that match. Parses it only if one could. Raises FhiclError."""
        if not any(
            self._may_be(stem, beginning) and all(word in stem or word.encode() in text for word in words)
            for beginning, words in self._needed
        ):
            return {}
        return {name: value for name, value in parameters(stem, text) if self.match(name)}

    @staticmethod
    def _may_be(stem: str, beginning: str) -> bool:
        return f"{stem}.".startswith(beginning) or beginning.startswith(f"{stem}.")
