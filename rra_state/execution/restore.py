"""Restore records from the stores into a directory, in worker processes.

For `--restore` and for the drill of `--verify`. Source: docs/design/state.md, Getting records back.
"""

from __future__ import annotations

import fcntl
import logging
import os
import shutil
from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from functools import cache, partial
from pathlib import Path

from rra_state.base import files, host_limits
from rra_state.base.errors import StoreError, UsageError
from rra_state.config.loading import Settings
from rra_state.execution.pool import Pool, in_chunks
from rra_state.state.markers import Tree
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.base import Location
from rra_state.stores.ucondb.client import UconDB
from rra_state.workers.record_copies import NAMES, Source
from rra_state.workers.restore_stage import PARTIAL, RestoredRun, restore_runs

CHUNK = 20
"""Runs handed to a worker at once by a restore."""
SOURCES: Mapping[str, tuple[Source, ...]] = {
    "best": ("artdaqdb", "ucondb"),
    "artdaqdb": ("artdaqdb",),
    "ucondb": ("ucondb",),
}
"""The stores that are read for each choice of `--from`, in this order."""

log = logging.getLogger("rra")


def archived(settings: Settings, named: Collection[int], sources: Sequence[Source]) -> set[int]:
    """Which of these runs have a marker, or are in a store. Asks the stores only for runs without a marker.

    Raises StoreError if no store can be asked.
    """
    tree = Tree(settings.app.work_dir)
    known = set(named) & (tree.archived("import") | tree.archived("migrate"))
    rest = set(named) - known
    refused = []
    for source in sources if rest else ():
        try:
            store = UconDB(settings.ucon_db) if source == "ucondb" else artdaqdb.open_store(settings.artdaq_db)
            known |= rest & store.runs()
        except StoreError as error:
            log.warning("%s; runs that only %s has cannot be restored", error, NAMES[source])
            refused.append(error)
    if rest and len(refused) == len(sources):
        raise refused[0]
    return known


def results(
    settings: Settings, chosen: Sequence[int], directory: Path, sources: Sequence[Source]
) -> Iterator[RestoredRun]:
    """Restore these runs into `directory`; the results as they come.

    Raises ArchiverError as soon as no store can be asked any more, or the directory cannot be written.
    """
    _refuse_site(settings, directory)
    usable, opened = list(sources), cache(partial(artdaqdb.open_store, settings.artdaq_db))

    def submit(pool: Pool, numbers: Sequence[int]) -> Future[list[RestoredRun]]:
        located: dict[int, Location] = {}
        try:
            if "artdaqdb" in usable:
                located = opened().locate(numbers)
        except StoreError as error:
            if len(sources) == 1:
                raise
            usable.remove("artdaqdb")
            log.warning("%s; restoring from UconDB only", error)
        return pool.submit(restore_runs, numbers, located, directory=directory, sources=tuple(usable))

    with _prepared(directory):
        for found in in_chunks(settings, chosen, CHUNK, submit):
            if found.error is not None:
                raise found.error
            yield found


def _refuse_site(settings: Settings, directory: Path) -> None:
    """Raise UsageError for a directory whose files a cycle would read as records, markers or documents."""
    archive = artdaqdb.directory_of(settings.artdaq_db)
    for path in filter(None, (settings.source_files.run_records_dir, settings.app.work_dir, archive)):
        if directory.resolve().is_relative_to(path.resolve()):
            raise UsageError(f"is in {path}, which a cycle reads", path=directory, hint="choose another directory")


@contextmanager
def _prepared(directory: Path) -> Iterator[None]:
    """Make the directory, hold its lock, and remove what a restore that was killed left. Raises UsageError."""
    part = directory / PARTIAL
    try:
        files.make_directory(part)
        os.close(os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW))
        with (part / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(os.fstat(lock.fileno()), (part / "lock").stat()):
                raise BlockingIOError  # another restore ended and removed the file that was locked
            for left in filter(Path.is_dir, part.iterdir()):
                shutil.rmtree(left)
            yield
            shutil.rmtree(part)  # before the lock is given up: another restore may begin then
    except BlockingIOError as error:
        raise UsageError("another --restore writes there", path=directory, hint="wait for it") from error
    except OSError as error:
        raise UsageError(f"cannot be used: {host_limits.reason(error)}", path=error.filename or directory) from error
