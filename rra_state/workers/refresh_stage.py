"""Refresh: a record that changed after its run was archived becomes a new version in both stores, once.

A worker does it in two steps: `stage_changed` before the new version is published in artdaqDB, `replace_blobs`
after it. The driver publishes and writes the marker. Old versions and the first markers stay.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rra_state.base.errors import ArchiverError, Conflict, Interrupted, RecordChanged, VerificationError
from rra_state.base.host_limits import within_memory
from rra_state.base.retries import with_retries
from rra_state.records import blob
from rra_state.state.changed_records import newest_marker
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Outcome
from rra_state.stores.artdaqdb.base import Location, Staged
from rra_state.stores.ucondb.values import BlobVersion
from rra_state.workers.import_stage import facts_of, read
from rra_state.workers.worker import WorkerContext


def stage_changed(
    numbers: Sequence[int], context: WorkerContext, known: Mapping[int, Location], *, fingerprints: Mapping[int, str]
) -> list[Outcome]:
    """Read, convert and stage these changed records. fingerprints: first characters of the records' fingerprints.

    A version that an earlier try published is found and not stored again.
    """
    return [_outcome(run, context, lambda run=run: _staged(run, context, known, fingerprints[run])) for run in numbers]  # type: ignore[misc]


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
        _outcome(run, context, lambda run=run: _stored(run, context, located.get(run), facts[run], replaced[run]))  # type: ignore[misc]
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


def _outcome(run: int, context: WorkerContext, action: Callable[[], Outcome]) -> Outcome:
    if context.stopping:
        return Outcome(run, error=Interrupted(run=run))
    try:
        return within_memory(run, action)
    except ArchiverError as error:
        return Outcome(run, error=error, tries=error.tries)


def _staged(run: int, context: WorkerContext, known: Mapping[int, Location], fingerprint: str) -> Outcome:
    documents = read(run, context.settings, even_if_open=True)  # the planner chose it by this fingerprint
    if not documents.fingerprint.startswith(fingerprint):
        raise RecordChanged("changed again before it was read", run=run)
    [staged] = context.artdaqdb.stage([documents], known)
    if not isinstance(staged, Staged):
        raise staged
    return Outcome(run, facts=facts_of(documents, staged), staged=staged)


def _stored(
    run: int, context: WorkerContext, location: Location | None, facts: Facts, replaced: BlobVersion
) -> Outcome:
    if location is None:
        hint = "run --recover-import-state"
        raise VerificationError("has an import marker but artdaqDB does not show it", run=run, hint=hint)
    export, _ = with_retries(lambda: context.artdaqdb.export(location), **context.retrying)
    content = blob.pack(run, export.files)
    stored, tries = context.put(run, content, override_of=replaced)
    facts = replace(
        facts,
        version=export.version,
        size=stored.version.size,
        adler32=zlib.adler32(stored.content),
        sha256=hashlib.sha256(stored.content).hexdigest(),
        ucondb_id=stored.version.id,
        ucondb_data_key=stored.version.data_key,
    )
    return Outcome(run, facts=facts, tries=tries)
