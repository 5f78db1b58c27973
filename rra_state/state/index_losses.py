"""Runs with an import marker that artdaqDB no longer shows: another program overwrote its index.

Looking is cheap when nothing changed: the archive's stamp is remembered with the tree.
"""

from __future__ import annotations

import logging

from rra_state.base import run_numbers
from rra_state.base.errors import ArchiverError
from rra_state.state import shrunk_sites
from rra_state.state.markers import Tree
from rra_state.state.outcome import Failure, Outcome
from rra_state.state.snapshot import Snapshot
from rra_state.stores.artdaqdb.base import ArtdaqDB

NOTE = "artdaqdb"
"""Name of the note with the archive's stamp: `state/artdaqdb.json`."""

log = logging.getLogger("rra")


class LostFromIndex(ArchiverError):
    """was in artdaqDB, but its index does not show the run any more"""


def reclaim(snapshot: Snapshot, store: ArtdaqDB) -> set[int]:
    """Find lost runs, log them, and remove their markers: this cycle takes those whose record is still on disk.

    A run whose record is gone as well gets a failure record: a person has to act. Changes nothing if the records cannot
    be read. Raises SiteShrank, StoreError, WorkDirError.
    """
    tree, on_disk, lost = snapshot.tree, snapshot.on_disk, missing(snapshot, store)
    if not lost or snapshot.source_error is not None:
        return set()
    for what, found in (("taken again", lost & on_disk), ("no longer on disk: look in UconDB", lost - on_disk)):
        if found:
            log.warning(
                "LostFromIndex: runs %s were in artdaqDB, but its index lost them; %s", run_numbers.text(found), what
            )
    tree.write_failures(Failure.of("import", Outcome(run, error=LostFromIndex(run=run))) for run in lost - on_disk)
    tree.remove_markers("import", lost)
    remember(tree, store)
    return lost


def missing(snapshot: Snapshot, store: ArtdaqDB) -> set[int]:
    """Runs with an import marker that artdaqDB does not show. Raises SiteShrank if these are most runs, StoreError.

    None, without a look at the runs, if the archive is as it was when it last showed them all.
    """
    marked, stamp = snapshot.archived["import"], store.stamp()
    if not marked or (stamp and stamp == _remembered(snapshot.tree)):
        return set()
    held = store.runs()
    if shrunk := shrunk_sites.store(store.describe(), "import", marked, held):
        raise shrunk
    return set(marked - held)


def remember(tree: Tree, store: ArtdaqDB) -> None:
    """Note that the archive, as it is now, shows every archived run. Does nothing if it does not."""
    stamp = store.stamp()
    if stamp != _remembered(tree) and tree.archived("import") <= store.runs():
        tree.write_note(NOTE, {"stamp": stamp})


def _remembered(tree: Tree) -> str | None:
    return (tree.note(NOTE) or {}).get("stamp")
