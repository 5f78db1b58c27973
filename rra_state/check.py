"""`--check`: one line per thing the archiver depends on, OK or FAILED with a hint. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from rra_state.config import Settings
from rra_state.errors import ArchiverError, SourceUnreadable, WorkDirError
from rra_state.records import blob, source
from rra_state.stores import artdaqdb
from rra_state.stores.ucondb import UconDB

LARGE_DIRECTORY_ARCHIVE = 20_000


def lines(settings: Settings) -> Iterator[tuple[bool, str]]:
    """For each dependency whether it is in order, and the line to print."""
    checks: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("configuration", lambda found: str(found.path)),
        ("run records", _records),
        ("work directory", _work_dir),
        ("artdaqDB", _artdaqdb),
        ("UconDB", _ucondb),
        ("Snakemake", lambda _: version("snakemake")),
    )
    for name, check in checks:
        try:
            yield True, f"{name}: OK ({check(settings)})"
        except ArchiverError as error:
            yield False, f"{name}: FAILED ({error})"


def _records(settings: Settings) -> str:
    directory = settings.source_files.run_records_dir
    found = source.listing(directory)
    if not os.access(directory, os.R_OK | os.X_OK):
        raise SourceUnreadable("cannot be read", path=directory, hint="check owner and mode")
    return f"{len(found.runs)} runs in {directory}"


def _work_dir(settings: Settings) -> str:
    directory = settings.app.work_dir
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise WorkDirError("cannot be written", path=existing, hint="check owner and mode")
    return f"{directory}, {_free(existing)} free"


def _free(directory: Path) -> str:
    found = os.statvfs(directory)
    return f"{found.f_bavail * found.f_frsize / 2**30:.1f} GiB"


def _artdaqdb(settings: Settings) -> str:
    store = artdaqdb.open_store(settings.artdaq_db)
    store.check()
    number = len(store.runs())
    advice = "; more than a directory archive is good for, see docs/performance.md"
    return f"{store.describe()}, {number} runs{advice if number > LARGE_DIRECTORY_ARCHIVE else ''}"


def _ucondb(settings: Settings) -> str:
    return UconDB(settings.ucon_db, same=blob.same).check()
