"""The driver: groups ready runs into chunks, keeps the workers busy, commits the outcomes.

A refresh goes to a worker twice: first to stage its new version, and to replace its blob once that is published.

Independent of Snakemake: a Listener gets the outcome of each run. One thread does all the work; `add` and `stop` put a
message into its queue and return.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import BrokenExecutor, Future
from dataclasses import dataclass, field
from typing import Any, Protocol

from rra_state.base.errors import ArchiverError, Interrupted, WorkerLost, WorkersUnusable
from rra_state.execution.commit import Committer
from rra_state.execution.pool import Pool
from rra_state.state.changed_records import Refresh
from rra_state.state.outcome import STAGES, Facts, Outcome, Stage
from rra_state.stores.artdaqdb.base import ArtdaqDB, Location
from rra_state.stores.ucondb.values import BlobVersion
from rra_state.workers.import_stage import import_runs
from rra_state.workers.migrate_stage import migrate_runs
from rra_state.workers.refresh_stage import replace_blobs, stage_changed, version_to_replace, was_named

CHUNK = 25
"""Runs of an import or migration handed to a worker at once.

Enough to share an fsync and an index, few enough to stop within seconds.
"""
SMALL_CHUNK = 4
CHUNKS_PER_WORKER = 2

CLOSE_SECONDS = 2.0
"""Longest wait for the driver's thread to end."""
PUBLISHING_SHARE = 0.05
"""Largest share of the time that goes into publishing, which rewrites an index that grows with the archive. What is
staged meanwhile is published together."""
SHORT_SECONDS = 0.05
"""While publishing takes less than this, every chunk is published by itself."""
MAX_POOL_RESTARTS = 5
"""Consecutive pool restarts without a finished chunk; after that the workers are blamed, not the runs."""


_STAGES: tuple[Stage, ...] = (*STAGES, "refresh")
_LACKS_MEMORY = "mostly for lack of memory: see dmesg, then retry"


class Listener(Protocol):
    """Gets the driver's results, in the driver's thread."""

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """These runs are archived, failed, or untried (the store or the work directory failed), and that is durable."""

    def dropped(self, stage: Stage, numbers: Sequence[int]) -> None:
        """These runs were not begun."""

    def stopping(self, number: int) -> None:
        """The window was interrupted: nothing more is handed out, and about `number` begun runs will be finished."""

    def stage_stopped(self, error: ArchiverError) -> None:
        """Nothing more of the stage `error.stage` is handed out; the other one goes on."""

    def stopped(self, error: ArchiverError) -> None:
        """Nothing more is handed out, and no worker has a run any more."""

    def broken(self, error: BaseException) -> None:
        """The driver itself failed; its thread has ended."""


@dataclass(frozen=True)
class _Chunk:
    """Runs at one worker. alone: a single run whose first worker died."""

    stage: Stage
    numbers: tuple[int, ...]
    generation: int
    alone: bool = False


@dataclass
class _Staged:
    """Imported and changed runs that are not published yet. due: earliest time to publish them, monotonic seconds."""

    imports: list[Outcome] = field(default_factory=list)
    refreshes: list[Outcome] = field(default_factory=list)
    due: float = 0.0

    def wait(self) -> float | None:
        """Seconds until they may be published; None if there are none."""
        return max(0.0, self.due - time.monotonic()) if self.imports or self.refreshes else None

    def published(self, began: float) -> None:
        """Set the next time, after a publication that began at `began`."""
        now = time.monotonic()
        self.due = now + (now - began) / PUBLISHING_SHARE if now - began > SHORT_SECONDS else now


@dataclass
class _Refreshing:
    """A refresh under way. may_shrink: see `stage_changed`. replaced: the blob to replace.

    facts: of the new version, once that is published.
    """

    wanted: Refresh
    may_shrink: bool
    replaced: BlobVersion | None = None
    facts: Facts | None = None


class Driver:
    """Runs one window's chunks on a pool. Start it with the first `add`, end it with `close`."""

    def __init__(
        self, pool: Pool, artdaqdb: ArtdaqDB, committer: Committer, listener: Listener, *, validate: bool = False
    ) -> None:
        self._pool = pool
        self._artdaqdb = artdaqdb
        self._committer = committer
        self._listener = listener
        self._validate = validate
        self._ready: dict[Stage, deque[int]] = {stage: deque() for stage in _STAGES}
        self._suspects: deque[tuple[Stage, int]] = deque()
        """Runs whose worker died; each is tried alone."""
        self._in_hand: dict[Future[list[Outcome]], _Chunk] = {}
        self._staged = _Staged()
        self._published: dict[int, Location] = {}
        self._refreshing: dict[int, _Refreshing] = {}
        self._generation = 0
        self._restarts = 0
        self._fault: ArchiverError | None = None
        self._stopped_stages: set[str] = set()
        self._stopped = False
        self._messages: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name="rra-driver", daemon=True)

    def add(self, stage: Stage, numbers: Sequence[int]) -> None:
        """Queue these runs, in this order."""
        self._post(lambda: self._ready[stage].extend(numbers))

    def add_refreshes(self, wanted: Sequence[Refresh]) -> None:
        """Queue the refreshes of these changed records, at most one per run."""
        self._post(lambda: self._take_refreshes(wanted))

    def stop(self, error: ArchiverError) -> None:
        """Let chunks in hand finish, drop the rest. Safe in a signal handler."""
        self._messages.put(lambda: self._halt(error))

    def close(self) -> None:
        """End thread and workers."""
        self._messages.put(None)
        self._pool.close()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(CLOSE_SECONDS)

    def _post(self, message: Callable[[], None]) -> None:
        if self._thread.ident is None:  # one that ended is not started again: `broken` was called
            self._thread.start()
        self._messages.put(message)

    def _take_refreshes(self, wanted: Sequence[Refresh]) -> None:
        for each in wanted:
            refreshing = _Refreshing(each, may_shrink=was_named(self._committer.tree, each))
            self._refreshing[each.run] = refreshing
            try:
                refreshing.replaced = version_to_replace(self._committer.tree, each.run)
            except ArchiverError as error:
                self._commit("refresh", [Outcome(each.run, error=error)])
            else:
                self._ready["refresh"].append(each.run)

    def _serve(self) -> None:
        try:
            while (message := self._next_message()) is not None:
                message()
                self._hand_out()
                if self._staged.wait() == 0 or not self._in_hand:
                    self._publish()
        except BaseException as error:
            self._listener.broken(error)

    def _next_message(self) -> Callable[[], None] | None:
        """The next message, or an empty one when it is time to publish."""
        try:
            return self._messages.get(timeout=self._staged.wait())
        except queue.Empty:
            return lambda: None

    # ---- handing out ----

    def _hand_out(self) -> None:
        self._drop(self._stopped_stages)
        while self._fault is None and (chunk := self._next()) is not None:
            try:
                self._submit(chunk)
            except ArchiverError as error:
                self._listener.dropped(chunk.stage, chunk.numbers)
                self._halt(error)
        if self._fault is not None:
            self._drop(_STAGES)
            at_work = self._in_hand or self._staged.wait() is not None
            if not at_work and not self._stopped:
                self._stopped = True
                self._listener.stopped(self._fault)

    def _next(self) -> _Chunk | None:
        """The next chunk, if there is one and a worker is free. The stage with the fewest chunks at work goes first."""
        if any(chunk.alone for chunk in self._in_hand.values()):
            return None
        if self._suspects:
            if self._in_hand:
                return None
            stage, run = self._suspects.popleft()
            return _Chunk(stage, (run,), self._generation, alone=True)
        if len(self._in_hand) >= CHUNKS_PER_WORKER * self._pool.size:
            return None
        waiting = [stage for stage in _STAGES if self._ready[stage]]
        if not waiting:
            return None
        busy = [chunk.stage for chunk in self._in_hand.values()]
        stage = min(waiting, key=busy.count)
        ready = self._ready[stage]
        size = 1 if stage == "refresh" else self._chunk_size(len(ready))
        numbers = tuple(ready.popleft() for _ in range(size))
        return _Chunk(stage, numbers, self._generation)

    def _chunk_size(self, waiting: int) -> int:
        """Large while many runs wait, smaller towards the end so that all workers finish together."""
        even_share = -(-waiting // self._pool.size)
        return min(CHUNK, max(-(-even_share // CHUNKS_PER_WORKER), min(SMALL_CHUNK, even_share)))

    def _submit(self, chunk: _Chunk) -> None:
        located = self._located(chunk)
        function, options = self._call(chunk)
        try:
            future = self._pool.submit(function, chunk.numbers, located, **options)
        except BrokenExecutor:
            self._lost(chunk)
            return
        self._in_hand[future] = chunk
        future.add_done_callback(lambda done: self._messages.put(lambda: self._done(done)))

    def _call(self, chunk: _Chunk) -> tuple[Callable[..., list[Outcome]], dict[str, Any]]:
        """The stage's function for a chunk, and its keyword arguments."""
        if chunk.stage == "import":
            return import_runs, {}
        if chunk.stage == "migrate":
            return migrate_runs, {"validate": self._validate}
        [run] = chunk.numbers
        refreshing = self._refreshing[run]
        if refreshing.facts is None:
            return stage_changed, {"wanted": {run: refreshing.wanted}, "may_shrink": refreshing.may_shrink}
        return replace_blobs, {"facts": {run: refreshing.facts}, "replaced": {run: refreshing.replaced}}

    def _located(self, chunk: _Chunk) -> dict[int, Location]:
        """Where artdaqDB holds the runs of a chunk. What this driver published is remembered: a look-up can be slow."""
        known = {}
        if chunk.stage != "import":
            known = {run: self._published.pop(run) for run in chunk.numbers if run in self._published}
        rest = [run for run in chunk.numbers if run not in known]
        return known | self._artdaqdb.locate(rest) if rest else known

    # ---- results ----

    def _done(self, future: Future[list[Outcome]]) -> None:
        chunk = self._in_hand.pop(future)
        try:
            outcomes = future.result()
        except BrokenExecutor:
            self._lost(chunk)
            return
        except ArchiverError as error:
            outcomes = [Outcome(run, error=error) for run in chunk.numbers]
        self._restarts = 0
        if chunk.stage == "import":
            self._staged.imports += outcomes
            self._stop_if_needed(outcomes)
        elif chunk.stage == "refresh" and outcomes[0].staged is not None:
            self._staged.refreshes += outcomes
        else:
            self._commit(chunk.stage, outcomes)

    def _publish(self) -> None:
        """Publish and commit what is staged."""
        began, staged = time.monotonic(), self._staged
        if staged.wait() is None:
            return
        self._staged = _Staged()
        if staged.imports:
            self._commit("import", staged.imports)
        if staged.refreshes:
            self._publish_refreshes(staged.refreshes)
        self._staged.published(began)
        self._hand_out()

    def _publish_refreshes(self, outcomes: Sequence[Outcome]) -> None:
        for outcome in self._committer.publish_refreshes(outcomes):
            if outcome.staged is None:
                self._commit("refresh", [outcome])
                continue
            self._published[outcome.run] = outcome.staged.location
            self._refreshing[outcome.run].facts = outcome.facts
            self._ready["refresh"].append(outcome.run)

    def _commit(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        if stage == "refresh":
            final = [self._committer.commit_refresh(self._refreshing[each.run].wanted, each) for each in outcomes]
        else:
            final = self._committer.commit(stage, outcomes)
        for outcome in final if stage == "import" else ():
            if outcome.archived and outcome.staged is not None:
                self._published[outcome.run] = outcome.staged.location
        self._listener.committed(stage, final)
        self._stop_if_needed(final)

    def _stop_if_needed(self, outcomes: Sequence[Outcome]) -> None:
        """Stop the window, or one stage of it, at an error that is not one run's."""
        error = next((outcome.error for outcome in outcomes if outcome.error and outcome.error.stops_cycle), None)
        if error is None:
            return
        if error.stage is None:
            self._halt(error)
        elif error.stage not in self._stopped_stages:
            self._stopped_stages |= {error.stage, "refresh"}
            self._listener.stage_stopped(error)

    def _lost(self, chunk: _Chunk) -> None:
        """A worker died. Its runs, and those of all chunks that the pool lost with it, are tried again one by one."""
        if chunk.generation == self._generation:
            try:
                self._renew()
            except WorkersUnusable as error:
                self._listener.dropped(chunk.stage, chunk.numbers)
                self._halt(error)
                return
        if chunk.alone:
            lost = [Outcome(run, error=WorkerLost(run=run, hint=_LACKS_MEMORY), tries=2) for run in chunk.numbers]
            self._commit(chunk.stage, lost)
        else:
            self._suspects.extend((chunk.stage, run) for run in chunk.numbers)

    def _renew(self) -> None:
        """Start new workers. Raises WorkersUnusable if they do not start, or after too many restarts in a row."""
        self._restarts += 1
        self._generation += 1
        if self._restarts > MAX_POOL_RESTARTS:
            raise WorkersUnusable
        self._pool.renew()

    # ---- stopping ----

    def _halt(self, error: ArchiverError) -> None:
        """Hand out nothing more. The first reason counts; an error replaces an interruption."""
        first = self._fault is None
        if first or (isinstance(self._fault, Interrupted) and not isinstance(error, Interrupted)):
            self._fault = error
        self._pool.ask_to_stop()
        if first and isinstance(error, Interrupted):
            at_work = min(len(self._in_hand), self._pool.size)  # each worker finishes one run
            self._listener.stopping(at_work + len(self._staged.imports) + len(self._staged.refreshes))

    def _drop(self, stages: Collection[str]) -> None:
        """Drop the runs that wait in these stages."""
        for stage, waiting in self._ready.items():
            if waiting and stage in stages:
                self._listener.dropped(stage, list(waiting))
                waiting.clear()
        for stage, run in [each for each in self._suspects if each[0] in stages]:
            self._suspects.remove((stage, run))
            self._listener.dropped(stage, [run])
