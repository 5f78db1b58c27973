"""Migration stage: a run's documents in artdaqDB -> one blob in UconDB, read back and compared.

Takes run numbers and returns one Outcome per run; an error of one run is in its Outcome, not raised. While one blob is
stored in UconDB and read back, the next run is read and packed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeVar

from rra_state.base.errors import ArchiverError, Interrupted, RecordTooLarge
from rra_state.records import blob
from rra_state.records.model import SourceFile
from rra_state.state.outcome import Facts, Outcome
from rra_state.stores.artdaqdb.base import Location
from rra_state.workers import injected_faults
from rra_state.workers.import_stage import facts_to_migrate
from rra_state.workers.worker import WorkerContext, attempt, shown

SMALL = 2**20
"""Bytes. While a larger blob is stored no other run is read, so that it has all of the worker's memory."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Packed:
    """A run that is ready for UconDB. sources: its original texts. facts: what is known before it is there."""

    run: int
    content: bytes
    sources: tuple[SourceFile, ...]
    facts: Facts


def migrate_runs(
    numbers: Sequence[int], context: WorkerContext, located: Mapping[int, Location], *, validate: bool = False
) -> list[Outcome]:
    """Export, pack and store these runs. located: where artdaqDB holds them. validate: check the metadata keys."""
    chunk = _MigratingChunk(context)
    for run in numbers:
        made = chunk.tried(run, partial(_pack, run, context, located.get(run), validate=validate))
        chunk.finish_store()
        chunk.send(made, alone=run == numbers[-1])
    chunk.finish_store()
    return chunk.outcomes


class _MigratingChunk:
    """The outcomes so far, in order, and the run that is being stored.

    After an error of a store, or a stop by the driver, all further runs are untried.
    """

    def __init__(self, context: WorkerContext) -> None:
        self.outcomes: list[Outcome] = []
        self._context = context
        self._fault: ArchiverError | None = None
        self._under_way: tuple[_Packed, Future[Outcome]] | None = None

    def tried(self, run: int, action: Callable[[], T]) -> T | Outcome:
        """The result of `action`, or the outcome of a run that failed or is not begun any more."""
        if self._context.stopping and self._fault is None:
            self._fault = Interrupted()
        if self._fault is not None:
            return Outcome(run, error=self._fault)
        made = attempt(run, action)
        if self._under_way is not None and isinstance(made, Outcome) and isinstance(made.error, RecordTooLarge):
            self.finish_store()  # the run that is being stored may be what filled the memory
            return self.tried(run, action)
        return made

    def finish_store(self) -> None:
        """Wait for the run that is being stored, if there is one."""
        if self._under_way is None:
            return
        (packed, stored), self._under_way = self._under_way, None
        outcome = stored.result()
        if isinstance(outcome.error, RecordTooLarge):
            self._store(packed)  # again, without another run in memory
        else:
            self._note(outcome)

    def send(self, made: _Packed | Outcome, *, alone: bool) -> None:
        """Begin to store a run. If it is `alone`, or large, wait until it is stored."""
        if isinstance(made, Outcome) or self._fault is not None:
            self._note(made if isinstance(made, Outcome) else Outcome(made.run, error=self._fault))
        elif alone or len(made.content) > SMALL:
            self._store(made)
        else:
            try:
                stored = self._context.sender.submit(attempt, made.run, partial(_store, made, self._context))
                self._under_way = (made, stored)
            except RuntimeError:  # no further thread can be started
                self._store(made)

    def _store(self, packed: _Packed) -> None:
        self._note(attempt(packed.run, partial(_store, packed, self._context)))

    def _note(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        if outcome.error is not None and outcome.error.stops_cycle:
            self._fault = outcome.error


def _pack(run: int, context: WorkerContext, location: Location | None, *, validate: bool) -> _Packed:
    """Read one run from artdaqDB. Raises VerificationError, BlobError, StoreError and their subclasses."""
    location = shown(run, location)
    context.with_retries(partial(injected_faults.inject_fault, context.settings.app_fuzz, run))
    export = context.export(location)
    content = context.pack(run, export)
    facts = replace(
        facts_to_migrate(location, export, context),
        verified=True,
        configuration=location.configuration.partition("/")[2],
        version=export.version,
        problems=tuple(blob.validate(export.files, context.settings.validation.metadata_keys)) if validate else (),
    )
    return _Packed(run, content, export.sources, facts)


def _store(packed: _Packed, context: WorkerContext) -> Outcome:
    """Store its blob. Raises Conflict, NotListed, VerificationError, StoreError and their subclasses."""
    run = packed.run
    stored, tries = context.put(run, packed.content, packed.sources)
    facts = packed.facts.of_blob(stored.content, stored.version)
    note = f"run {run}: UconDB already holds the same content" if stored.already else None
    return Outcome(run, facts=facts, tries=tries, note=note)
