"""The page that every cycle leaves behind: `reporting.html_file`, for a web server or a screen in the control room.

A cycle that changed nothing only moves the page's time: with 100,000 runs that is a hundredth of making it anew.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from rra_state import __version__
from rra_state.base import files
from rra_state.base.errors import ArchiverError
from rra_state.base.wording import count
from rra_state.config.loading import Settings
from rra_state.monitoring.cycle_history import Ended
from rra_state.reporting.page import words
from rra_state.state.markers import Tree
from rra_state.state.outcome import PLACES, STAGES

LONGEST_SECONDS = 3600
"""At least so often the page is made anew: ages and days go on although nothing changes."""

_TREE = re.compile(rb'<meta name="tree" content="([0-9a-f]+) ([0-9]+)">')
_WRITTEN = re.compile(rb'(<p id="written">As of )<time datetime="[^"]*">[^<]*</time>')


def write(settings: Settings, path: Path, ended: Ended | None = None) -> None:
    """Bring the page at `path` up to date, atomically; for who holds the archive's lock. Raises OSError.

    ended: the cycle that has just ended. What keeps the runs from being told is told in their place.
    """
    tree = _fingerprint(settings)
    faulty = ended is not None and ended.fault is not None
    text = None if faulty else _touched(path, tree)
    if text is None:
        text = make(settings, ended, None if faulty else tree).encode("utf-8", "backslashreplace")
    files.make_directory(path.parent)
    files.write_atomic(path, text)


def make(settings: Settings, ended: Ended | None = None, tree: str | None = None) -> str:
    """The page from the marker tree, without asking a store; for who holds the archive's lock.

    tree: its fingerprint, if the page may be kept.
    """
    from rra_state.reporting import catalog, status  # noqa: PLC0415 - a cycle that changes nothing does without
    from rra_state.reporting.page import render  # noqa: PLC0415 - the same

    cycle = None if ended is None else render.Cycle(told(ended), ended.fault is None)
    try:
        found = catalog.take(settings, renew=True)
        return render.html(found, status.of_tree(found), cycle=cycle, tree=tree)
    except ArchiverError as error:
        return render.unknown(settings, str(error))


def told(ended: Ended) -> str:
    """How a cycle ended, in one line."""
    if ended.fault is not None:
        return str(ended.fault)
    parts = [
        f"{count(ended.tally.archived[stage], 'run')} into {PLACES[stage]}"
        + (f" ({ended.tally.failed[stage]} failed)" if ended.tally.failed[stage] else "")
        for stage in ended.tally.stages
    ]
    return f"{', '.join(parts)} in {ended.seconds:.1f} s" if parts else "nothing to do"


def _touched(path: Path, tree: str) -> bytes | None:
    """The page as it is, with the time that it is now; None if it has to be made anew."""
    now = time.time()
    try:
        text = path.read_bytes()
    except OSError:
        return None
    found = _TREE.search(text)
    if found is None or found[1] != tree.encode() or not 0 <= now - int(found[2]) < LONGEST_SECONDS:
        return None
    return _WRITTEN.sub(rb"\1" + words.time_element(now).encode(), text, count=1)


def _fingerprint(settings: Settings) -> str:
    """What changes with everything that the page shows: each file of the tree is replaced by renaming, which its
    directory's time tells; run records come as new directories.
    """
    stamps = [__version__, str(settings.path), *(_stamp(path) for path in _watched(settings))]
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()


def _watched(settings: Settings) -> Iterator[Path]:
    app, tree = settings.app, Tree(settings.app.work_dir)
    yield settings.path
    yield settings.source_files.run_records_dir
    for stage in STAGES:
        yield tree.marker_path(stage, 1).parent
        yield tree.failure_path(stage, 1).parent
    for kind in ("markers", "failures"):
        yield app.work_dir / kind / "refresh"
    yield app.work_dir / "watch"
    yield from (app.import_state_file, app.import_failure_log, app.migrate_state_file, app.migrate_failure_log)


def _stamp(path: Path) -> str:
    try:
        found = path.stat()
    except OSError:
        return f"{path} -"
    return f"{path} {found.st_ino} {found.st_mtime_ns} {found.st_size}"
