"""Where chunks of runs are worked on: a small interface that a cluster can implement, and local processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any, Protocol

from rra_state.base import host_limits
from rra_state.base.errors import ConfigError, WorkersUnusable
from rra_state.config.loading import Settings
from rra_state.stages import worker

START_SECONDS = 60
"""Longest wait for worker processes to come up."""
CLOSE_SECONDS = 5.0
"""Longest wait for idle ones to go."""


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


def open_pool(settings: Settings, *, most: int | None = None) -> Pool:
    """The workers that the configuration asks for. most: processes that there is work for.

    Raises ConfigError, WorkersUnusable.
    """
    if settings.app.workers is None:
        return ProcessPool(settings, most=most)
    try:
        from rra_state.execution.dask_pool import DaskPool  # noqa: PLC0415 - only clusters need Dask
    except ImportError as error:
        raise ConfigError(
            "app.workers: Dask is not installed ([dask])", hint="pip install 'run-record-archiver[dask]'"
        ) from error
    return DaskPool(settings)


class ProcessPool:
    """Worker processes on this machine, as isolated (`python -I`) as this one: multiprocessing hands that on."""

    def __init__(self, settings: Settings, *, most: int | None = None) -> None:
        """most: workers that there is work for."""
        size = settings.app.parallel_workers or len(os.sched_getaffinity(0))
        self.size = size if most is None else max(1, min(size, most))
        self._config_path = settings.path
        self._handed_out: list[Future[Any]] = []
        self._start()

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """See Pool."""
        future = self._executor.submit(worker.call, function, *arguments, **options)
        self._handed_out = [other for other in self._handed_out if not other.done()] + [future]
        return future

    def renew(self) -> None:
        """See Pool."""
        self._kill()
        stopping = self._stop.is_set()
        self._start()
        if stopping:
            self._stop.set()

    def ask_to_stop(self) -> None:
        """See Pool."""
        self._stop.set()

    def close(self) -> None:
        """See Pool. Idle workers are let go in peace: killing one can leave the executor's own locks taken."""
        self._stop.set()
        if all(future.done() for future in self._handed_out):
            self._executor.shutdown(wait=False)
            end = time.monotonic() + CLOSE_SECONDS
            for process in self._processes:
                process.join(max(0.0, end - time.monotonic()))
        # Where memory is short the executor may be unable to tell them; nobody must wait for them then.
        self._kill()

    def _kill(self) -> None:
        """End the workers for good: they ignore the SIGTERM with which an executor ends the mates of a dead one."""
        for process in self._processes:
            process.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _start(self) -> None:
        context = _fork_server()
        with _starting():
            self._stop = context.Event()
            self._executor = self._started(context)
        self._processes = list(self._executor._processes.values())

    def _started(self, context: BaseContext) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(
            self.size, mp_context=context, initializer=worker.start, initargs=(self._config_path, self._stop)
        )
        try:
            pending = [executor.submit(os.getpid) for _ in range(self.size)]
            for future in pending:
                future.result(timeout=START_SECONDS)
        except BaseException:
            for process in executor._processes.values():
                process.kill()  # nobody else ends those that came up, and this process would wait for them
            executor.shutdown(wait=False, cancel_futures=True)
            raise
        return executor


@contextmanager
def _starting() -> Iterator[None]:
    """Raise HostLimit or WorkersUnusable for what keeps processes from starting."""
    try:
        yield
    except (BrokenExecutor, OSError, EOFError, RuntimeError, MemoryError) as error:
        raise host_limits.refusal(error) or WorkersUnusable from error


def _fork_server() -> BaseContext:
    """Workers are forked by a small process that has no thread; this one has some."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rra_state.stages.import_stage", "rra_state.stages.migrate_stage"])
    with _signals_blocked(), _starting():
        # The fork server would otherwise die of a SIGTERM sent to the process group, and every worker with it.
        forkserver.ensure_running()
    return context


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM while a process is started that must inherit that; any thread may."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


__all__ = ["BrokenExecutor", "Pool", "ProcessPool", "open_pool"]
