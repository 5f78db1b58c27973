"""Where chunks of runs are worked on: a small interface that a cluster can implement, and local processes."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import time
import types
from collections.abc import Callable, Iterator, Sequence
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


_prepared: list[ProcessPool] = []


def prepare(settings: Settings, runs: int, not_theirs: Sequence[int]) -> None:
    """Start what `open_pool` will give, for so many runs, while this process has no thread. Raises WorkersUnusable.

    Copies of this process, which take 10 ms each; a fork server would load the stages first, 0.3 s of a core.
    not_theirs: descriptors, the lock's for one, that workers must not keep open.
    """
    if settings.app.workers is None:
        _prepared.append(ProcessPool(settings, most=runs, copies_without=not_theirs))


def end_prepared() -> None:
    """End those workers, if nobody did: this process would wait for them."""
    while _prepared:
        _prepared.pop().close()


def open_pool(settings: Settings) -> Pool:
    """The workers that the configuration asks for. Raises ConfigError, WorkersUnusable."""
    if _prepared:
        return _prepared[0]
    if settings.app.workers is None:
        return ProcessPool(settings)
    try:
        from rra_state.execution.dask_pool import DaskPool  # noqa: PLC0415 - only clusters need Dask
    except ImportError as error:
        raise ConfigError(
            "app.workers: Dask is not installed ([dask])", hint="pip install 'run-record-archiver[dask]'"
        ) from error
    return DaskPool(settings)


class ProcessPool:
    """Worker processes on this machine."""

    def __init__(
        self, settings: Settings, *, most: int | None = None, copies_without: Sequence[int] | None = None
    ) -> None:
        """most: workers that there is work for.

        copies_without: make them by fork, without these descriptors; only for a process that has no thread.
        """
        size = settings.app.parallel_workers or len(os.sched_getaffinity(0))
        self.size = size if most is None else max(1, min(size, most))
        self._config_path = settings.path
        self._handed_out: list[Future[Any]] = []
        if copies_without is None:
            self._start(_fork_server())
        else:
            self._start(multiprocessing.get_context("fork"), copies_without)

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """See Pool."""
        future = self._executor.submit(worker.call, function, *arguments, **options)
        self._handed_out = [other for other in self._handed_out if not other.done()] + [future]
        return future

    def renew(self) -> None:
        """See Pool."""
        self._kill()
        stopping = self._stop.is_set()
        self._start(_fork_server())
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

    def _start(self, context: BaseContext, not_theirs: Sequence[int] = ()) -> None:
        with _starting():
            self._stop = context.Event()
            self._executor = self._started(context, (self._config_path, self._stop, not_theirs))
        self._processes = list(self._executor._processes.values())

    def _started(self, context: BaseContext, arguments: tuple[Any, ...]) -> ProcessPoolExecutor:
        executor = ProcessPoolExecutor(self.size, mp_context=context, initializer=worker.start, initargs=arguments)
        with _main_hidden():
            # A worker would otherwise import Snakemake's main module again: 0.7 s of a core for each.
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
    """Workers from a small process that has no thread: for whoever has threads, or may have."""
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
