"""Worker processes on other machines: a Dask distributed cluster that is already there.

Chunks travel as run numbers; each worker loads the configuration from the same path, so no secret travels. Dask itself
gives a chunk whose worker died to another one; what is left of that, the driver tries run by run.
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
from rra_state.stages.worker import Bench
from rra_state.state.outcome import Outcome

SCHEME = "dask://"
START_SECONDS = 60
"""Longest wait for the scheduler, and for a worker to come (again)."""
_LOOK_SECONDS = 1.0
_LOST = (KilledWorker, CancelledError, TimeoutError, OSError, distributed.client.FutureCancelledError)
"""What stands for a worker or a scheduler that is gone, not for an error of ours."""
_CLOSED = getattr(distributed.client, "ClosedClientError", RuntimeError)  # older ones raise a RuntimeError
_UNREACHABLE = (*_LOST, _CLOSED, RuntimeError, ValueError)
"""What a client raises that has lost its scheduler: after a while it has closed itself (`IOLoop is closed`)."""


class DaskPool:
    """The workers of a cluster; implements `pool.Pool`."""

    def __init__(self, settings: Settings) -> None:
        """Raises WorkersUnusable if there is no scheduler at app.workers, or no worker."""
        self._address = f"tcp://{str(settings.app.workers).removeprefix(SCHEME)}"
        self._config_path = settings.path
        self._stop = f"rra-stop-{uuid.uuid4().hex}"
        self._stopped = False
        self._in_hand: dict[Future[Any], distributed.Future[Any]] = {}
        self._closed = threading.Event()
        self._client = self._connected()
        self._say(stop=False)
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
        """See Pool. The scheduler may have been restarted; workers come by themselves."""
        self._give_up("renewed")
        self._client.close(timeout=2)
        self._client = self._connected()
        self._say(stop=self._stopped)

    def ask_to_stop(self) -> None:
        """See Pool."""
        self._stopped = True
        try:
            self._say(stop=True)
        except _UNREACHABLE:
            return  # without a scheduler there is nobody to be told

    def _say(self, *, stop: bool) -> None:
        distributed.Variable(self._stop, client=self._client).set(stop, timeout="2s")

    def close(self) -> None:
        """See Pool. Workers stay: they are the cluster's."""
        self._closed.set()
        self.ask_to_stop()
        self._give_up("closed")
        self._client.close(timeout=2)

    def _connected(self) -> distributed.Client:
        try:
            client = distributed.Client(self._address, timeout=START_SECONDS, set_as_default=False)
            client.wait_for_workers(1, timeout=START_SECONDS)
        except _LOST as error:
            raise WorkersUnusable(
                f"no Dask worker can be had at {self._address} within {START_SECONDS} s",
                hint="see docs/scale.md: start the scheduler and its workers",
            ) from error
        self.size = len(client.nthreads())
        return client

    def _done(self, future: Future[Any], task: distributed.Future[Any]) -> None:
        """Hand a result on; whoever waits for it knows only BrokenExecutor."""
        if self._in_hand.pop(future, None) is None:
            return  # given up before
        try:
            future.set_result(task.result())
        except _LOST as error:
            future.set_exception(BrokenExecutor(f"a Dask worker is gone: {error!r}"))
        except Exception as error:  # of ours, on the worker: the driver raises it
            future.set_exception(error)

    def _watch(self) -> None:
        """Count the workers, and give up what nobody will do: without a worker Dask waits for ever."""
        alone_since = None
        while not self._closed.wait(_LOOK_SECONDS):
            number = self._workers()
            self.size = max(number, 1)
            alone_since = None if number else alone_since or time.monotonic()
            if alone_since is not None and time.monotonic() - alone_since > _LOOK_SECONDS * 5:
                self._give_up("no worker is left")
                alone_since = None

    def _workers(self) -> int:
        """How many there are, none where the scheduler does not say."""
        try:
            return len(self._client.nthreads())
        except (*_UNREACHABLE, AttributeError):  # a closed client asks None
            return 0

    def _give_up(self, why: str) -> None:
        while self._in_hand:
            future, task = self._in_hand.popitem()
            task.release()
            future.set_exception(BrokenExecutor(why))


# ---- on the worker -------------------------------------------------------------------------------------------------


class _Stop:
    """The driver's wish to stop, asked of the scheduler at most twice a second."""

    def __init__(self, name: str) -> None:
        self._wish = distributed.Variable(name)
        self._asked, self._answer = 0.0, False

    def is_set(self) -> bool:
        """See worker.Flag."""
        if not self._answer and time.monotonic() - self._asked > _LOOK_SECONDS / 2:
            self._answer = bool(self._wish.get(timeout="10s"))
            self._asked = time.monotonic()
        return self._answer

    def wait(self, timeout: float | None = None) -> bool:
        """See worker.Flag."""
        end = time.monotonic() + (float("inf") if timeout is None else timeout)
        while not self.is_set() and time.monotonic() < end:
            time.sleep(min(_LOOK_SECONDS / 2, max(0.0, end - time.monotonic())))
        return self._answer


_lock = threading.Lock()
_benches: dict[tuple[Path, str], Bench] = {}


def _call(config_path: Path, stop: str, function: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Run a stage's function with this process's bench. One at a time, however many threads the worker has.

    A fault of this host, such as records it does not see, is told with its name and costs no run anything.
    """
    with _lock:
        try:
            bench = _benches.get((config_path, stop))
            if bench is None:
                bench = Bench(loading.load(config_path), _Stop(stop))
                _benches.clear()
                _benches[config_path, stop] = bench
            outcomes = function(arguments[0], bench, *arguments[1:], **options)
        except ArchiverError as error:
            outcomes = [Outcome(run, error=WorkersUnusable(str(error), hint=error.hint)) for run in arguments[0]]
    for outcome in outcomes:
        if outcome.error is not None and outcome.error.stops_cycle:
            outcome.error.message = f"Dask worker on {socket.gethostname()}: {outcome.error.message}"
    return outcomes
