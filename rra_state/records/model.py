"""What a run record is while it travels: files as read, documents as stored. Values only; no reading, no writing."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class SourceFile:
    """One file of a record as it lies on the DAQ's disk; `data` is untouched."""

    name: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Skipped:
    """An entry of the record's directory that is not archived, and why ("is a link", "is a directory", ...)."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class Record:
    """One run record, read once and whole.

    fingerprint: sha256 (hex) over names and contents, the same before and after reading.
    start_time, stop_time: as metadata.txt has them ("Thu Oct 17 10:08:25 UTC 2024"), None where absent.
    """

    run: int
    files: tuple[SourceFile, ...]
    skipped: tuple[Skipped, ...]
    fingerprint: str
    start_time: str | None
    stop_time: str | None


@dataclass(frozen=True, slots=True)
class Document:
    """One file of a run as both stores hold it.

    name: file name in the blob, `boot.fcl`.
    text: its bytes in the blob, FHiCL unless `kept`.
    source: for a converted or generated file, the untouched text file it was made from.
    kept: why `text` is not FHiCL and is kept as text, `line 12: "a-b" is not a FHiCL value (quote it)`; else None.
    """

    name: str
    text: bytes
    source: SourceFile | None = None
    kept: str | None = None
    snippet: bytes | None = field(default=None, compare=False, repr=False)
    """artdaqDB's tree of `text`, packed (`fhicl.Snippet`), where judging the file made it already."""

    @property
    def entity(self) -> str:
        """Name in artdaqDB: the file's stem. Source: docs/design/artdaqdb.md, Layout."""
        return self.name.removesuffix(".fcl")


@dataclass(frozen=True, slots=True)
class RunDocuments:
    """One run, converted: what goes into artdaqDB, and from there into the blob.

    config_name: safe for artdaq's tools ([A-Za-z0-9_.+-], joined with `_`); config_text: as metadata.txt has it.
    """

    run: int
    config_name: str
    config_text: str
    documents: tuple[Document, ...]
    fingerprint: str = ""
    start_time: str | None = None
    stop_time: str | None = None
    skipped: tuple[Skipped, ...] = field(default=())

    @property
    def configuration(self) -> str:
        """Configuration and first version name in artdaqDB: `<run>/<config_name>`."""
        return f"{self.run}/{self.config_name}"

    @property
    def kept(self) -> tuple[Document, ...]:
        """The documents that are kept as text because no FHiCL parser accepts them."""
        return tuple(document for document in self.documents if document.kept)
