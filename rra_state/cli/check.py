"""`--check`: open everything that a cycle opens, and try it with a write that leaves nothing; one line each.

A cycle can do what passes here. Only the newest blobs are read.
"""

from __future__ import annotations

import errno
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.metadata import version
from pathlib import Path

from rra_state.base import files, log, permissions, run_numbers
from rra_state.base.errors import (
    AccessDenied,
    ArchiverError,
    NotSent,
    SourceUnreadable,
    StoreError,
    VerificationError,
    WorkDirError,
)
from rra_state.base.lock import Lock
from rra_state.base.wording import count
from rra_state.config.loading import Settings
from rra_state.config.warnings import cautions
from rra_state.execution.pool import open_pool
from rra_state.state import index_losses
from rra_state.state.outcome import STAGES
from rra_state.state.snapshot import Snapshot
from rra_state.state.tree_files import writing
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.ucondb.client import UconDB
from rra_state.workers.worker import ucondb_slots

LARGE_DIRECTORY_ARCHIVE = 20_000
CONNECT_SECONDS = 5.0
SLOW_SECONDS = 5.0
"""After so long without an answer a line names the check that waits."""
SAMPLE = 3
"""Number of blobs that are read."""
_SNAKEMAKE_WRITES = ("cache", "incomplete", "iocache", "locks")
"""Directories in `.snakemake` of the work directory without which Snakemake starts no job."""


def lines(settings: Settings) -> Iterator[tuple[bool, str]]:
    """For each dependency whether it can be used, and the line to print."""
    for caution in cautions(settings):
        yield True, f"caution: {caution}"
    for name, check in _Checks(settings).all():
        waiting = threading.Timer(SLOW_SECONDS, print, [f"{name}: no answer yet"], {"file": sys.stderr, "flush": True})
        waiting.daemon = True
        waiting.start()
        try:
            yield True, f"{name}: OK ({check()})"
        except ArchiverError as error:
            yield False, f"{name}: FAILED ({error})"
        finally:
            waiting.cancel()


@dataclass(frozen=True)
class _Checks:
    """The checks of one configuration; each returns what to print behind OK, or raises ArchiverError."""

    settings: Settings

    @cached_property
    def snapshot(self) -> Snapshot:
        return Snapshot.take(self.settings)

    def all(self) -> Iterator[tuple[str, Callable[[], str]]]:
        """Every check that the configuration asks for. No message is sent: `--test-message` does that."""
        app, email, carbon = self.settings.app, self.settings.reporting.email, self.settings.carbon
        yield "configuration", lambda: str(self.settings.path)
        yield "run records", self.records
        yield "work directory", self.work_dir
        if (log_file := app.log_file) is not None:
            yield "log file", lambda: _appendable(log_file)
        yield "state files", self.state_files
        yield "artdaqDB", self.artdaqdb
        yield "UconDB", self.ucondb
        if app.workers is not None:
            yield "workers", self.workers
        yield "Snakemake", lambda: version("snakemake")
        if email.enabled:
            yield "mail server", lambda: _answers(email.smtp_host, email.smtp_port, "reporting.email")
        if carbon.enabled:
            yield "Carbon", lambda: _answers(carbon.host, carbon.port, "carbon")
        if (metrics_file := self.settings.metrics.prometheus_file) is not None:
            yield "metrics file", lambda: _replaceable(metrics_file, made=False)
        if (page := self.settings.reporting.html_file) is not None:
            yield "status page", lambda: _replaceable(page)

    def records(self) -> str:
        found, directory = self.snapshot.records, self.settings.source_files.run_records_dir
        if not os.access(directory, os.R_OK | os.X_OK):
            raise SourceUnreadable("cannot be read", path=directory, hint="check owner and mode")
        return f"{count(len(found), 'run')} in {directory}"

    def work_dir(self) -> str:
        app = self.settings.app
        for path in (value for _, value in app if isinstance(value, Path) and value != app.work_dir):
            if path.is_dir():
                raise WorkDirError("is a directory where a file belongs", path=path, hint="move it away")
        beside = (
            *(app.lock_file, app.import_state_file, app.import_failure_log),
            *(app.migrate_state_file, app.migrate_failure_log),
        )
        snakemake = [app.work_dir / ".snakemake" / name for name in _SNAKEMAKE_WRITES]
        with writing(app.work_dir):
            directories = [*self.snapshot.tree.directories, *(file.parent for file in beside)]
            for directory in set(map(_existing, [*directories, *snakemake])):
                files.check_writable(directory)
            permissions.check_tree(app.work_dir)
            Lock(app.work_dir, app.lock_file).check()
            ucondb_slots(self.settings).check()
            free = os.statvfs(_existing(app.work_dir))
        return f"{app.work_dir}, {free.f_bavail * free.f_frsize / 2**30:.1f} GiB free"

    def state_files(self) -> str:
        for stage in STAGES:
            if (damage := self.snapshot.written(stage).error) is not None:
                raise damage
        return f"{self.settings.app.import_state_file}, {self.settings.app.migrate_state_file}"

    def artdaqdb(self) -> str:
        store = artdaqdb.open_store(self.settings.artdaq_db)
        store.check()
        index_losses.missing(self.snapshot, store)
        number = len(store.runs())
        outgrown = number > LARGE_DIRECTORY_ARCHIVE and isinstance(store, FilesystemDB)
        advice = ["for so many runs use PostgreSQL, see docs/stores.md"] if outgrown else store.remarks()
        return "; ".join((f"{store.describe()}, {count(number, 'run')}", *advice))

    def ucondb(self) -> str:
        store, section = UconDB(self.settings.ucon_db), self.settings.ucon_db
        found = store.check()
        if not section.writer_user or not section.writer_password.get_secret_value():
            raise AccessDenied(
                f"{found}, but no user or password to write with", hint="set ucon_db.writer_user and UCONDB_PASSWORD"
            )
        store.try_put()
        self._read_some(store)
        return f"{found}, password accepted"

    def _read_some(self, store: UconDB) -> None:
        """Read the newest blobs. Raises StoreError if the server lists them and can give none of them."""
        stored = self.snapshot.archived["migrate"] or store.runs()
        chosen = sorted(stored)[-SAMPLE:]
        lost = []
        for run in chosen:
            try:
                store.get(run)
            except VerificationError as error:
                lost.append(error)
        if chosen and len(lost) == len(chosen):
            hint = "its administrator restores them; --verify names every such run"
            raise StoreError(f"the blobs of runs {run_numbers.text(chosen)} are lost: {lost[0].message}", hint=hint)

    def workers(self) -> str:
        open_pool(self.settings, seconds=CONNECT_SECONDS).close()
        return str(self.settings.app.workers)


def _existing(directory: Path) -> Path:
    """The directory, or the one in which the first cycle will make it. Raises OSError if there is a file instead."""
    found = next(each for each in (directory, *directory.parents) if each.exists())
    os.scandir(found).close()
    return found


def _appendable(path: Path) -> str:
    """Open a log file as a cycle does; one that is not there is not made."""
    with writing(path):
        if path.exists():
            os.close(log.open_to_append(path))
        if path.is_file() or not path.exists():
            files.check_writable(_existing(path.parent))
    return str(path)


def _replaceable(path: Path, *, made: bool = True) -> str:
    """Try to write where each cycle replaces a file. made: a cycle makes the directory if it is missing."""
    with writing(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        files.check_writable(_existing(path.parent) if made else path.parent)
    return str(path)


def _answers(host: str, port: int, section: str) -> str:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise NotSent(f"{host}:{port} cannot be reached: {error.strerror or error}", hint=f"see {section}") from error
    return f"{host}:{port}"
