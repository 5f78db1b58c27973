"""Runs whose record vanished before it was archived: noticed here, given up with `--forget`. See `Snapshot.lost`."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import replace

from rra_state.base.errors import ArchiverError
from rra_state.base.wording import count, ranges
from rra_state.state.markers import SEEN, UNVERIFIED, WITHOUT_RECORD, Tree
from rra_state.state.outcome import STAGES, Failure, Outcome
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import StateFiles

log = logging.getLogger("rra")


class RecordLost(ArchiverError):
    """the record is gone, and neither store has the run"""


def failures(runs: Iterable[int]) -> list[Failure]:
    """Failure records of runs that are nowhere."""
    hint = "put the record back; if it is gone for good: --forget {}"
    errors = {run: RecordLost(run=run, hint=hint.format(run)) for run in sorted(runs)}
    return [Failure.of("import", Outcome(run, error=error, tries=0)) for run, error in errors.items()]


def notice(snapshot: Snapshot) -> set[int]:
    """Find the runs that the last cycle saw and that are nowhere now, say so, and write failure records.

    Runs whose record came back are no longer given up; archived ones are watched again.
    Raises SourceUnreadable, WorkDirError.
    """
    tree, waiting = snapshot.tree, snapshot.records - snapshot.archived["import"]
    known = snapshot.archived["import"] | snapshot.archived["migrate"] | snapshot.failed["import"] | snapshot.forgotten
    gone = set(snapshot.seen - snapshot.records - known - snapshot.arriving)
    if gone:
        log.error("RecordLost: runs %s were seen on disk; they are gone, and in neither store", ranges(gone))
        tree.write_failures(failures(gone))
    if waiting != tree.noted_runs(SEEN):
        tree.write_noted_runs(SEEN, waiting)
    if back := snapshot.forgotten & snapshot.records:
        tree.remove_from("forgotten", back)
    directory = snapshot.settings.source_files.run_records_dir
    if snapshot.records != tree.on_disk_before(directory):
        never_compared = (tree.noted_runs(each) or frozenset() for each in (UNVERIFIED, WITHOUT_RECORD))
        if again := snapshot.returned.difference(*never_compared):
            log.info("comparing %s whose record was away, or in another directory", count(len(again), "archived run"))
            tree.compare_once(again)
        tree.write_on_disk(directory, snapshot.records)
    return gone


def seen_is_unknown(tree: Tree) -> bool:
    """Whether the note of the runs that were seen is damaged, so that one which vanished cannot be noticed. Logs it."""
    damaged = tree.noted_runs(SEEN) is None and tree.note_path(SEEN).exists()
    if damaged:
        hint = "compare with the DAQ's list of runs"
        log.error(
            "%s is damaged: a run that vanished since the last cycle is not noticed (%s)", tree.note_path(SEEN), hint
        )
    return damaged


def give_up(snapshot: Snapshot, runs: frozenset[int]) -> None:
    """Report these lost runs no more: drop them from failure records and logs. Raises StateFileError, WorkDirError.

    Of an archived run whose changed record vanished, only the failure of its refresh is dropped.
    """
    files = [StateFiles(snapshot.settings, stage) for stage in STAGES]
    ledgers = [each.read(snapshot.known(each.stage)) for each in files]
    snapshot.tree.prepare()  # no cycle of this version may have run here
    snapshot.tree.forget(runs - snapshot.vanished)
    snapshot.tree.drop_failed_refreshes(runs)
    after = snapshot.again()
    for each, ledger in zip(files, ledgers, strict=True):
        each.write(after.known(each.stage), replace(ledger, added=ledger.added - runs))
