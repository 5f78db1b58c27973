"""Workers on other machines: a Dask distributed cluster, which the site runs.

Chunks are sent as run numbers; each worker loads the configuration from the same path, so no secret is sent. If a
worker dies, Dask gives its chunk to another one; if that fails too, the driver tries the chunk's runs one by one.
Source: docs/design/architecture.md, Executor.
"""

from __future__ import annotations

import socket
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, CancelledError, Future
from functools import partial
from pathlib import Path
from typing import Any

import distributed
from distributed.scheduler import KilledWorker

from rra_state.base.errors import ArchiverError, WorkersUnusable
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.state.outcome import Outcome
from rra_state.workers.worker import WorkerContext

SCHEME = "dask://"
START_SECONDS = 60
"""Longest wait for the scheduler, and for a first worker."""
_POLL_SECONDS = 1.0
"""Between two counts of the workers."""
_LOST = (KilledWorker, CancelledError, TimeoutError, OSError, distributed.client.FutureCancelledError)
"""Exceptions that mean that a worker or the scheduler is gone."""
_CLOSED = getattr(distributed.client, "ClosedClientError", RuntimeError)  # older ones raise a RuntimeError
_UNREACHABLE = (*_LOST, _CLOSED, RuntimeError, ValueError)
"""Exceptions of a client that lost its scheduler, or that closed itself some time after that (`IOLoop is closed`)."""


class DaskPool:
    """The workers of a cluster; implements `pool.Pool`."""

    def __init__(self, settings: Settings, seconds: float = START_SECONDS) -> None:
        """Raises WorkersUnusable if `seconds` pass without a scheduler at app.workers, or without a worker."""
        self._seconds = seconds
        self._address = f"tcp://{str(settings.app.workers).removeprefix(SCHEME)}"
        self._config_path = settings.path
        self._stop = f"rra-stop-{uuid.uuid4().hex}"
        self._stopped = False
        self._in_hand: dict[Future[Any], distributed.Future[Any]] = {}
        self._closed = threading.Event()
        self._client = self._connected()
        threading.Thread(target=self._watch, name="rra-dask-watch", daemon=True).start()

    def submit(self, function: Callable[..., Any], *arguments: Any, **options: Any) -> Future[Any]:
        """See Pool."""
        call = partial(_call, self._config_path, self._stop, function, *arguments, **options)
        future: Future[Any] = Future()
        try:
            task = self._client.submit(call, pure=False)
        except _UNREACHABLE as error:
            raise BrokenExecutor(f"the Dask scheduler at {self._address} is gone") from error
        self._in_hand[future] = task
        task.add_done_callback(partial(self._done, future))
        return future

    def renew(self) -> None:
        """See Pool. The scheduler may have been restarted; its workers connect to it by themselves."""
        self._give_up("renewed")
        self._client.close(timeout=2)
        self._client = self._connected()

    def ask_to_stop(self) -> None:
        """See Pool."""
        self._stopped = True
        try:
            self._set_stop(self._client, seconds=2)
        except _UNREACHABLE:
            return  # without a scheduler no worker has a chunk

    def _set_stop(self, client: distributed.Client, seconds: float) -> None:
        """Say on the scheduler whether workers are to stop. Raises one of _UNREACHABLE."""
        distributed.Variable(self._stop, client=client).set(self._stopped, timeout=seconds)

    def close(self) -> None:
        """See Pool. The workers keep running: they belong to the cluster."""
        self._closed.set()
        self.ask_to_stop()
        self._give_up("closed")
        self._client.close(timeout=2)

    def _connected(self) -> distributed.Client:
        try:
            client = distributed.Client(self._address, timeout=self._seconds, set_as_default=False)
            client.wait_for_workers(1, timeout=self._seconds)
            self._set_stop(client, self._seconds)
        except _LOST as error:
            raise WorkersUnusable(
                f"no Dask worker can be had at {self._address} within {self._seconds:g} s",
                hint="see docs/scale.md: start the scheduler and its workers",
            ) from error
        self.size = len(client.nthreads())
        return client

    def _done(self, future: Future[Any], task: distributed.Future[Any]) -> None:
        """Pass a result on. Dask's exceptions for lost workers become BrokenExecutor, as in Pool."""
        if self._in_hand.pop(future, None) is None:
            return  # already given up
        try:
            future.set_result(task.result())
        except _LOST as error:
            future.set_exception(BrokenExecutor(f"a Dask worker is gone: {error}"))
        except Exception as error:  # an error of the stage's function
            future.set_exception(error)

    def _watch(self) -> None:
        """Keep `size` up to date. If there is no worker for some seconds, fail the chunks: Dask would wait for ever."""
        idle_since = None
        while not self._closed.wait(_POLL_SECONDS):
            number = self._workers()
            self.size = max(number, 1)
            idle_since = None if number else idle_since or time.monotonic()
            if idle_since is not None and time.monotonic() - idle_since > _POLL_SECONDS * 5:
                self._give_up("no worker is left")
                idle_since = None

    def _workers(self) -> int:
        """Number of workers; 0 if the scheduler does not answer."""
        try:
            return len(self._client.nthreads())
        except (*_UNREACHABLE, AttributeError):  # a closed client has no scheduler object
            return 0

    def _give_up(self, why: str) -> None:
        while True:
            try:
                future, task = self._in_hand.popitem()
            except KeyError:  # empty: the last one may have been done just now, in Dask's thread
                return
            task.release()
            future.set_exception(BrokenExecutor(why))


# ---- on the worker -------------------------------------------------------------------------------------------------


class _Stop:
    """Whether the driver asked to stop; the scheduler is asked at most twice a second."""

    def __init__(self, name: str) -> None:
        self._variable = distributed.Variable(name)
        self._asked, self._answer = 0.0, False

    def is_set(self) -> bool:
        """See worker.Flag."""
        if not self._answer and time.monotonic() - self._asked > _POLL_SECONDS / 2:
            self._answer = bool(self._variable.get(timeout="10s"))
            self._asked = time.monotonic()
        return self._answer

    def wait(self, timeout: float | None = None) -> bool:
        """See worker.Flag."""
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not self.is_set() and time.monotonic() < end:
            time.sleep(min(_POLL_SECONDS / 2, max(0.0, end - time.monotonic())))
        return self._answer


_lock = threading.Lock()
_contexts: dict[tuple[Path, str], WorkerContext] = {}


def _call(config_path: Path, stop: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Run a stage's function with this process's WorkerContext, one call at a time whatever threads the worker has.

    An error of this host, such as records that it does not see, is reported with the host's name and fails no run.
    """
    with _lock:
        try:
            context = _contexts.get((config_path, stop))
            if context is None:
                context = WorkerContext(loading.load(config_path), _Stop(stop))
                _contexts.clear()
                _contexts[config_path, stop] = context
            outcomes = function(arguments[0], context, *arguments[1:], **options)
        except ArchiverError as error:
            outcomes = [Outcome(run, error=WorkersUnusable(str(error), hint=error.hint)) for run in arguments[0]]
    for outcome in outcomes:
        if outcome.error is not None and outcome.error.stops_cycle:
            outcome.error.message = f"Dask worker on {socket.gethostname()}: {outcome.error.message}"
    return outcomes
