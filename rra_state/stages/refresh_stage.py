"""Refresh: a record that changed after its run was archived becomes a new version in both stores, once.

One run at a time, in a process of its own. The old versions stay, and so do the first markers.
Source: docs/design/state.md, Archived and then changed.
"""

from __future__ import annotations

import hashlib
import sys
import zlib
from dataclasses import replace
from typing import Any

from rra_state.base import bounds, log
from rra_state.base.bounds import within_memory
from rra_state.base.errors import ArchiverError, Conflict, RecordChanged, WorkDirError
from rra_state.base.retry import attempt
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.execution import events
from rra_state.records import blob
from rra_state.stages.import_stage import facts_of, read
from rra_state.stages.worker import Bench
from rra_state.state.changed_records import Refresh, newest_marker
from rra_state.state.markers import Tree
from rra_state.state.outcome import Failure, Marker, Outcome
from rra_state.stores.artdaqdb.base import Location, Staged
from rra_state.stores.ucondb.client import Version


def refresh_run(wanted: Refresh, bench: Bench, tree: Tree) -> Outcome:
    """Archive the changed record, and write its marker last. Never raises for a fault of the run."""
    try:
        outcome = Outcome(wanted.run, facts=within_memory(wanted.run, lambda: _archive(wanted, bench, tree)))
    except ArchiverError as error:
        outcome = Outcome(wanted.run, error=error, tries=error.tries)
    if outcome.facts is not None:
        tree.write_refresh(Marker.of("refresh", wanted.run, outcome.facts), str(wanted))
    elif not outcome.untried:
        tree.write_failed_refresh(Failure.of("refresh", outcome, _before(tree, wanted)), str(wanted))
    return outcome


def _before(tree: Tree, wanted: Refresh) -> Failure | None:
    """The earlier failure record. A damaged one counts as none: it is about to be replaced."""
    try:
        return tree.failed_refresh(str(wanted))
    except WorkDirError:
        return None


def _archive(wanted: Refresh, bench: Bench, tree: Tree) -> Any:
    """Documents, index, blob, in this order: what was done of it before a crash is found done."""
    settings, run = bench.settings, wanted.run
    documents = read(run, settings, even_if_open=True)  # the planner judged it, and the fingerprint holds it to that
    if not documents.fingerprint.startswith(wanted.fingerprint):
        raise RecordChanged("changed again before it was read", run=run)
    replaced = _version_to_replace(newest_marker(tree, run), run)
    store = bench.artdaqdb
    [staged] = store.stage([documents], store.locate([run]))
    if not isinstance(staged, Staged):
        raise staged
    store.publish([staged])
    location: Location = store.locate([run])[run]
    export, _ = attempt(lambda: store.export(location), **bench.retrying)
    content = blob.pack(run, export.files)
    stored, _ = attempt(lambda: bench.ucondb.put(run, content, override_of=replaced), **bench.retrying)
    return replace(
        facts_of(documents, staged),
        version=export.version,
        size=stored.version.size,
        adler32=zlib.adler32(stored.content),
        sha256=hashlib.sha256(stored.content).hexdigest(),
        ucondb_id=stored.version.id,
        ucondb_data_key=stored.version.data_key,
    )


def _version_to_replace(marker: Marker | None, run: int) -> Version:
    """The blob that our last marker tells of; only that one is replaced. Raises Conflict if it tells of none."""
    ours = None if marker is None else marker.facts
    if ours is None or ours.ucondb_id is None or ours.adler32 is None or ours.size is None or not ours.ucondb_data_key:
        raise Conflict(
            "its marker does not say which blob in UconDB is ours",
            run=run,
            hint="--recover-migrate-state, then a full cycle",
        )
    return Version(run, ours.ucondb_id, ours.ucondb_data_key, ours.adler32, ours.size, tr=0.0)


def run_job(snakemake: Any) -> None:
    """Do what the job of a Snakemake rule asks for; end with exit status 1 if it failed."""
    wanted = Refresh(int(snakemake.wildcards.run), snakemake.wildcards.fingerprint)
    try:
        settings: Settings = loading.load(snakemake.params.config)
        log.setup(settings.app)
        tree = Tree(settings.app.work_dir)
        tree.prepare()
        bounds.bound_memory(settings.app.worker_memory_bytes)
        outcome = refresh_run(wanted, Bench(settings), tree)
    except ArchiverError as error:
        sys.exit(str(error))
    for level, text in events.lines("refresh", outcome):
        events.log.log(level, "%s", text)
    if outcome.untried:
        sys.exit(str(outcome.error))
    sys.exit(0 if outcome.archived else 1)
