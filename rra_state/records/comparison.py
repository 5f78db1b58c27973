"""Compare the records of two runs: which files, components and FHiCL parameters came, went or changed. Reads no file.

Texts such as boot.txt are compared by the FHiCL that they are converted to. RunHistory.fcl and RunHistory2.fcl are left
out: the archiver makes them from metadata.txt.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from rra_state.base.errors import FhiclError
from rra_state.records import convert
from rra_state.records.fhicl import unquote
from rra_state.records.fhicl.values import Scalar
from rra_state.records.model import Document, Record, SourceFile
from rra_state.records.parameters import parameters, stem_of

How = Literal["came", "went", "changed", "bytes"]
"""What happened to a file; `bytes`: its bytes differ, and all its values are equal."""
_HISTORY = re.compile(r"RunHistory2?(_txt\d*)?\.fcl")
_COMPONENT = re.compile(r"metadata(_txt\d*)?\.components\[\d+\]")
_DIGITS = re.compile(r"(\d+)")


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file of a record, to be compared. text: what is archived of it, FHiCL of a text.

    name: on the DAQ's disk. data: its bytes; None if only its values are known.
    """

    name: str
    text: bytes
    data: bytes | None
    stem: str | None

    def values(self) -> Mapping[str, Scalar] | None:
        """Its parameters by full name; None if it is not FHiCL."""
        try:
            return None if self.stem is None else dict(parameters(self.stem, self.text))
        except FhiclError:
            return None


@dataclass(frozen=True, slots=True)
class FileChange:
    """A file that is not the same in both records. fhicl: False if there are no values in it to compare."""

    name: str
    how: How
    fhicl: bool
    parameters: tuple[ParameterChange, ...] = ()


@dataclass(frozen=True, slots=True)
class ParameterChange:
    """A parameter by its full name. before, after: its value in the two records; None where it is not there."""

    name: str
    before: Scalar | None
    after: Scalar | None


@dataclass(frozen=True, slots=True)
class RecordComparison:
    """What differs between two records. components: those in metadata.txt that only one of them has."""

    files: tuple[FileChange, ...]
    components_came: tuple[str, ...]
    components_went: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether nothing differs."""
        return not self.files


def contents(run: int, files: Mapping[str, bytes], by_value: Collection[str] = ()) -> dict[str, FileContent]:
    """The files of a record by their names in the archive. by_value: files of which only the values count.

    Raises RecordError.
    """
    record = Record(run, tuple(SourceFile(name, data) for name, data in files.items()), (), "", None, None)
    return {
        document.name: _content(document, by_value)
        for document in convert.convert(record).documents
        if not (_HISTORY.fullmatch(document.name) and (document.source or document.name in by_value))
    }


def _content(document: Document, by_value: Collection[str]) -> FileContent:
    original = document.source or SourceFile(document.name, document.text)
    data = None if original.name in by_value else original.data
    return FileContent(original.name, document.text, data, stem_of(document.name))


def compare(before: Mapping[str, FileContent], after: Mapping[str, FileContent]) -> RecordComparison:
    """What came, went or changed from one record to the other. Both as `contents` gives them."""
    names = sorted(before.keys() | after.keys())
    changes = tuple(change for name in names if (change := _file_change(before.get(name), after.get(name))) is not None)
    old, new = set(_components(before)), set(_components(after))
    return RecordComparison(changes, tuple(sorted(new - old)), tuple(sorted(old - new)))


def _file_change(before: FileContent | None, after: FileContent | None) -> FileChange | None:
    one = after or before
    assert one is not None  # noqa: S101 - one of the two is there
    known = before is not None and after is not None and before.data is not None and after.data is not None
    if before is not None and after is not None and before.text == after.text:
        return FileChange(one.name, "bytes", fhicl=True) if known and before.data != after.data else None
    old, new = (None if each is None else each.values() for each in (before, after))
    fhicl = (before is None or old is not None) and (after is None or new is not None)
    changed = tuple(_changes(old or {}, new or {})) if fhicl else ()
    if before is None or after is None:
        return FileChange(one.name, "came" if before is None else "went", fhicl, changed)
    if changed or not fhicl:
        return FileChange(one.name, "changed", fhicl, changed)
    return FileChange(one.name, "bytes", fhicl) if known else None


def _changes(before: Mapping[str, Scalar], after: Mapping[str, Scalar]) -> Iterator[ParameterChange]:
    for name in sorted(before.keys() | after.keys(), key=_natural):
        if (old := before.get(name)) != (new := after.get(name)):
            yield ParameterChange(name, old, new)


def _natural(name: str) -> list[str | int]:
    """Sort key that puts `[2]` before `[10]`."""
    return [int(part) if part.isdecimal() else part for part in _DIGITS.split(name)]


def _components(files: Mapping[str, FileContent]) -> Iterator[str]:
    for file in files.values():
        if file.stem is not None and file.stem.startswith("metadata"):
            values = file.values() or {}
            yield from (unquote(value.text) for name, value in values.items() if _COMPONENT.fullmatch(name))
