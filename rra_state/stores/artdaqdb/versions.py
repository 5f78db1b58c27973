"""What every kind of artdaqDB does alike: a record as documents of its next version, and documents as a record again.

Values only: where the documents go is each store's own. Source: docs/design/artdaqdb.md, Updates and duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rra_state.base.errors import ArchiverError, FhiclError, RecordError, StoreError, VerificationError
from rra_state.records.model import Document, RunDocuments
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup
from rra_state.stores.artdaqdb.base import Export, Item, Location, Staged
from rra_state.stores.artdaqdb.document import RUN_HISTORY, SCHEMA, SYSTEM_LAYOUT, Stored, Tree, Version


class Schema:
    """The schema.fcl that is stored with every run, parsed once."""

    def __init__(self, text: bytes) -> None:
        self.document = Document("schema.fcl", text)
        self._parsed: documents.Parsed | None = None

    def parsed(self) -> documents.Parsed:
        """Its tree. Raises StoreError: no run can be stored with a bad one."""
        if self._parsed is None:
            try:
                self._parsed = documents.parse(self.document)
            except FhiclError as error:
                hint = "correct schema.fcl in artdaq_db.fcl_conf_dir"
                raise StoreError(error.message, path="schema.fcl", line=error.line, hint=hint) from error
        return self._parsed


@dataclass(frozen=True, slots=True)
class Plan:
    """One run that is to be stored as one version; the documents are made when they are asked for."""

    record: RunDocuments
    version: Version
    schema: Schema | None

    @property
    def items(self) -> tuple[Item, ...]:
        """Its documents, by collection and entity."""
        items = [Item(RUN_HISTORY, each.entity, self._oid(each)) for each in self.record.documents]
        if self.schema is not None:
            oid = documents.object_id(SYSTEM_LAYOUT, self.version.version, SCHEMA)
            items.append(Item(SYSTEM_LAYOUT, SCHEMA, oid))
        return tuple(sorted(items, key=lambda item: (item.collection, item.entity)))

    @property
    def staged(self) -> Staged:
        """What is reported once they are durable."""
        location = Location(self.record.run, self.version.configuration, self.version.version, self.items)
        return Staged(location, changed=True, assigned=self.version.assigned)

    def trees(self) -> Iterator[Tree]:
        """The documents, made one by one: each takes twenty times the memory of its text. Raises RecordError and its
        kin for this run, StoreError for a bad schema.fcl.
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

    def _oid(self, document: Document) -> str:
        return documents.object_id(RUN_HISTORY, self.version.version, document.entity)


def plan(record: RunDocuments, known: Location | None, now: str, schema: Schema | None) -> Plan:
    """The version a record is to be stored as: the first, or the one after the known, whose name stays.

    now: as `document.timestamp` gives it. Raises RecordError for names that artdaqDB cannot hold.
    """
    documents.check_names(record)
    configuration = version = record.configuration
    if known is not None:
        configuration = known.configuration
        version = lookup.version_name(configuration, (lookup.version_number(configuration, known.version) or 0) + 1)
    number = len(record.documents)
    return Plan(record, Version(record.run, configuration, version, now, number, documents.digest_of(record)), schema)


def holds(export: Export, record: RunDocuments) -> bool:
    """Whether a visible version gives back exactly this record. Times and schema.fcl do not count."""
    sources = {document.source for document in record.documents if document.source}
    return export.files == {each.name: each.text for each in record.documents} and set(export.sources) == sources


def export(location: Location, read: Callable[[Item], Tree], where: Callable[[Item], str]) -> Export:
    """A version put together from its documents, each and all of them checked. Raises VerificationError.

    read: gives the document of an item, and raises VerificationError, or the store's own error. where: what messages
    call the place of an item.
    """
    stored = [_unpacked(item, location, read, where) for item in location.items if item.collection == RUN_HISTORY]
    exact = all(each.exact for each in stored)
    if exact:
        _check_whole(stored, location)
    return Export(
        run=location.run,
        version=location.version,
        files={each.file.name: each.file.data for each in stored},
        sources=tuple(sorted({each.source for each in stored if each.source}, key=lambda source: source.name)),
        exact=exact,
    )


def each_by_itself(
    records: Sequence[RunDocuments], stage: Callable[[RunDocuments], Staged]
) -> list[Staged | ArchiverError]:
    """One outcome per record, in order; only a fault of the place is raised."""
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


def _unpacked(item: Item, location: Location, read: Callable[[Item], Tree], where: Callable[[Item], str]) -> Stored:
    try:
        return documents.unpack(read(item), item, location)
    except VerificationError as error:
        error.run, error.path = location.run, where(item)
        raise


def _check_whole(stored: Sequence[Stored], location: Location) -> None:
    """Raise VerificationError unless these are all the documents of one version, with the content it had."""
    found = documents.content_digest((each.file.name, each.file.data, each.source) for each in stored)
    if any(each.number != len(stored) or each.content != found for each in stored):
        message = (
            f"version {location.version} in artdaqDB is not the one that was stored: documents are missing or mixed"
        )
        raise VerificationError(message, run=location.run)
