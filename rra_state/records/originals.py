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
    if not texts:
        last = [names[-1] for stem in convert.GENERATED if (names := _names(stem, stored))]
        yield replace(_without(stored, ()), by_value=frozenset(last))
        return
    stems = {*texts, *(("RunHistory", "RunHistory2") if "metadata" in texts else ())}
    yield _without(stored, [names[-1] for stem in stems if (names := _names(stem, stored))])
    made = convert.made(run, texts, metadata.read(texts["metadata"].data if "metadata" in texts else b""))
    yield _without(
        stored, [name for stem, (text, _) in made.items() for name in _names(stem, stored) if stored[name] == text]
    )


def _names(stem: str, stored: Mapping[str, bytes]) -> list[str]:
    """Names in the blob that the conversion of a text may have. Source: docs/design/run_records.md, Names of files."""
    return sorted(name for name in stored if re.fullmatch(stem + r"(_txt\d*)?\.fcl", name))


def _without(stored: Mapping[str, bytes], made: Collection[str]) -> Originals:
    return Originals({file_names.unescaped(name): data for name, data in stored.items() if name not in made})
