"""What every form of artdaqDB offers the archiver: the protocol, and the values that go through it.

Storing is two steps, so that worker processes can do the heavy one side by side: `stage` makes a run's documents
durable without showing them, `publish` (the driver alone) makes staged runs visible, each run whole or not at all.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from rra_state.base.errors import ArchiverError
from rra_state.records.model import RunDocuments, SourceFile


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store can promise; reports and docs print it.

    byte_identical: export gives the very bytes that were stored.
    atomic: a run becomes visible whole or not at all.
    concurrent_readers: a reader beside the writer never sees a damaged store.
    """

    byte_identical: bool
    atomic: bool
    concurrent_readers: bool


@dataclass(frozen=True, slots=True)
class Item:
    """One stored document: its collection, entity and object id (24 hex characters)."""

    collection: str
    entity: str
    oid: str


@dataclass(frozen=True, slots=True)
class Location:
    """One visible version of a run: all that a worker needs to read it without the index."""

    run: int
    configuration: str
    version: str
    items: tuple[Item, ...]


@dataclass(frozen=True, slots=True)
class Outline:
    """One visible version of a run without its documents: a listing of 100,000 runs has 1.7 million of these.

    whole: it has every document that was asked about in RunHistory.
    """

    run: int
    configuration: str
    version: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Staged:
    """A run whose documents are durable. `changed` is False when a visible version holds the same content already."""

    location: Location
    changed: bool
    assigned: str
    """Time of storing as artdaqDB writes it, `2026-11-23T20:20:41.006+0000`."""


@dataclass(frozen=True, slots=True)
class Export:
    """A run as the store gives it back.

    files: name (`boot.fcl`) to bytes, schema.fcl excluded.
    sources: the untouched text files, where the store holds them.
    exact: False if a document was stored by another program and had to be written anew from its tree.
    """

    run: int
    version: str
    files: dict[str, bytes]
    sources: tuple[SourceFile, ...]
    exact: bool


class ArtdaqDB(Protocol):
    """An artdaqDB archive. Faults of the place raise StoreError; those of one run are returned or raised with `run`."""

    capabilities: Capabilities

    def describe(self) -> str:
        """The store in one phrase, without secrets: `artdaqDB directory /daq/artdaqdb`."""

    def check(self) -> None:
        """Raise StoreError, with a hint, unless the store can be read and written. Changes nothing."""

    def stamp(self) -> str:
        """Differs once anybody has changed what the archive shows. Cheap: reads no index."""

    def lost(self, expected: Iterable[int]) -> set[int]:
        """Those of these runs that ought to be visible and are not."""

    def runs(self) -> set[int]:
        """Every run with a visible version. An archive that does not exist yet is empty; a damaged one raises."""

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest version (v10 after v9) of each of these runs that is visible; others are left out."""

    def outlines(self, runs: Iterable[int], needed: Collection[str]) -> Iterator[Outline]:
        """The same versions as `locate`, in any order, each with whether it has these entities."""

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Make the documents of these runs durable, invisible as yet; one outcome per record, in order.

        known: what `locate` gave for them. A known run with the same content is returned with `changed` False; with
        other content it is staged as its next version vN. Never touches a document of a visible version.
        """

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible, durably, each whole or not at all. For the driver alone. Raises StoreError."""

    def export(self, location: Location) -> Export:
        """Read a version back. Raises VerificationError if a document is missing or damaged, or StoreError."""
