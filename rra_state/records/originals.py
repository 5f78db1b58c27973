"""Which files the DAQ wrote, from the files of a blob: those without a conversion, and the texts, if they are there.

A blob does not say which of its files were converted from a text. So there is more than one answer; the record's
fingerprint decides.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain

from rra_state.records import convert, metadata
from rra_state.records.convert import file_names
from rra_state.records.model import SourceFile
from rra_state.records.signatures import fingerprint
from rra_state.records.source import TEXT_NAMES

_MADE = re.compile(rf"({'|'.join(convert.GENERATED)})(?:_txt\d*)?\.fcl")
"""Names in a blob that the conversion of a text may have. Source: docs/design/run_records.md, What is archived."""


@dataclass(frozen=True, slots=True)
class Originals:
    """The files of a record by their names on disk. by_value: names of conversions that stand for a missing text."""

    files: dict[str, bytes] = field(default_factory=dict)
    by_value: frozenset[str] = frozenset()

    @property
    def fingerprint(self) -> str:
        """As `Record.fingerprint`."""
        return fingerprint(tuple(SourceFile(name, data) for name, data in self.files.items()))


def of_blob(run: int, stored: Mapping[str, bytes], wanted: str | None) -> Originals:
    """The files behind those of a blob. wanted: the record's fingerprint, if it is known."""
    possible = _possible(run, stored)
    likeliest = next(possible)
    matching = (each.files for each in chain([likeliest], possible) if each.fingerprint == wanted)
    return likeliest if (files := next(matching, None)) is None else Originals(files)


def _possible(run: int, stored: Mapping[str, bytes]) -> Iterator[Originals]:
    """What the record may have been, the likeliest first."""
    texts = {name.removesuffix(".txt"): SourceFile(name, stored[name]) for name in TEXT_NAMES & stored.keys()}
    names: dict[str, list[str]] = {}
    for match in filter(None, map(_MADE.fullmatch, sorted(stored))):
        names.setdefault(match[1], []).append(match[0])
    if not texts:
        yield replace(_without(stored, ()), by_value=frozenset(each[-1] for each in names.values()))
        return
    stems = {*texts, *(("RunHistory", "RunHistory2") if "metadata" in texts else ())}
    yield _without(stored, [names[stem][-1] for stem in stems if stem in names])
    made = convert.made(run, texts, metadata.read(texts["metadata"].data if "metadata" in texts else b""))
    yield _without(
        stored, [name for stem, (text, _) in made.items() for name in names.get(stem, ()) if stored[name] == text]
    )


def _without(stored: Mapping[str, bytes], made: Collection[str]) -> Originals:
    return Originals({file_names.unescaped(name): data for name, data in stored.items() if name not in made})
