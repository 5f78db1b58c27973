"""Migration stage: a run's documents in artdaqDB -> one blob in UconDB, read back and compared.

Takes run numbers, gives one Outcome per run, never raises for a single run's fault.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Mapping, Sequence

from rra_state import fuzz
from rra_state.bounds import within_memory
from rra_state.errors import ArchiverError, Interrupted, VerificationError
from rra_state.outcome import Facts, Outcome
from rra_state.records import blob
from rra_state.retry import attempt
from rra_state.stores.artdaqdb.base import Location
from rra_state.worker import Bench


def migrate_runs(
    numbers: Sequence[int], bench: Bench, located: Mapping[int, Location], *, validate: bool = False
) -> list[Outcome]:
    """Export, pack and store these runs. located: where artdaqDB holds them. validate: check the metadata keys."""
    outcomes: list[Outcome] = []
    fault: ArchiverError | None = None
    for run in numbers:
        if bench.stopping:
            fault = Interrupted()
        if fault is not None:
            outcomes.append(Outcome(run, error=fault))
            continue
        try:
            outcomes.append(
                within_memory(run, lambda run=run: _migrate(run, bench, located.get(run), validate=validate))  # type: ignore[misc]
            )
        except ArchiverError as error:
            outcomes.append(Outcome(run, error=error, tries=error.tries))
            fault = error if error.stops_cycle else None
    return outcomes


def _migrate(run: int, bench: Bench, location: Location | None, *, validate: bool) -> Outcome:
    """One run. Raises Conflict, VerificationError, StoreError and their kin."""
    if location is None:
        raise VerificationError(
            "has an import marker but artdaqDB does not show it",
            run=run,
            hint="put it right with --recover-import-state, then --retry-failed-import",
        )
    attempt(lambda: fuzz.strike(bench.settings.app_fuzz, run), **bench.retrying)
    export, _ = attempt(lambda: bench.artdaqdb.export(location), **bench.retrying)
    content = blob.pack(run, export.files)
    stored, tries = attempt(lambda: bench.ucondb.put(run, content), **bench.retrying)
    facts = Facts(
        verified=True,
        configuration=location.configuration.partition("/")[2],
        version=export.version,
        size=stored.version.size,
        adler32=zlib.adler32(content) if not stored.already else stored.version.adler32,
        sha256=hashlib.sha256(content).hexdigest(),
        ucondb_id=stored.version.id,
        ucondb_data_key=stored.version.data_key,
        problems=tuple(blob.validate(export.files, bench.settings.validation.metadata_keys)) if validate else (),
    )
    note = f"run {run}: UconDB already holds the same content" if stored.already else None
    return Outcome(run, facts=facts, tries=tries, note=note)
