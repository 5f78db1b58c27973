"""State files, failure logs and markers against what the sites hold: what `--compare-state` prints. Pure.

What an operator did on purpose is a note and no discrepancy.
Source: docs/design/state.md, Comparison.
"""

from __future__ import annotations

from collections.abc import Iterator, Set
from dataclasses import asdict, dataclass, replace

from rra_state.base import run_numbers
from rra_state.base.wording import count
from rra_state.state.outcome import STORES, Stage
from rra_state.state.state_files import Derived, Known, State, Written, derive, raised

_SOURCES: dict[Stage, str] = {"import": "on disk", "migrate": "in artdaqDB"}


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """Something that does not agree. remedy: the option that repairs it."""

    text: str
    remedy: str


@dataclass(frozen=True, slots=True)
class StageRecords:
    """The archiver's files and markers of a stage, beside what the sites hold.

    known: the runs as the sites hold them; one under which the store holds other content is not archived.
    markers: runs with a marker. written: what the files say. damaged: what is wrong with markers that cannot be read.
    """

    stage: Stage
    known: Known
    markers: Set[int]
    written: Written
    damaged: tuple[str, ...] = ()

    @property
    def unmarked(self) -> Set[int]:
        """Runs in the store without a marker."""
        return self.known.archived - self.markers

    @property
    def lost(self) -> Set[int]:
        """Runs with a marker that the store does not hold."""
        return self.markers - self.known.archived

    @property
    def expected(self) -> Derived:
        """State and log as they have to be; what another program archived counts as attempted."""
        ledger = self.written.ledger
        if ledger.held is None and ledger.attempted is not None:
            ledger = replace(ledger, attempted=raised(self.known, ledger.attempted, explicit=not self.unmarked))
        return derive(self.known, ledger)


def notes(records: StageRecords) -> Iterator[str]:
    """What an operator should know of a stage that is no discrepancy."""
    written, (state_file, log_file) = records.written, records.written.names
    held, base, true = written.ledger.held, written.ledger.base, records.expected.state
    if held is not None:
        yield f"{state_file} was edited by hand: {_numbers(held)}; incremental mode goes on above {held.start}"
    elif written.state is None:
        yield f"{records.stage}: {_numbers(true)}"
    else:
        counted = f", counted from {base} as edited by hand" if base else ""
        differs = "" if written.state == true else f"; should be {_numbers(true)}"
        yield f"{state_file}: {_numbers(written.state)}{counted}{differs}"
    waiting = written.log - records.known.archived
    if waiting:
        yield f"{log_file}: {count(len(waiting), 'run')} to retry: {run_numbers.text(waiting)}"
    nowhere = waiting - set(records.known.source)
    if nowhere:
        yield f"{log_file} lists runs that are not {_SOURCES[records.stage]}: {run_numbers.text(nowhere)}"


def discrepancies(records: StageRecords) -> Iterator[Discrepancy]:
    """What disagrees in the files and markers of one stage; a damaged file first."""
    stage, store, written = records.stage, STORES[records.stage], records.written
    recover, (state_file, log_file) = f"--recover-{stage}-state", written.names
    if written.error is not None:
        yield Discrepancy(str(written.error), recover)
    if records.lost:
        runs = run_numbers.text(records.lost)
        yield Discrepancy(f"{stage}: runs with a marker that {store} does not hold: {runs}", recover)
    if records.unmarked:
        yield Discrepancy(f"{stage}: runs in {store} without a marker: {run_numbers.text(records.unmarked)}", recover)
    yield from (Discrepancy(text, recover) for text in records.damaged)
    if written.error is not None:
        return
    # A cycle rewrites what follows from the markers, and keeps an operator's base. To repair markers takes a recovery.
    remedy = recover if records.unmarked or records.lost else "--incremental"
    expected, archived = records.expected, records.known.archived
    if written.state is None:
        if archived:
            held = count(len(archived), "run")
            yield Discrepancy(f"{stage}: {state_file} is missing, {store} holds {held}", recover)
    elif written.ledger.held is None:
        for name, number in asdict(written.state).items():
            if number != (true := getattr(expected.state, name)):
                yield Discrepancy(f"{stage}: {state_file} says {name} {number}, {store} says {true}", remedy)
    stale, unlisted = written.log & archived, set(expected.log) - written.log
    if stale:
        yield Discrepancy(f"{stage}: runs in {log_file} that are archived: {run_numbers.text(stale)}", remedy)
    if unlisted and written.state is not None:
        yield Discrepancy(f"{stage}: missing runs not in {log_file}: {run_numbers.text(unlisted)}", remedy)


def _numbers(state: State) -> str:
    return f"contiguous to {state.last_contiguous_run}, attempted to {state.last_attempted_run}"
