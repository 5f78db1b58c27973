"""Archived runs whose newest version in artdaqDB is not the one that their newest marker names.

Another program stored a newer one, as artdaq's loader does at a run's stop. Or it is this archiver's: a refresh was
interrupted before UconDB had it, or another program overwrote the index with an older copy. Only watched runs and those
that a person names are looked up, and only if the archive changed since the last look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from rra_state.base.errors import WorkDirError
from rra_state.state.changed_records import newest_marker
from rra_state.state.markers import Tree
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.artdaqdb.lookup import is_all_ours

NOTE = "newer_versions"
"""Name of the note with what the last look found: `state/newer_versions.json`, the stamp and versions by run."""
_OF_OTHERS, _OURS = "versions", "unfinished"


def look(tree: Tree, store: ArtdaqDB, named: Collection[int] = ()) -> None:
    """Note the runs with a version that their newest marker does not name. Raises StoreError, WorkDirError."""
    left, before, stamp = unfinished(tree), tree.note(NOTE) or {}, store.stamp()
    runs = tree.watched() | left.keys() | set(named)
    if not runs or (stamp and stamp == before.get("stamp") and not named and not left):
        return
    located, refreshed = store.locate(runs & tree.archived("migrate")), tree.refreshed()
    ours = {run for run, found in located.items() if is_all_ours(found)}
    once = {run for run in ours - refreshed.keys() if located[run].version == located[run].configuration}
    newer = dict(_newer(tree, {run: found.version for run, found in located.items() if run not in once}))
    note = {
        "stamp": stamp,
        _OF_OTHERS: {str(run): version for run, version in newer.items() if run not in ours},
        _OURS: {str(run): version for run, version in newer.items() if run in ours},
    }
    if note != before:
        tree.write_note(NOTE, note)


def noted(tree: Tree) -> dict[int, str]:
    """The versions of other programs that the last look found, without what was archived since."""
    return _noted(tree, _OF_OTHERS)


def unfinished(tree: Tree) -> dict[int, str]:
    """The versions of this archiver that UconDB does not have yet, or whose place in the index has an older one."""
    return _noted(tree, _OURS)


def begin(tree: Tree, versions: Mapping[int, str]) -> None:
    """Note durably that UconDB does not have these versions yet, before they are published. Raises WorkDirError."""
    left = {str(run): version for run, version in {**unfinished(tree), **versions}.items()}
    tree.write_note(NOTE, (tree.note(NOTE) or {}) | {_OURS: left})


def _noted(tree: Tree, name: str) -> dict[int, str]:
    """One part of the note; none if it is damaged."""
    try:
        return dict(_newer(tree, {int(run): str(each) for run, each in (tree.note(NOTE) or {})[name].items()}))
    except (ValueError, AttributeError, LookupError):
        return {}


def _newer(tree: Tree, versions: dict[int, str]) -> Iterator[tuple[int, str]]:
    refreshed = tree.refreshed() if versions else {}
    for run, version in sorted(versions.items()):
        try:
            marker = newest_marker(tree, run, refreshed.get(run, ()))
        except WorkDirError:  # a damaged marker: the report names it
            continue
        if marker is not None and marker.facts.version not in (None, version):
            yield run, version
