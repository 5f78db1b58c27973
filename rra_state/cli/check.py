"""`--check`: test everything that a cycle depends on; one line each, OK or FAILED with a hint. Changes nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path

from rra_state.base.errors import (
    AccessDenied,
    ArchiverError,
    NotSent,
    SourceUnreadable,
    VerificationError,
    WorkDirError,
)
from rra_state.base.wording import count
from rra_state.config.loading import Settings
from rra_state.config.warnings import cautions
from rra_state.records import blob
from rra_state.records.listing import listing
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.ucondb.client import UconDB

LARGE_DIRECTORY_ARCHIVE = 20_000
CONNECT_SECONDS = 5.0


def lines(settings: Settings) -> Iterator[tuple[bool, str]]:
    """For each dependency: True if it is in order, and the line to print."""
    checks: tuple[tuple[str, Callable[[Settings], str]], ...] = (
        ("configuration", lambda found: str(found.path)),
        ("run records", _records),
        ("work directory", _work_dir),
        ("artdaqDB", _artdaqdb),
        ("UconDB", _ucondb),
        ("Snakemake", lambda _: version("snakemake")),
        *_wanted(settings),
    )
    for caution in cautions(settings):
        yield True, f"caution: {caution}"
    for name, check in checks:
        try:
            yield True, f"{name}: OK ({check(settings)})"
        except ArchiverError as error:
            yield False, f"{name}: FAILED ({error})"


def _wanted(settings: Settings) -> Iterator[tuple[str, Callable[[Settings], str]]]:
    """Checks of the servers for messages and metrics, if configured. Nothing is sent: `--test-message` does that."""
    email, carbon, file = settings.reporting.email, settings.carbon, settings.metrics.prometheus_file
    if email.enabled:
        yield "mail server", lambda _: _answers(email.smtp_host, email.smtp_port, "reporting.email")
    if carbon.enabled:
        yield "Carbon", lambda _: _answers(carbon.host, carbon.port, "carbon")
    if file is not None:
        yield "metrics file", lambda _: _replaceable(file)


def _answers(host: str, port: int, section: str) -> str:
    try:
        socket.create_connection((host, port), timeout=CONNECT_SECONDS).close()
    except OSError as error:
        raise NotSent(f"{host}:{port} cannot be reached: {error.strerror or error}", hint=f"see {section}") from error
    return f"{host}:{port}"


def _replaceable(path: Path) -> str:
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK | os.X_OK):
        raise WorkDirError("cannot be written", path=path.parent, hint="make it, or check its owner and mode")
    return str(path)


def _records(settings: Settings) -> str:
    directory = settings.source_files.run_records_dir
    found = listing(directory)
    if not os.access(directory, os.R_OK | os.X_OK):
        raise SourceUnreadable("cannot be read", path=directory, hint="check owner and mode")
    return f"{count(len(found.runs), 'run')} in {directory}"


def _work_dir(settings: Settings) -> str:
    directory = settings.app.work_dir
    existing = next(parent for parent in (directory, *directory.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise WorkDirError("cannot be written", path=existing, hint="check owner and mode")
    for path in (value for _, value in settings.app if isinstance(value, Path) and value != directory):
        if path.is_dir():
            raise WorkDirError("is a directory where a file belongs", path=path, hint="move it away")
    free = os.statvfs(existing)
    if not free.f_bavail:
        raise WorkDirError("the disk is full", path=existing, hint="make room")
    return f"{directory}, {free.f_bavail * free.f_frsize / 2**30:.1f} GiB free"


def _artdaqdb(settings: Settings) -> str:
    store = artdaqdb.open_store(settings.artdaq_db)
    store.check()
    number = len(store.runs())
    outgrown = number > LARGE_DIRECTORY_ARCHIVE and isinstance(store, FilesystemDB)
    advice = "; for so many runs use PostgreSQL, see docs/stores.md" if outgrown else ""
    return f"{store.describe()}, {count(number, 'run')}{advice}"


def _ucondb(settings: Settings) -> str:
    store = UconDB(settings.ucon_db, same=blob.same)
    found = store.check()
    if not settings.ucon_db.writer_user or not settings.ucon_db.writer_password.get_secret_value():
        raise AccessDenied(
            f"{found}, but no user or password to write with", hint="set ucon_db.writer_user and UCONDB_PASSWORD"
        )
    return f"{found}, password {'accepted' if _takes_password(store) else 'not tried, since no run is stored yet'}"


def _takes_password(store: UconDB) -> bool:
    """True if user and password are accepted; False if no intact blob is stored to try them with. Raises StoreError.

    The smallest blob is put again under its own key. The server checks the password and then refuses the key because
    it exists: nothing changes. If the blob was deleted in between, the same bytes are stored again.
    """
    for held in sorted(store.versions().values(), key=lambda held: held.size):
        try:
            stored = store.get(held.run)
        except VerificationError:  # `--verify` reports it
            continue
        if stored is not None:
            store.put(held.run, stored[0])
            return True
    return False
