"""Where chunks of runs are worked on: a small interface that a cluster can implement, and local processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import types
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from typing import Any, Protocol

from rra_state import worker
from rra_state.config import Settings
from rra_state.errors import ConfigError, WorkersUnusable

START_SECONDS = 60
"""Longest wait for worker processes to come up."""


class Pool(Protocol):
    """Workers. `submit` may raise, and its futures may hold, BrokenExecutor: a worker died; `renew`, then go on."""

    size: int

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Have a worker call a stage's function with its own bench as second argument."""

    def renew(self) -> None:
        """Replace the workers after one died. Raises WorkersUnusable if the new ones do not start."""

    def ask_to_stop(self) -> None:
        """Let workers finish the run in hand and begin no other."""

    def close(self) -> None:
        """End the workers; those still busy are killed."""


def open_pool(settings: Settings) -> Pool:
    """The workers that the configuration asks for. Raises ConfigError, WorkersUnusable."""
    if settings.app.workers is None:
        return ProcessPool(settings)
    try:
        from rra_state.dask_pool import DaskPool  # noqa: PLC0415 - only clusters need Dask
    except ImportError as error:
        raise ConfigError(
            "app.workers: Dask is not installed ([dask])", hint="pip install 'run-record-archiver[dask]'"
        ) from error
    return DaskPool(settings)


class ProcessPool:
    """Worker processes on this machine."""

    def __init__(self, settings: Settings) -> None:
        self.size = settings.app.parallel_workers or len(os.sched_getaffinity(0))
        self._config_path = settings.path
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(["rra_state.import_stage", "rra_state.migrate_stage"])
        with _signals_ignored():
            # The fork server would otherwise die of a SIGTERM sent to the process group, and every worker with it.
            forkserver.ensure_running()
        self._stop = self._context.Event()
        self._handed_out: list[Future[Any]] = []
        self._executor = self._started()

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """See Pool."""
        future = self._executor.submit(worker.call, function, *arguments, **options)
        self._handed_out = [other for other in self._handed_out if not other.done()] + [future]
        return future

    def renew(self) -> None:
        """See Pool."""
        self._kill()
        self._executor = self._started()

    def ask_to_stop(self) -> None:
        """See Pool."""
        self._stop.set()

    def close(self) -> None:
        """See Pool. Idle workers are let go in peace: killing one can leave the executor's own locks taken."""
        self._stop.set()
        if all(future.done() for future in self._handed_out):
            self._executor.shutdown(wait=True)
        else:
            self._kill()

    def _kill(self) -> None:
        """End the workers for good: they ignore the SIGTERM with which an executor ends the mates of a dead one."""
        for process in self._processes:
            process.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _started(self) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(
            self.size, mp_context=self._context, initializer=worker.start, initargs=(self._config_path, self._stop)
        )
        with _main_hidden():
            # A worker would otherwise import Snakemake's main module again: 0.7 s of a core for each.
            try:
                pending = [executor.submit(os.getpid) for _ in range(self.size)]
                for future in pending:
                    future.result(timeout=START_SECONDS)
            except (BrokenExecutor, OSError, EOFError) as error:
                executor.shutdown(wait=False, cancel_futures=True)
                raise WorkersUnusable from error
        self._processes = list(executor._processes.values())
        return executor


@contextmanager
def _signals_ignored() -> Iterator[None]:
    """Ignore SIGINT and SIGTERM while a process is started that must inherit that."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, signal.SIG_IGN) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def _main_hidden() -> Iterator[None]:
    """Show multiprocessing an empty main module while it starts processes."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


__all__ = ["BrokenExecutor", "Pool", "ProcessPool", "open_pool"]
