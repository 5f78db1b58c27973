"""A worker process: its settings and stores, opened once, and how it ends.

A worker reads, converts and stores; it writes no marker. It ignores the signals meant for the driver, and ends when its
parent ends.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cached_property
from multiprocessing.connection import wait
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

import tenacity

from rra_state.base import host_limits
from rra_state.base.concurrency import Slots
from rra_state.base.errors import ArchiverError, StoreError, VerificationError
from rra_state.config import loading
from rra_state.records import blob
from rra_state.records.model import SourceFile
from rra_state.state.markers import Tree
from rra_state.state.outcome import Outcome
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.base import ArtdaqDB, Export, Location
from rra_state.stores.ucondb.client import UconDB, not_listed
from rra_state.stores.ucondb.values import BlobVersion, StoredBlob

T = TypeVar("T")


class Flag(Protocol):
    """A `threading.Event`, or an object with the same two methods."""

    def is_set(self) -> bool:
        """True if the driver has asked to stop."""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it has, at most `timeout` seconds."""


class WorkerContext:
    """What a worker needs: settings, the two stores, and the driver's request to stop."""

    def __init__(self, settings: loading.Settings, stop: Flag | None = None) -> None:
        self.settings = settings
        self._stop: Flag = stop or threading.Event()
        self._listed: set[int] = set()

    @property
    def tree(self) -> Tree:
        """The marker tree; a worker only reads it."""
        return Tree(self.settings.app.work_dir)

    @cached_property
    def artdaqdb(self) -> ArtdaqDB:
        """The artdaqDB archive, opened on first use."""
        return artdaqdb.open_store(self.settings.artdaq_db)

    @cached_property
    def ucondb(self) -> UconDB:
        """The UconDB client, opened on first use."""
        return UconDB(self.settings.ucon_db, slots=ucondb_slots(self.settings))

    def export(self, location: Location) -> Export:
        """Read a run from artdaqDB, with retries."""
        return self.with_retries(lambda: self.artdaqdb.export(location))[0]

    def pack(self, run: int, export: Export) -> bytes:
        """The blob of a run, with the original texts if the configuration asks for them. Raises BlobError."""
        return blob.pack(run, export.files, export.sources if self.settings.ucon_db.include_originals else ())

    @cached_property
    def sender(self) -> ThreadPoolExecutor:
        """A thread with its own connection to UconDB, kept from chunk to chunk."""
        return ThreadPoolExecutor(1, "rra-sender")

    def put(
        self, run: int, content: bytes, sources: Sequence[SourceFile], override_of: BlobVersion | None = None
    ) -> tuple[StoredBlob, int]:
        """Store a blob in UconDB, with retries; return what `UconDB.put` does, and the number of tries.

        sources: the original texts. If the stored blob has originals and this one has none, those have to be equal too.
        Raises NotListed if UconDB has the blob already and does not list it. An error of UconDB ends migrations and
        refreshes only: imports go on without it.
        """

        def put() -> StoredBlob:
            stored = self.ucondb.put(run, content, override_of=override_of)
            if stored.already and blob.has_originals(stored.content) and not blob.has_originals(content):
                with_originals = blob.pack(run, blob.unpack(content).files, sources)
                stored = self.ucondb.put(run, with_originals, override_of=override_of)
            if stored.already and run not in self._listed:
                self._listed = self.ucondb.runs()
                if run not in self._listed:
                    raise not_listed(run)
            return stored

        try:
            return self.with_retries(put)
        except StoreError as error:
            error.stage = "migrate"
            raise

    @property
    def stopping(self) -> bool:
        """True once no further run is to be begun."""
        return self._stop.is_set()

    def with_retries(self, action: Callable[[], T]) -> tuple[T, int]:
        """Call `action`, and again while its error may pass; return its result and the number of calls.

        A wait ends early when the driver stops. Raises what the last call raised, with the number of calls as its
        attribute `tries`.
        """
        app = self.settings.app
        policy = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(app.run_process_retries + 1),
            wait=tenacity.wait_fixed(app.retry_delay_seconds),
            retry=tenacity.retry_if_exception(lambda error: isinstance(error, ArchiverError) and error.transient),
            sleep=cast("Callable[[float], None]", self._stop.wait),
            reraise=True,
        )
        try:
            result = policy(action)
        except ArchiverError as error:
            error.tries = policy.statistics.get("attempt_number", 1)
            raise
        return result, policy.statistics.get("attempt_number", 1)


def attempt(run: int, action: Callable[[], T]) -> T | Outcome:
    """The result of `action`, or the outcome of a run for which it raised an ArchiverError or took too much memory."""
    try:
        return host_limits.within_memory(run, action)
    except ArchiverError as error:
        return Outcome(run, error=error, tries=error.tries)


def ucondb_slots(settings: loading.Settings) -> Slots:
    """The slots that limit the requests to UconDB of all processes."""
    return Slots(settings.app.work_dir / "state", "ucondb", settings.ucon_db.max_connections)


def shown(run: int, location: Location | None) -> Location:
    """Where artdaqDB holds the run. Raises VerificationError if it does not show it."""
    if location is None:
        hint = "run --recover-import-state, then --retry-failed-import"
        raise VerificationError("has an import marker but artdaqDB does not show it", run=run, hint=hint)
    return location


_context: WorkerContext | None = None


def start(config_path: Path, stop: Flag) -> None:
    """Initialise a worker process: called once by the pool in each."""
    global _context  # noqa: PLW0603 - a process pool has no other place for what its tasks share
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))  # for its own children
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_exit_after, args=(parent.sentinel,), daemon=True).start()
    _context = WorkerContext(loading.load(config_path), stop)
    host_limits.bound_memory(_context.settings.app.worker_memory_bytes)


def call(function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Run a stage's function with this process's context as second argument."""
    assert _context is not None  # noqa: S101 - the pool's initialiser ran
    try:
        return function(arguments[0], _context, *arguments[1:], **options)
    except MemoryError:
        os._exit(1)  # counts as a killed worker: its runs are tried again, one by one in a new worker


def _exit_after(sentinel: int) -> None:
    wait([sentinel])
    os._exit(1)
