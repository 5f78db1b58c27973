"""The interface of every kind of artdaqDB (`ArtdaqDB`), and the values that its methods take and return.

Storing takes two steps, so that worker processes can do the slow one in parallel: `stage` makes a run's documents
durable but not visible; `publish`, which only the driver calls, makes staged runs visible, each run whole or not at
all.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from rra_state.base.errors import ArchiverError
from rra_state.records.model import Remark, RunDocuments, SourceFile

RUN_HISTORY = "RunHistory"
SYSTEM_LAYOUT = "SystemLayout"
COLLECTIONS = (SYSTEM_LAYOUT, RUN_HISTORY)
"""In the order in which a run's documents become visible."""
SYSTEM_METADATA = "SystemMetadata"
"""Collection of one document about the archive itself."""
RUNS_AT_ONCE = 5000
"""Runs whose documents are in memory at the same time while many runs are listed."""


@dataclass(frozen=True, slots=True)
class Item:
    """One stored document: its collection, entity and object id (24 hex characters)."""

    collection: str
    entity: str
    oid: str


@dataclass(frozen=True, slots=True)
class Location:
    """One visible version of a run, with all that a worker needs to read it without the index.

    assigned: when documents were stored in its configuration, as artdaqDB writes times; empty if the store keeps none.
    passed_over: what else artdaqDB has of the run, and why it is not read, in a sentence each.
    part: `items` are some of its documents only, so that `export` does not miss the others.
    beside: what another program stored under the same version, a sentence each; a verification reports it as wrong.
    """

    run: int
    configuration: str
    version: str
    items: tuple[Item, ...]
    assigned: tuple[str, ...] = field(default=(), compare=False)
    passed_over: tuple[str, ...] = field(default=(), compare=False)
    part: bool = field(default=False, compare=False)
    beside: tuple[str, ...] = field(default=(), compare=False)

    def only(self, wanted: Callable[[str], bool]) -> Location:
        """The same version, to read only the documents whose entity is wanted."""
        return replace(self, items=tuple(item for item in self.items if wanted(item.entity)), part=True)


@dataclass(frozen=True, slots=True)
class Outline:
    """One visible version of a run, without the list of its 17 documents: for listings of 100,000 runs.

    whole: RunHistory has every document that the caller asked for.
    """

    run: int
    configuration: str
    version: str
    whole: bool


@dataclass(frozen=True, slots=True)
class Staged:
    """A run whose documents are durable. changed: False if a visible version already has the same content."""

    location: Location
    changed: bool
    assigned: str
    """Time of storing in artdaqDB's format, `2026-11-23T20:20:41.006+0000`."""
    remarks: tuple[Remark, ...] = ()
    """What a person should know about how the store holds the run's files."""


@dataclass(frozen=True, slots=True)
class Export:
    """A run as read from the store.

    files: name (`boot.fcl`) to bytes, schema.fcl excluded.
    sources: the untouched text files, where the store holds them.
    exact: False if another program stored a document, so that its text was made from the stored tree.
    by_value: names of those files. converted: names of files whose original is in `sources`.
    """

    run: int
    version: str
    files: dict[str, bytes]
    sources: tuple[SourceFile, ...]
    exact: bool
    by_value: frozenset[str] = frozenset()
    converted: frozenset[str] = frozenset()


class ArtdaqDB(Protocol):
    """An artdaqDB archive; every kind is a subclass.

    Errors of the store raise StoreError; errors of one run have its number in `run`.
    """

    def describe(self) -> str:
        """The store in one phrase, without secrets: `artdaqDB directory /daq/artdaqdb`."""

    def check(self) -> None:
        """Raise StoreError, with a hint, unless the store can be read and written. Changes nothing."""

    def remarks(self) -> list[str]:
        """What a person should know who sets the archiver up, a sentence each; `--check` prints it."""
        return []

    def stamp(self) -> str:
        """A text that changes with every change of the visible runs. Cheap: reads no index."""

    def runs(self) -> set[int]:
        """Every run with a visible version; none if the archive does not exist yet. A damaged one raises StoreError."""

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest visible version (v10 after v9) of each of these runs; runs without one are left out."""

    def outlines(self, runs: Iterable[int], needed: Collection[str]) -> Iterator[Outline]:
        """The same versions as `locate`, in any order, each with whether it has these entities."""
        wanted = sorted(set(runs))
        for first in range(0, len(wanted), RUNS_AT_ONCE):
            for run, location in self.locate(wanted[first : first + RUNS_AT_ONCE]).items():
                present = {item.entity for item in location.items if item.collection == RUN_HISTORY}
                yield Outline(run, location.configuration, location.version, present.issuperset(needed))

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Make the documents of these runs durable, not yet visible. Returns one outcome per record, in order.

        known: what `locate` returned for them. A known run with the same content is returned with `changed` False; with
        other content it is staged as its next version vN. Never changes a document of a visible version.
        """

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible, durably, each whole or not at all. Called by the driver only. Raises StoreError."""

    def export(self, location: Location) -> Export:
        """Read a version back. Raises VerificationError if a document is missing or damaged, or StoreError."""

    def exports(self, locations: Sequence[Location]) -> Iterator[Export]:
        """Read these versions, in order. Raises as `export` does."""
        return map(self.export, locations)
