"""Worker pools: the interface that a cluster can implement, and worker processes on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from multiprocessing.process import BaseProcess
from typing import Any, Protocol, TypeVar

from rra_state.base import host_limits
from rra_state.base.errors import ConfigError, WorkersUnusable
from rra_state.config.loading import Settings
from rra_state.workers import worker

T = TypeVar("T")

START_SECONDS = 60
"""Longest wait for worker processes to come up."""
CLOSE_SECONDS = 5.0
"""Longest wait for workers to end their run, and themselves."""


class Pool(Protocol):
    """Workers. If one died, `submit` raises BrokenExecutor, or its futures do; then call `renew` and submit again."""

    size: int

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Call a stage's function in a worker, with the worker's WorkerContext as second argument."""

    def renew(self) -> None:
        """Replace the workers after one died. Raises WorkersUnusable if the new ones do not start."""

    def ask_to_stop(self) -> None:
        """Let each worker finish its run and begin no other."""

    def close(self) -> None:
        """End the workers; those that stay busy for some seconds are killed."""


def open_pool(settings: Settings, *, most: int | None = None, seconds: float = START_SECONDS) -> Pool:
    """The workers that the configuration asks for. most: upper limit, the number of runs.

    seconds: longest wait for a cluster. Raises ConfigError, WorkersUnusable.
    """
    if settings.app.workers is None:
        return ProcessPool(settings, most=most)
    try:
        from rra_state.execution.dask_pool import DaskPool  # noqa: PLC0415 - only clusters need Dask
    except ImportError as error:
        raise ConfigError(
            "app.workers: Dask is not installed", hint="pip install distributed, in the archiver's environment"
        ) from error
    return DaskPool(settings, seconds)


class ProcessPool:
    """Worker processes on this machine, isolated (`python -I`) as this process is: multiprocessing passes that on."""

    def __init__(self, settings: Settings, *, most: int | None = None) -> None:
        """most: upper limit for the number of workers."""
        size = settings.app.parallel_workers or len(os.sched_getaffinity(0))
        self.size = size if most is None else max(1, min(size, most))
        self._config_path = settings.path
        self._handed_out: list[Future[Any]] = []
        self._start()

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """See Pool."""
        future = self._submit(worker.call, function, *arguments, **options)
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
        """See Pool. Idle workers end by themselves: to kill one can leave the executor's own locks held.

        A worker that is killed while it returns a result leaves the executor waiting for the rest of it for ever, and
        this process with it. So busy ones get some seconds to end their run.
        """
        self._stop.set()
        end = time.monotonic() + CLOSE_SECONDS
        if not wait(self._handed_out, CLOSE_SECONDS).not_done:
            self._executor.shutdown(wait=False)
            for process in self._workers():
                process.join(max(0.0, end - time.monotonic()))
        # Where memory is short the executor may be unable to end them.
        self._kill()

    def _kill(self) -> None:
        """SIGKILL the workers: they ignore SIGTERM, which ProcessPoolExecutor sends to the rest when one has died."""
        for process in self._workers():
            process.kill()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _workers(self) -> list[BaseProcess]:
        """The processes of this pool that are alive. The executor starts some of them only when chunks wait."""
        return [process for process in multiprocessing.active_children() if process not in self._others]

    def _start(self) -> None:
        context = _fork_server()
        self._others = multiprocessing.active_children()
        with _starting():
            self._stop = context.Event()
            self._executor = ProcessPoolExecutor(
                self.size, mp_context=context, initializer=worker.start, initargs=(self._config_path, self._stop)
            )
            try:
                for future in [self._submit(os.getpid) for _ in range(self.size)]:
                    future.result(timeout=START_SECONDS)
            except BaseException:
                self._kill()  # this process would wait at its end for those that did start
                raise

    def _submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """Submit with signals blocked: the executor may start a worker.

        An interruption meanwhile would leave a worker that `_workers` does not know, and that would outlive the pool.
        """
        with _signals_blocked():
            return self._executor.submit(function, *arguments, **options)


def in_chunks(
    settings: Settings, chosen: Sequence[int], size: int, hand_out: Callable[[Pool, Sequence[int]], Future[list[T]]]
) -> Iterator[T]:
    """The results for these runs as they come, from worker processes on this machine. size: runs of a chunk."""
    pool = ProcessPool(settings, most=len(chosen))
    waiting = deque(chosen[first : first + size] for first in range(0, len(chosen), size))
    in_hand: set[Future[list[T]]] = set()
    try:
        while waiting or in_hand:
            while waiting and len(in_hand) < 2 * pool.size:
                in_hand.add(hand_out(pool, waiting.popleft()))
            done, in_hand = wait(in_hand, return_when=FIRST_COMPLETED)
            for future in done:
                yield from future.result()
    except BrokenExecutor as error:
        raise WorkersUnusable from error
    finally:
        pool.close()


@contextmanager
def _starting() -> Iterator[None]:
    """Raise HostLimit or WorkersUnusable if processes do not start."""
    try:
        yield
    except (BrokenExecutor, OSError, EOFError, RuntimeError, MemoryError) as error:
        if refusal := host_limits.refusal(error):
            raise refusal from error
        if isinstance(error, TimeoutError):
            message = f"worker processes do not start within {START_SECONDS} s"
            raise WorkersUnusable(message, hint=host_limits.remedy("MemoryError")) from error
        if isinstance(error, OSError):  # such as "AF_UNIX path too long" under a long TMPDIR
            hint = "TMPDIR has to be a short path that this account can write to"
            raise WorkersUnusable(f"worker processes cannot be started: {error}", hint=hint) from error
        raise WorkersUnusable from error


def _fork_server() -> BaseContext:
    """Start the process that forks the workers. It has no threads; to fork this process, which has some, is unsafe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["rra_state.workers.import_stage", "rra_state.workers.migrate_stage"])
    with _signals_blocked(), _starting():
        # It inherits the blocked signals: a SIGTERM to the process group would end it, and every worker with it.
        forkserver.ensure_running()
    return context


@contextmanager
def _signals_blocked() -> Iterator[None]:
    """Block SIGINT and SIGTERM in this thread, so that a process started meanwhile inherits that."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGINT, signal.SIGTERM))
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
