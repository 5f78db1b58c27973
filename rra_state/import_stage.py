"""Import stage: run records on disk -> documents in artdaqDB, durable but not yet visible.

Takes run numbers, gives one Outcome per run, never raises for a single run's fault. Publishing and markers are the
driver's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rra_state import fuzz
from rra_state.errors import ArchiverError, Interrupted
from rra_state.outcome import Facts, Outcome
from rra_state.records import convert, source
from rra_state.records.model import RunDocuments
from rra_state.retry import attempt
from rra_state.stores.artdaqdb.base import Location, Staged
from rra_state.worker import Bench


def import_runs(numbers: Sequence[int], bench: Bench, known: Mapping[int, Location]) -> list[Outcome]:
    """Read, convert and stage these runs. known: those that artdaqDB already shows; they are not imported again."""
    outcomes = {run: _already_archived(location) for run, location in known.items() if run in numbers}
    records: dict[int, tuple[RunDocuments, int]] = {}
    for run in numbers:
        if run in outcomes:
            continue
        if bench.stopping:
            outcomes[run] = Outcome(run, error=Interrupted(run=run))
            continue
        try:
            records[run] = attempt(lambda run=run: _read(run, bench), **bench.retrying)  # type: ignore[misc]
        except ArchiverError as error:
            outcomes[run] = Outcome(run, error=error, tries=error.tries)
    outcomes |= _stage(records, bench)
    return [outcomes[run] for run in numbers]


def _read(run: int, bench: Bench) -> RunDocuments:
    """One record, read whole and converted. Raises RecordError and its kin."""
    fuzz.strike(bench.settings.app_fuzz, run)
    files = bench.settings.source_files
    record = source.read_record(files, run)
    return convert.convert(record, fhiclize=bench.settings.fhiclize_generate, on_bad_file=files.on_bad_file)


def _stage(records: Mapping[int, tuple[RunDocuments, int]], bench: Bench) -> dict[int, Outcome]:
    """Store the chunk's documents in one go. A fault of the place leaves all of these runs untried."""
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
    return Facts(verified=True, version=staged.location.version, **source_facts(documents))


def source_facts(documents: RunDocuments) -> dict[str, Any]:
    """What a marker tells of the record itself."""
    return {
        "configuration": documents.config_name,
        "config_name": documents.config_text,
        "fingerprint": documents.fingerprint,
        "start_time": documents.start_time,
        "stop_time": documents.stop_time,
        "kept": {document.name: document.kept or "" for document in documents.kept},
        "skipped": {entry.name: entry.reason for entry in documents.skipped},
    }


def _already_archived(location: Location) -> Outcome:
    """A run found in artdaqDB without a marker: a marker that says nothing was compared.

    The text of the note is the State Management Guide's (Troubleshooting, Runs processed repeatedly).
    """
    facts = Facts(verified=False, configuration=location.configuration.partition("/")[2], version=location.version)
    note = f"[Import] [Run {location.run}] Configuration {location.configuration} is already archived"
    return Outcome(location.run, facts=facts, note=note)
