"""Refresh: a record that changed after its run was archived becomes a new version in both stores, once.

A worker does it in two steps: `stage_changed` before the new version is published in artdaqDB, `replace_blobs`
after it. The driver publishes and writes the marker. Old versions and the first markers stay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

from rra_state.base.errors import Conflict, Interrupted, NotFinished, RecordChanged, RecordShrank, WorkDirError
from rra_state.records.fhicl import meaning
from rra_state.records.model import RunDocuments
from rra_state.state.changed_records import Refresh, newest_marker
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Outcome
from rra_state.stores.artdaqdb.base import Export, Location, Staged
from rra_state.stores.artdaqdb.document import shown_by_tools
from rra_state.stores.ucondb.values import BlobVersion
from rra_state.workers.import_stage import facts_of, read, take_over
from rra_state.workers.worker import WorkerContext, attempt, shown


def stage_changed(
    numbers: Sequence[int],
    context: WorkerContext,
    known: Mapping[int, Location],
    *,
    wanted: Mapping[int, Refresh],
    may_shrink: bool,
) -> list[Outcome]:
    """Read, convert and stage these changed records.

    may_shrink: also a record that lost something that is archived; otherwise its error is RecordShrank. A version that
    an earlier try published is found and not stored again.
    """
    return [
        _unless_stopping(run, context, partial(_staged, wanted[run], context, known, may_shrink=may_shrink))
        for run in numbers
    ]


def replace_blobs(
    numbers: Sequence[int],
    context: WorkerContext,
    located: Mapping[int, Location],
    *,
    facts: Mapping[int, Facts],
    replaced: Mapping[int, BlobVersion],
) -> list[Outcome]:
    """Export the new versions of these runs and store them as blobs, each over the one that is to be replaced.

    facts: what `stage_changed` gave.
    """
    return [
        _unless_stopping(run, context, partial(_stored, run, context, located.get(run), facts[run], replaced[run]))
        for run in numbers
    ]


def version_to_replace(tree: Tree, run: int) -> BlobVersion:
    """The blob that the newest marker names; no other is replaced. Raises Conflict if it names none."""
    marker = newest_marker(tree, run)
    ours = None if marker is None else marker.facts
    if ours is None or ours.ucondb_id is None or ours.adler32 is None or ours.size is None or not ours.ucondb_data_key:
        raise Conflict(
            "its marker does not say which blob in UconDB is ours",
            run=run,
            hint="--recover-migrate-state, then a full cycle",
        )
    return BlobVersion(run, ours.ucondb_id, ours.ucondb_data_key, ours.adler32, ours.size, tr=0.0)


def was_named(tree: Tree, wanted: Refresh) -> bool:
    """Whether a person asked for this refresh with --refresh: it then has a failure record until it is finished."""
    try:
        failure = tree.failure("refresh", str(wanted))
    except WorkDirError:
        return False
    return failure is not None and failure.kind == NotFinished.__name__


def _unless_stopping(run: int, context: WorkerContext, action: Callable[[], Outcome]) -> Outcome:
    return Outcome(run, error=Interrupted(run=run)) if context.stopping else attempt(run, action)


def _staged(wanted: Refresh, context: WorkerContext, known: Mapping[int, Location], *, may_shrink: bool) -> Outcome:
    run = wanted.run
    marker = newest_marker(context.tree, run)
    if run in known and wanted == Refresh.of_version(run, known[run].version):
        outcome = take_over(known[run], context)
        if marker is None or outcome.facts is None or not outcome.facts.foreign:
            return outcome
        # A record that changed as well is archived by the next refresh.
        return replace(outcome, facts=replace(outcome.facts, fingerprint=marker.facts.fingerprint))
    documents = read(run, context.settings, even_if_open=True)  # the planner chose it by this fingerprint
    if not documents.fingerprint.startswith(wanted.fingerprint):
        raise RecordChanged("changed again before it was read", run=run)
    if run in known and not may_shrink:
        _refuse_loss(documents, context.export(known[run]), foreign=marker is not None and marker.facts.foreign)
    [staged] = context.artdaqdb.stage([documents], known)
    if not isinstance(staged, Staged):
        raise staged
    return Outcome(run, facts=facts_of(documents, staged), staged=staged)


def _refuse_loss(documents: RunDocuments, export: Export, *, foreign: bool) -> None:
    """Raise RecordShrank if a file that artdaqDB has is gone from the record, or shorter there.

    A text is compared as the DAQ wrote it: its conversion can be shorter although it grew. Where artdaq's tools wrote a
    document, it is compared as they print it, comments and blanks left out: they keep neither these nor the text.
    foreign: another program converted the texts, by its own rules, so their lengths say nothing.
    """
    if export.exact:
        sources = {each.name: each.data for each in export.sources}
        lengths = {each.name: _length(each.source.data if each.source else each.text) for each in documents.documents}
        archived = {
            name: _length(sources.get(name.replace(".fcl", ".txt"), data)) for name, data in export.files.items()
        }
    else:
        names = {each.entity: each.name for each in documents.documents}
        lengths = {each.name: len(meaning(shown_by_tools(each))) for each in documents.documents}
        archived = {
            names.get(name.removesuffix(".fcl"), name): len(meaning(data)) for name, data in export.files.items()
        }
    gone = [f"{name} is gone" for name in sorted(archived.keys() - lengths.keys())]
    converted = {each.name for each in documents.documents if foreign and each.source}
    compared = sorted((name, size) for name, size in archived.items() if name not in converted)
    shorter = [f"{name} is shorter" for name, size in compared if lengths.get(name, size) < size]
    if lost := gone + shorter:
        raise RecordShrank(
            f"the record on disk has lost content: {', '.join(lost)}; both stores keep it",
            run=documents.run,
            hint=f"put it back, or --refresh {documents.run} to archive the record as it is now",
        )


def _length(data: bytes) -> int:
    """Length without NUL bytes at the ends: a power cut can fill a file with them and keep its length."""
    return len(data.strip(b"\0"))


def _stored(
    run: int, context: WorkerContext, location: Location | None, facts: Facts, replaced: BlobVersion
) -> Outcome:
    export = context.export(shown(run, location))
    content = context.pack(run, export)
    stored, tries = context.put(run, content, export.sources, override_of=replaced)
    facts = replace(facts.of_blob(stored.content, stored.version), version=export.version)
    return Outcome(run, facts=facts, tries=tries)
