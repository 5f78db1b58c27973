"""Archived runs of which another program stored a newer version in artdaqDB, as artdaq's loader does at a run's stop.

Only watched runs and those that a person names are looked up, and only if the archive changed since the last look.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from rra_state.base.errors import WorkDirError
from rra_state.state.changed_records import newest_marker
from rra_state.state.markers import Tree
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.artdaqdb.lookup import is_all_ours

NOTE = "newer_versions"
"""Name of the note with what the last look found: `state/newer_versions.json`, the stamp and versions by run."""


def look(tree: Tree, store: ArtdaqDB, named: Collection[int] = ()) -> None:
    """Note the runs with a version that their newest marker does not name. Raises StoreError, WorkDirError."""
    runs, before, stamp = tree.watched() | set(named), tree.note(NOTE) or {}, store.stamp()
    if not runs or (stamp and stamp == before.get("stamp") and not named):
        return
    located = store.locate(runs & tree.archived("migrate"))
    versions = {run: found.version for run, found in located.items() if not is_all_ours(found)}
    note = {"stamp": stamp, "versions": {str(run): version for run, version in _newer(tree, versions)}}
    if note != before:
        tree.write_note(NOTE, note)


def noted(tree: Tree) -> dict[int, str]:
    """What the last look found, without what was archived since; none if the note is damaged."""
    try:
        return dict(_newer(tree, {int(run): str(each) for run, each in (tree.note(NOTE) or {})["versions"].items()}))
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
