"""Records that are archived, taken away and restored."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rra_state.stores.ucondb.client import UconDB
from tests.nasty_records import found
from tests.site import Site

Files = dict[int, dict[str, bytes]]


def archived_and_gone(site: Site) -> Files:
    """Archive four ordinary runs with originals, and remove the records of 1 to 3; return the files of these."""
    site.configure(ucon_db={"include_originals": True})
    site.make(4)
    site.archive_runs()
    return gone(site, range(1, 4))


def gone(site: Site, runs: Iterable[int]) -> Files:
    """Remove these records; return what they were."""
    files = {run: found(site.records / str(run)) for run in runs}
    for run in runs:
        site.remove(run)
    return files


def restored(directory: Path) -> Files:
    """The files of each run that was restored into a directory."""
    return {int(path.name): found(path) for path in directory.iterdir()}


def put(site: Site, run: int, content: bytes) -> None:
    """Replace a blob in UconDB."""
    ucondb = UconDB(site.ucondb.settings())
    ucondb.put(run, content, override_of=ucondb.versions()[run])
