"""What changed in each of the newest runs against the run before, for the status page. Asks no store.

Two records are compared while they are on disk as they were archived; a note keeps the result for later pages.
"""

from __future__ import annotations

import time
from heapq import nlargest
from itertools import pairwise
from typing import Any

from rra_state.base.errors import ArchiverError
from rra_state.base.wording import printable, shortened
from rra_state.records import source
from rra_state.records.comparison import FileContent, compare, contents
from rra_state.reporting.diff import lines
from rra_state.state.changed_records import newest_marker
from rra_state.state.markers import Tree
from rra_state.state.snapshot import Snapshot

NOTE = "changes"
NEWEST = 50
"""Runs that are compared with the run before."""
SECONDS = 2.0
"""After this time no further comparison is begun: the next cycle makes the rest."""
MOST_LINES = 30
_LONGEST_LINE = 200


def renew(snapshot: Snapshot) -> None:
    """Compare those of the newest archived runs that are not in the note, the newest first. Raises WorkDirError."""
    tree, known, until = snapshot.tree, noted(snapshot.tree), time.monotonic() + SECONDS
    newest = sorted(nlargest(NEWEST + 1, snapshot.archived["migrate"]))
    markers = {run: newest_marker(tree, run, snapshot.refreshed.get(run, ())) for run in newest}
    archived = {run: marker.facts.fingerprint for run, marker in markers.items() if marker is not None}
    read: dict[int, dict[str, FileContent] | None] = {}
    found: dict[str, Any] = {}
    for before, run in reversed(list(pairwise(newest))):
        of = [before, archived.get(before), archived.get(run)]
        entry = known.get(str(run))
        if entry is None or entry["of"] != of:
            if time.monotonic() > until:
                continue
            read = {each: read[each] if each in read else _record(snapshot, each, archived) for each in (before, run)}
            old, new = read[before], read[run]
            if old is None or new is None:
                continue
            text = [shortened(printable(line), _LONGEST_LINE) for line in lines(compare(old, new))]
            entry = {"of": of, "lines": text[:MOST_LINES], "more": max(0, len(text) - MOST_LINES)}
        found[str(run)] = entry
    if found != known:
        tree.write_note(NOTE, found)


def noted(tree: Tree) -> dict[str, Any]:
    """By run: `of`, the run before and both fingerprints; `lines`, what changed; `more`, how many are left out."""
    return tree.note(NOTE) or {}


def _record(snapshot: Snapshot, run: int, archived: dict[int, str | None]) -> dict[str, FileContent] | None:
    """The record, if it is on disk as it was archived."""
    try:
        record = source.read_record(snapshot.settings.source_files, run, even_if_open=True)
    except ArchiverError:
        return None  # gone, or changed meanwhile: the page shows no changes of this run
    if record.fingerprint != archived.get(run):
        return None
    return contents(run, {file.name: file.data for file in record.files})
