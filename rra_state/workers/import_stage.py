"""Import stage: run records on disk -> documents in artdaqDB, durable but not yet visible.

Takes run numbers and returns one Outcome per run; an error of one run is in its Outcome, not raised. The driver
publishes the documents and writes the markers.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial

from rra_state.base.errors import ArchiverError, Interrupted, RecordTooLarge, StillArriving
from rra_state.base.host_limits import within_memory, within_seconds
from rra_state.config.loading import Settings
from rra_state.records import convert, source
from rra_state.records.model import RunDocuments
from rra_state.state.changed_records import sightings
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Outcome
from rra_state.stores.artdaqdb.base import Export, Location, Staged
from rra_state.stores.artdaqdb.lookup import is_all_ours
from rra_state.workers import foreign_versions, injected_faults
from rra_state.workers.worker import WorkerContext, attempt

Read = tuple[RunDocuments, int]
"""A converted record, and the number of tries."""

HELD_BYTES = 8 * 2**20
"""Records of a chunk are stored together, up to so many bytes of text at once."""


def import_runs(numbers: Sequence[int], context: WorkerContext, known: Mapping[int, Location]) -> list[Outcome]:
    """Read, convert and stage these runs. known: those in artdaqDB; only what other programs stored is looked at."""
    outcomes = {run: _already_archived(known[run]) for run in numbers if run in known and is_all_ours(known[run])}
    held: dict[int, Read] = {}
    for run in numbers:
        if run in outcomes:
            continue
        if context.stopping:
            outcomes[run] = Outcome(run, error=Interrupted(run=run))
            continue
        if run in known:
            outcomes[run] = attempt(run, partial(take_over, known[run], context))
            continue
        found = _taken(run, context)
        if held and isinstance(found, Outcome) and isinstance(found.error, RecordTooLarge):
            # The other records may be what filled the memory: store them first.
            outcomes |= _stage(held, context)
            held.clear()
            found = _taken(run, context)
        if isinstance(found, Outcome):
            outcomes[run] = found
            continue
        held[run] = found
        if sum(len(document.text) for documents, _ in held.values() for document in documents.documents) > HELD_BYTES:
            outcomes |= _stage(held, context)
            held.clear()
    outcomes |= _stage(held, context)
    return [outcomes[run] for run in numbers]


def read(run: int, settings: Settings, *, even_if_open: bool = False, without: Collection[str] = ()) -> RunDocuments:
    """Read and convert the record of a run. Raises RecordError and its subclasses.

    even_if_open: also a record that may still be written to. without: files to leave out, see
    `changed_records.not_read`.
    """
    files = settings.source_files
    with within_seconds(run, files.max_record_seconds):
        record = source.read_record(
            files,
            run,
            even_if_open=even_if_open,
            without=without,
            sighting=lambda: sightings(Tree(settings.app.work_dir)).get(run),
        )
        return convert.convert(record, fhiclize=settings.fhiclize_generate, on_bad_file=files.on_bad_file)


def take_over(location: Location, context: WorkerContext) -> Outcome:
    """Accept the version that another program stored; if it only lacks files, stage the record as the next one.

    Raises StillArriving, or what reading and staging raise.
    """
    record, extensible, facts = _judged(location, context.export(location), context)
    if record is None or not extensible:
        return replace(_already_archived(location), facts=facts, staged=Staged(location, changed=False, assigned=""))
    [added] = context.artdaqdb.stage([record], {location.run: location})
    if not isinstance(added, Staged):
        raise added
    note = (
        f"run {record.run}: {location.version} of another program lacks files of the record: stored as the next version"
    )
    return Outcome(record.run, facts=facts_of(record, added), staged=added, note=note)


def facts_to_migrate(location: Location, export: Export, context: WorkerContext) -> Facts:
    """What is known of a version from comparing it here, if a recovery only listed it. Raises StillArriving."""
    imported = context.tree.marker("import", location.run)
    if export.exact or imported is None or imported.facts.verified:
        return Facts(verified=True)
    return _judged(location, export, context)[2]


def _judged(location: Location, export: Export, context: WorkerContext) -> tuple[RunDocuments | None, bool, Facts]:
    """The record, if it can be read, whether the version only lacks files of it, and the facts of both."""
    record = _record(location.run, context)
    settle_seconds = context.settings.source_files.settle_seconds
    equal, extensible = foreign_versions.judge(location, export, record, settle_seconds)
    facts = Facts(verified=False) if record is None else source_facts(record)
    name = location.configuration.partition("/")[2]
    known = replace(facts, verified=equal, foreign=True, configuration=name, version=location.version)
    return record, extensible, known


def _record(run: int, context: WorkerContext) -> RunDocuments | None:
    """The record as it is now; None if it is gone or cannot be read. Raises StillArriving if it is open."""
    try:
        return context.with_retries(lambda: read(run, context.settings))[0]
    except ArchiverError as error:
        if error.postpones:
            raise StillArriving(error.message, run=run) from error
        if error.stops_cycle and error.stage != "import":  # migrations go on without the records
            raise
        return None


def _taken(run: int, context: WorkerContext) -> Read | Outcome:
    """The converted record of a run, or the outcome of one that cannot be read or converted."""

    def try_it() -> RunDocuments:
        injected_faults.inject_fault(context.settings.app_fuzz, run)
        return read(run, context.settings)

    return attempt(run, lambda: context.with_retries(try_it))


def _stage(records: Mapping[int, Read], context: WorkerContext) -> dict[int, Outcome]:
    """Store the documents of these runs together; if they are too large for that, run by run."""
    if len(records) == 1:
        [run] = records
        try:
            return within_memory(run, lambda: _stage_together(records, context))
        except RecordTooLarge as error:
            return {run: Outcome(run, error=error)}
    try:
        return _stage_together(records, context)
    except MemoryError:
        pass  # its memory is free after this block
    return {run: outcome for run, read in records.items() for outcome in _stage({run: read}, context).values()}


def _stage_together(records: Mapping[int, Read], context: WorkerContext) -> dict[int, Outcome]:
    """Store these runs together. An error of the store leaves all of them untried."""
    try:
        results = context.artdaqdb.stage([documents for documents, _ in records.values()], {}) if records else []
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
    """The facts of an imported run, for its marker."""
    facts = source_facts(documents)
    return replace(facts, verified=True, version=staged.location.version, remarks=facts.remarks + staged.remarks)


def source_facts(documents: RunDocuments) -> Facts:
    """The facts about the record itself, for markers."""
    return Facts(
        verified=False,
        configuration=documents.config_name,
        config_name=documents.config_text,
        fingerprint=documents.fingerprint,
        start_time=documents.start_time,
        stop_time=documents.stop_time,
        remarks=documents.remarks,
    )


def _already_archived(location: Location) -> Outcome:
    """A run found in artdaqDB without a marker: a marker that says nothing was compared.

    Source of the note's text: docs/design/state.md, Runs in a store without a marker.
    """
    facts = Facts(verified=False, configuration=location.configuration.partition("/")[2], version=location.version)
    note = f"[Import] [Run {location.run}] Configuration {location.configuration} is already archived"
    return Outcome(location.run, facts=facts, note=note)
