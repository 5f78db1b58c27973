"""The values that describe a run record: files as read, documents as stored. Reads and writes nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a record as it is on the DAQ's disk. data: its bytes, unchanged."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry of the record's directory that is not archived. reason: "is a link", "is a directory", ..."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Remark:
    """What a person should know about a run that is archived. file: in the record, without bytes that are not UTF-8.

    line: counts from 1; None if it is about the whole file. text: what is wrong there.
    """

    file: str
    line: int | None
    text: str

    def __str__(self) -> str:
        """`reader01.fcl line 12: "a-b" is not a FHiCL value (quote it); kept as text`."""
        return f"{self.file}: {self.text}" if self.line is None else f"{self.file} line {self.line}: {self.text}"


KEPT = "kept as text"
"""The remark about a file that is neither a `.fcl` file nor one of the seven texts. Ends that of a bad `.fcl` file."""
LEFT_OUT = "not archived"
"""Ends the remark about an entry that is skipped."""


@dataclass(frozen=True, slots=True)
class Record:
    """One run record, read as a whole.

    fingerprint: sha256 (hex) over names and contents. remarks: what its files lack.
    start_time, stop_time: as metadata.txt has them ("Thu Oct 17 10:08:25 UTC 2024"), None where absent.
    """

    run: int
    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    fingerprint: str
    start_time: str | None
    stop_time: str | None
    remarks: tuple[Remark, ...] = ()


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a run as both stores hold it.

    name: file name in the blob, `boot.fcl`.
    text: its bytes in the blob, FHiCL unless `kept`.
    source: the text file that a converted or generated document was made from, or the file whose name is escaped in
    `name`; unchanged.
    kept: if `text` is not FHiCL, the reason, `line 12: "a-b" is not a FHiCL value (quote it)`; else None.
    """

    name: str
    text: bytes
    source: SourceFile | None = None
    kept: str | None = None
    snippet: bytes | None = field(default=None, compare=False, repr=False)
    """`fhicl.Snippet` of `text`, packed, if `convert` has made it."""

    @property
    def entity(self) -> str:
        """Name in artdaqDB: the file's stem. Source: docs/design/artdaqdb.md, Layout."""
        return entity_of(self.name)

    @property
    def is_fcl(self) -> bool:
        """True if a `.fcl` file is archived here, or FHiCL made from a text; False for any other file of the record."""
        return self.name.endswith(".fcl")


def entity_of(name: str) -> str:
    """The name in artdaqDB of a file that has this name in the blob.

    >>> entity_of("reader.01.fcl"), entity_of("rc_info_start.txt")
    ('reader.01', 'rc_info_start_txt')
    """
    return name.removesuffix(".fcl") if name.endswith(".fcl") else re.sub(r"[^A-Za-z0-9_+-]", "_", name)


@dataclass(frozen=True, slots=True)
class RunDocuments:
    """One converted run: the documents for artdaqDB and, from there, for the blob.

    config_name: safe for artdaq's tools ([A-Za-z0-9_.+-], joined with `_`); config_text: as metadata.txt has it.
    """

    run: int
    config_name: str
    config_text: str
    documents: tuple[Document, ...]
    fingerprint: str = ""
    start_time: str | None = None
    stop_time: str | None = None
    remarks: tuple[Remark, ...] = ()

    @property
    def configuration(self) -> str:
        """Configuration and first version name in artdaqDB: `<run>/<config_name>`."""
        return f"{self.run}/{self.config_name}"


class SourceSettings(Protocol):
    """The keys of the section `source_files` that reading a record needs. Meanings: config/README.md, source_files."""

    run_records_dir: Path
    quiet_seconds: float
    settle_seconds: float
    max_file_bytes: int
    max_other_file_bytes: int
    max_record_bytes: int
