"""Import stage: run records on disk -> documents in artdaqDB, durable but not yet visible.

Takes run numbers, gives one Outcome per run, never raises for a single run's fault. Publishing and markers are the
driver's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from rra_state.base.bounds import within_memory, within_seconds
from rra_state.base.errors import ArchiverError, Interrupted, RecordTooLarge
from rra_state.base.retry import attempt
from rra_state.config.loading import Settings
from rra_state.records import convert, source
from rra_state.records.model import RunDocuments
from rra_state.stages import injected_faults
from rra_state.stages.worker import Bench
from rra_state.state.outcome import Facts, Outcome
from rra_state.stores.artdaqdb.base import Location, Staged

Read = tuple[RunDocuments, int]
"""A converted record, and how many tries it took."""

HELD_BYTES = 8 * 2**20
"""Records of a chunk are stored together, but no more of them are kept in memory than have so many bytes of text."""


def import_runs(numbers: Sequence[int], bench: Bench, known: Mapping[int, Location]) -> list[Outcome]:
    """Read, convert and stage these runs. known: those that artdaqDB already shows; they are not imported again."""
    outcomes = {run: _already_archived(location) for run, location in known.items() if run in numbers}
    held: dict[int, Read] = {}
    for run in numbers:
        if run in outcomes:
            continue
        if bench.stopping:
            outcomes[run] = Outcome(run, error=Interrupted(run=run))
            continue
        found = _taken(run, bench)
        if isinstance(found, RecordTooLarge) and held:
            # Its neighbours may be what filled the memory.
            outcomes |= _stage(held, bench)
            held.clear()
            found = _taken(run, bench)
        if isinstance(found, ArchiverError):
            outcomes[run] = Outcome(run, error=found, tries=found.tries)
            continue
        held[run] = found
        if sum(len(document.text) for documents, _ in held.values() for document in documents.documents) > HELD_BYTES:
            outcomes |= _stage(held, bench)
            held.clear()
    outcomes |= _stage(held, bench)
    return [outcomes[run] for run in numbers]


def read(run: int, settings: Settings, *, even_if_open: bool = False) -> RunDocuments:
    """The record of a run, read whole and converted. Raises RecordError and its kin.

    even_if_open: take it as it is, although somebody may still be writing to it.
    """
    files = settings.source_files
    with within_seconds(run, files.max_record_seconds):
        record = source.read_record(files, run, even_if_open=even_if_open)
        return convert.convert(record, fhiclize=settings.fhiclize_generate, on_bad_file=files.on_bad_file)


def _taken(run: int, bench: Bench) -> Read | ArchiverError:
    """The converted record of a run, or why there is none."""

    def try_it() -> RunDocuments:
        injected_faults.strike(bench.settings.app_fuzz, run)
        return read(run, bench.settings)

    try:
        return within_memory(run, lambda: attempt(try_it, **bench.retrying))
    except ArchiverError as error:
        return error


def _stage(records: Mapping[int, Read], bench: Bench) -> dict[int, Outcome]:
    """Store these runs' documents in one go; if they are too large together, one by one."""
    if len(records) == 1:
        [run] = records
        try:
            return within_memory(run, lambda: _stage_together(records, bench))
        except RecordTooLarge as error:
            return {run: Outcome(run, error=error)}
    try:
        return _stage_together(records, bench)
    except MemoryError:
        pass  # what it held is free once this is over
    return {run: outcome for run, read in records.items() for outcome in _stage({run: read}, bench).values()}


def _stage_together(records: Mapping[int, Read], bench: Bench) -> dict[int, Outcome]:
    """A fault of the place leaves all of these runs untried."""
    try:
        results = bench.artdaqdb.stage([documents for documents, _ in records.values()], {}) if records else []
    except ArchiverError as error:
        if not error.stops_cycle:
            raise
        return {run: Outcome(run, error=error) for run in records}
    outcomes = {}
    for (run, (documents, tries)), result in zip(records.items(), results, strict=True):
        if isinstance(result, Staged):
            outcomes[run] = Outcome(run, facts=facts_of(documents, result), staged=result, tries=tries)
        else:
            outcomes[run] = Outcome(run, error=result, tries=tries)
    return outcomes


def facts_of(documents: RunDocuments, staged: Staged) -> Facts:
    """What the import knows of a run for its marker."""
    return replace(source_facts(documents), verified=True, version=staged.location.version)


def source_facts(documents: RunDocuments) -> Facts:
    """What a marker says of the record itself."""
    return Facts(
        verified=False,
        configuration=documents.config_name,
        config_name=documents.config_text,
        fingerprint=documents.fingerprint,
        start_time=documents.start_time,
        stop_time=documents.stop_time,
        kept={document.name: document.kept or "" for document in documents.kept},
        skipped={entry.name: entry.reason for entry in documents.skipped},
    )


def _already_archived(location: Location) -> Outcome:
    """A run found in artdaqDB without a marker: a marker that says nothing was compared.

    Source of the note's text: docs/design/state.md, Runs in a store without a marker.
    """
    facts = Facts(verified=False, configuration=location.configuration.partition("/")[2], version=location.version)
    note = f"[Import] [Run {location.run}] Configuration {location.configuration} is already archived"
    return Outcome(location.run, facts=facts, note=note)
