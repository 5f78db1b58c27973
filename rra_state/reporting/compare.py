"""State files, failure logs and markers against what the places hold. Only reads.

Each discrepancy is one line with the runs and the command that mends it. What is as it should be, and what an operator
did on purpose, is told but is no discrepancy. Source: State Management Guide, Use --compare-state for Validation.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterator, Set
from dataclasses import dataclass, replace

from rra_state.base import run_numbers
from rra_state.base.wording import count
from rra_state.config.loading import Settings
from rra_state.reporting.status import Status
from rra_state.state.outcome import PLACES, Stage
from rra_state.state.planner import Planner
from rra_state.state.state_files import Derived, Keeper, Known, Ledger, derive, raised

_RULE = "=" * 70
_SOURCES: dict[Stage, str] = {"import": "on disk", "migrate": "in artdaqDB"}


@dataclass(frozen=True, slots=True)
class Finding:
    """A discrepancy. mend: the option that puts it right."""

    text: str
    mend: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Everything found. notes: lines that tell, in order; findings: what is off."""

    settings: Settings
    notes: tuple[str, ...]
    findings: tuple[Finding, ...]
    complete: bool = True

    @property
    def consistent(self) -> bool:
        """True if all places could be read and nothing is off."""
        return self.complete and not self.findings

    def text(self) -> str:
        """The comparison as it is printed."""
        command = f"./run_archiver.sh {shlex.quote(str(self.settings.path))}"
        lines = [_RULE, "STATE COMPARISON", _RULE, *self.notes]
        lines += [f"{finding.text}; mend with: {command} {finding.mend}" for finding in self.findings]
        if not self.complete:
            lines.append("NOT COMPARED: a place cannot be read")
        elif self.findings:
            lines.append(f"INCONSISTENT: {count(len(self.findings), 'discrepancy', 'discrepancies')}")
        else:
            lines.append("consistent: state files, failure logs and markers agree with the places")
        return "\n".join((*lines, _RULE)) + "\n"


@dataclass(frozen=True, slots=True)
class Books:
    """What the archiver wrote down of a stage, beside what is so.

    known: the runs as the places hold them. markers: runs with a marker. ledger: with an operator's edits taken over.
    state: the numbers in the state file by name, None without a file. log: runs in the failure log.
    names: of state file and failure log.
    """

    stage: Stage
    known: Known
    markers: Set[int]
    ledger: Ledger
    state: dict[str, int] | None
    log: Set[int]
    names: tuple[str, str]

    @property
    def expected(self) -> Derived:
        """State and log as they have to be."""
        ledger = self.ledger
        if ledger.held is None and ledger.attempted is not None:
            ledger = replace(ledger, attempted=raised(self.known, ledger.attempted, explicit=True))
        return derive(self.known, ledger)


def compare(status: Status) -> Comparison:
    """Compare what `status` found in the places with the books of both stages. Raises StateFileError."""
    notes = [line for place in status.places for line in _place(place.name, place.runs, place.error)]
    if not status.readable:
        return Comparison(status.settings, tuple(notes), (), complete=False)
    disk, artdaqdb, ucondb = (place.runs for place in status.places)
    both = (_books(status.settings, "import", disk, artdaqdb), _books(status.settings, "migrate", artdaqdb, ucondb))
    notes += [line for books in both for line in tell(books)]
    findings = [finding for books in both for finding in examine(books)]
    return Comparison(status.settings, tuple(notes), tuple(findings))


def _place(name: str, found: Set[int], error: Exception | None) -> Iterator[str]:
    if error is not None:
        yield f"{name}: {error}"
        return
    span = f", {min(found)} to {max(found)}" if found else ""
    gaps = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in run_numbers.gaps(found))
    yield f"{name}: {count(len(found), 'run')}{span}, {f'gaps: {gaps}' if gaps else 'no gaps'}"


def _books(settings: Settings, stage: Stage, source: Set[int], archived: Set[int]) -> Books:
    planner, keeper = Planner(settings), Keeper(settings, stage)
    as_noted = planner.known(stage)
    text = keeper.state_file.read_bytes() if keeper.state_file.exists() else None
    return Books(
        stage,
        Known(source, frozenset(archived), set(as_noted.failed) - archived, as_noted.is_open),
        as_noted.archived,
        keeper.read(as_noted),
        None if text is None else json.loads(text),
        keeper.read_log(),
        (keeper.state_file.name, keeper.log_file.name),
    )


def tell(books: Books) -> Iterator[str]:
    """What an operator should know of a stage although nothing is off."""
    stage, (state_file, log_file) = books.stage, books.names
    state, held, base = books.expected.state, books.ledger.held, books.ledger.base
    if held is not None:
        yield (
            f"{state_file} was edited by hand: contiguous to {held.last_contiguous_run}, attempted to"
            f" {held.last_attempted_run}; incremental mode goes on above {held.start}"
        )
    else:
        counted = f", counted from {base} as edited by hand" if base else ""
        yield f"{stage}: contiguous to {state.last_contiguous_run}, attempted to {state.last_attempted_run}{counted}"
    waiting = books.log - books.known.archived
    if waiting:
        yield f"{log_file}: {count(len(waiting), 'run')} to retry: {run_numbers.text(waiting)}"
    nowhere = waiting - set(books.known.source)
    if nowhere:
        yield f"{log_file} lists runs that are not {_SOURCES[stage]}: {run_numbers.text(nowhere)}"


def examine(books: Books) -> Iterator[Finding]:
    """What is off in the books of one stage."""
    stage, place, known = books.stage, PLACES[books.stage], books.known
    recover, (state_file, log_file) = f"--recover-{stage}-state", books.names
    unmarked, lost = known.archived - books.markers, books.markers - known.archived
    # A cycle puts right what follows from the markers, and leaves an operator's base alone; markers need the stores.
    derived = recover if unmarked or lost else "--incremental"
    if lost:
        yield Finding(f"{stage}: runs with a marker that {place} does not hold: {run_numbers.text(lost)}", recover)
    if unmarked:
        yield Finding(f"{stage}: runs in {place} without a marker: {run_numbers.text(unmarked)}", recover)
    expected = books.expected
    if books.state is None:
        if known.archived:
            yield Finding(
                f"{stage}: {state_file} is missing, {place} holds {count(len(known.archived), 'run')}", recover
            )
    elif books.ledger.held is None:
        for name in ("last_contiguous_run", "last_attempted_run"):
            written, true = books.state[name], getattr(expected.state, name)
            if written != true:
                yield Finding(f"{stage}: {state_file} says {name} {written}, {place} says {true}", derived)
    stale, unlisted = books.log & known.archived, set(expected.log) - books.log
    if stale:
        yield Finding(f"{stage}: runs in {log_file} that are archived: {run_numbers.text(stale)}", derived)
    if unlisted and books.state is not None:
        yield Finding(f"{stage}: missing runs not in {log_file}: {run_numbers.text(unlisted)}", derived)
