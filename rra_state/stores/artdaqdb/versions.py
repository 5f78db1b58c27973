"""Shared by all kinds of artdaqDB: plan a run's next version, and make the files of a run from its documents.

Reads and writes no store. Rules: docs/design/artdaqdb.md, How our writer keeps its promises.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rra_state.base.errors import ArchiverError, FhiclError, RecordError, StoreError, VerificationError
from rra_state.records import fhicl
from rra_state.records.model import Document, RunDocuments
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup
from rra_state.stores.artdaqdb.base import RUN_HISTORY, SYSTEM_LAYOUT, ArtdaqDB, Export, Item, Location, Staged
from rra_state.stores.artdaqdb.document import SCHEMA, RunVersion, StoredFile, Tree


class Schema:
    """schema.fcl, which is stored with every run. Parsed once."""

    def __init__(self, text: bytes) -> None:
        self.document = Document("schema.fcl", text)
        self._parsed: fhicl.Snippet | None = None

    def parsed(self) -> fhicl.Snippet:
        """The parsed text. Raises StoreError if it is not FHiCL: then no run can be stored."""
        if self._parsed is None:
            try:
                self._parsed = documents.parse(self.document)
            except FhiclError as error:
                hint = "correct schema.fcl in artdaq_db.fcl_conf_dir"
                raise StoreError(error.message, path="schema.fcl", line=error.line, hint=hint) from error
        return self._parsed


def system_metadata(uri: str) -> Tree:
    """The document of SystemMetadata, without its id. Source: docs/design/artdaqdb.md, Layout."""
    system = os.uname()
    names = ("sysname", "nodename", "release", "version", "machine")
    return {
        "document": {
            "name": "artdaq",
            "uri": uri,
            "locale": "en_US.UTF-8",
            "create_time": documents.timestamp(),
            "create_user": "",
            "uname": {name: getattr(system, name) for name in names},
            "database_format": 3,
        }
    }


@dataclass(frozen=True, slots=True)
class PlannedVersion:
    """One run and the version to store it as. `trees` makes the documents, so that they are not all in memory."""

    record: RunDocuments
    version: RunVersion
    schema: Schema | None

    @property
    def items(self) -> tuple[Item, ...]:
        """The documents of the version, sorted by collection and entity."""
        names = [(RUN_HISTORY, each.entity) for each in self.record.documents]
        if self.schema is not None:
            names.append((SYSTEM_LAYOUT, SCHEMA))
        version = self.version.version
        return tuple(
            Item(collection, entity, documents.object_id(collection, version, entity))
            for collection, entity in sorted(names)
        )

    @property
    def staged(self) -> Staged:
        """The outcome to report once the documents are durable."""
        location = Location(self.record.run, self.version.configuration, self.version.version, self.items)
        return Staged(location, changed=True, assigned=self.version.assigned)

    def trees(self) -> Iterator[Tree]:
        """The documents, made one by one: each takes twenty times the memory of its text.

        Raises RecordError or FhiclError for this run, StoreError for a bad schema.fcl.
        """
        for document in self.record.documents:
            try:
                yield documents.tree(document, self.version)
            except RecursionError as error:
                raise RecordError("a file is nested too deeply", run=self.record.run) from error
            except FhiclError as error:
                error.run = self.record.run
                raise
        if self.schema is not None:
            parsed = self.schema.parsed()
            yield documents.tree(self.schema.document, self.version, collection=SYSTEM_LAYOUT, parsed=parsed)


def plan(record: RunDocuments, known: Location | None, now: str, schema: Schema | None) -> PlannedVersion:
    """The version to store a record as: the first, or the next after the known one, under the same configuration.

    now: in the format of `document.timestamp`. Raises RecordError for names that artdaqDB cannot hold.
    """
    documents.check_names(record)
    configuration = version = record.configuration
    if known is not None:
        configuration = known.configuration
        version = lookup.version_name(configuration, (lookup.version_number(configuration, known.version) or 0) + 1)
    content = documents.content_digest((each.name, each.text, each.source) for each in record.documents)
    number = len(record.documents)
    return PlannedVersion(record, RunVersion(record.run, configuration, version, now, number, content), schema)


def holds(export: Export, record: RunDocuments) -> bool:
    """Whether a visible version has exactly the files of this record. Times and schema.fcl are not compared."""
    sources = {document.source for document in record.documents if document.source}
    return export.files == {each.name: each.text for each in record.documents} and set(export.sources) == sources


def export(location: Location, read: Callable[[Item], Tree | None], where: Callable[[Item], str]) -> Export:
    """The files of a version, from its documents. Raises VerificationError if a document is missing or damaged.

    read: returns the document of an item, None if it is missing; may raise VerificationError or StoreError.
    where: path of an item for messages.
    """
    items = [item for item in location.items if item.collection == RUN_HISTORY]
    stored = [file for item in items if not (file := _unpacked(item, location, read, where)).checksums]
    exact = all(each.exact for each in stored)
    if exact and not location.part:
        _check_whole(stored, location)
    return Export(
        run=location.run,
        version=location.version,
        files={each.file.name: each.file.data for each in stored},
        sources=tuple(sorted({each.source for each in stored if each.source}, key=lambda source: source.name)),
        exact=exact,
        by_value=frozenset(each.file.name for each in stored if not each.exact),
        converted=frozenset(each.file.name for each in stored if each.source),
    )


def each_by_itself(
    records: Sequence[RunDocuments], stage: Callable[[RunDocuments], Staged]
) -> list[Staged | ArchiverError]:
    """Stage records one by one: one outcome per record, in order. Raises only errors that stop the cycle."""
    outcomes: list[Staged | ArchiverError] = []
    for record in records:
        try:
            outcomes.append(stage(record))
        except ArchiverError as error:
            if error.stops_cycle:
                raise
            error.run = record.run if error.run is None else error.run
            outcomes.append(error)
    return outcomes


def plan_each(
    store: ArtdaqDB, records: Sequence[RunDocuments], schema: Schema | None
) -> tuple[list[Staged | ArchiverError], dict[int, PlannedVersion]]:
    """The outcome of each record, in order, and by run the version to store; none if a visible one holds the record.

    Raises only errors that stop the cycle.
    """
    now = documents.timestamp()
    known = store.locate(record.run for record in records)
    plans: dict[int, PlannedVersion] = {}

    def planned(record: RunDocuments) -> Staged:
        location = known.get(record.run)
        if location is not None and holds(store.export(location), record):
            return Staged(location, changed=False, assigned=now)
        plans[record.run] = plan(record, location, now, schema)
        return plans[record.run].staged

    return each_by_itself(records, planned), plans


def _unpacked(
    item: Item, location: Location, read: Callable[[Item], Tree | None], where: Callable[[Item], str]
) -> StoredFile:
    try:
        tree = read(item)
        if tree is None:
            raise VerificationError(f"document {item.entity} is missing")
        return documents.unpack(tree, item, location)
    except VerificationError as error:
        error.run, error.path = location.run, where(item)
        raise


def _check_whole(stored: Sequence[StoredFile], location: Location) -> None:
    """Raise VerificationError unless these are all documents of one version, with the content that was stored."""
    found = documents.content_digest((each.file.name, each.file.data, each.source) for each in stored)
    if any(each.number != len(stored) or each.content != found for each in stored):
        message = (
            f"version {location.version} in artdaqDB is not the one that was stored: documents are missing or mixed"
        )
        hint = "in a directory --rebuild-index leaves it out, and a cycle stores the run again"
        raise VerificationError(message, run=location.run, hint=hint)
