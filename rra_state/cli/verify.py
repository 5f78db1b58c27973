"""`--verify`: read every archived run back from both stores and compare. Repairs nothing.

Runs beside a cycle. It takes the lock only to complete markers that say `verified: false`.
Source: docs/design/state.md, Verification and findings.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field, replace
from datetime import date

from rich.progress import Progress

from rra_state.base import run_numbers
from rra_state.base.errors import LockHeld, UsageError, WorkersUnusable
from rra_state.base.lock import Lock
from rra_state.base.wording import count, printable
from rra_state.config.loading import Settings
from rra_state.cycle import display
from rra_state.execution.pool import ProcessPool
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Stage
from rra_state.stores import artdaqdb
from rra_state.workers.verify_stage import RunVerification, verify_runs

CHUNK = 20
"""Runs handed to a worker at once."""
Print = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Subset:
    """Part `number` of `of`: always the same runs, so that a weekly timer reaches all (`week/8`).

    >>> [run for run in range(1, 15) if Subset.parse("2/7").has(run)]
    [1, 8]
    """

    number: int
    of: int

    @classmethod
    def parse(cls, text: str, today: date | None = None) -> Subset:
        """`1/7`, or `week/7` for the part of this week (Monday to Sunday). Raises UsageError."""
        match = re.fullmatch(r"([1-9][0-9]{0,5}|week)/([1-9][0-9]{0,5})", text)
        if match is None or (match[1] != "week" and int(match[1]) > int(match[2])):
            raise UsageError(f"--subset {text}: not a part such as 1/7", hint="the first number goes up to the second")
        of = int(match[2])
        if match[1] != "week":
            return cls(int(match[1]), of)
        monday = (
            (today or date.today()).toordinal() - 1
        ) // 7  # weeks since a Monday, so that no part is skipped at the end of a year
        return cls(monday % of + 1, of)

    def has(self, run: int) -> bool:
        """Whether the run is in this part."""
        return run % self.of == self.number - 1


@dataclass
class Verification:
    """Result of `--verify`. differing: runs with a difference. filled: markers that now say `verified`."""

    total: int = 0
    differing: set[int] = field(default_factory=set)
    filled: int = 0

    @property
    def good(self) -> bool:
        """True if all that was read is equal."""
        return not self.differing

    def text(self) -> str:
        """The last line."""
        equal = self.total - len(self.differing)
        text = f"verified {count(self.total, 'run')}: {equal} equal"
        return text + (f", {len(self.differing)} not: {run_numbers.text(self.differing)}" if self.differing else "")


def not_archived(settings: Settings, named: str | None) -> set[int]:
    """Runs named by `--runs` that have no marker: those named singly, or all of a range without any marker."""
    if named is None:
        return set()
    tree, wanted = Tree(settings.app.work_dir), frozenset(run_numbers.parse(named))
    missing = wanted - tree.archived("import") - tree.archived("migrate")
    return set(missing if missing == wanted else missing & run_numbers.named_alone(named))


def verify(settings: Settings, wanted: Callable[[int], bool], print_line: Print) -> Verification:
    """Read back every archived run that is `wanted`, and print each difference. Raises ArchiverError."""
    tree = Tree(settings.app.work_dir)
    chosen = sorted(filter(wanted, tree.archived("import") | tree.archived("migrate")))
    result = Verification()
    facts: dict[int, Mapping[Stage, Facts]] = {}
    alone: set[int] = set()
    with _progress() as advance:
        for found in _results(settings, chosen):
            result.total += 1
            advance()
            for difference in found.differences:
                result.differing.add(found.run)
                print_line(f"run {found.run}: {printable(difference)}")
            if found.facts:
                facts[found.run] = found.facts
            if not found.on_disk:
                alone.add(found.run)
    result.filled = _fill_in(settings, tree, facts, print_line)
    if alone:
        print_line(f"{len(alone)} of them could not be compared with a record on disk: {run_numbers.text(alone)}")
    print_line(result.text())
    return result


def _results(settings: Settings, chosen: Sequence[int]) -> Iterator[RunVerification]:
    """The results as they come. Raises ArchiverError as soon as a store cannot be read."""
    store = artdaqdb.open_store(settings.artdaq_db)
    pool = ProcessPool(settings)
    waiting = [chosen[first : first + CHUNK] for first in range(0, len(chosen), CHUNK)][::-1]
    in_hand: set[Future[list[RunVerification]]] = set()
    try:
        while waiting or in_hand:
            while waiting and len(in_hand) < 2 * pool.size:
                numbers = waiting.pop()
                in_hand.add(pool.submit(verify_runs, numbers, store.locate(numbers)))
            done, in_hand = wait(in_hand, return_when=FIRST_COMPLETED)
            for future in done:
                for found in future.result():
                    if found.error is not None:
                        raise found.error
                    yield found
    except BrokenExecutor as error:
        raise WorkersUnusable from error
    finally:
        pool.close()


def _fill_in(settings: Settings, tree: Tree, facts: Mapping[int, Mapping[Stage, Facts]], print_line: Print) -> int:
    """Complete the markers that say `verified: false`; return their number. Does nothing while a cycle runs."""
    if not facts:
        return 0
    held = Lock(settings.app.work_dir, settings.app.lock_file)
    try:
        held.acquire()
    except LockHeld:
        print_line(
            f"equal, but marked so only by the next --verify, since a cycle is running: {count(len(facts), 'run')}"
        )
        return 0
    try:
        markers = [
            replace(stored, facts=known)
            for run, by_stage in facts.items()
            for stage, known in by_stage.items()
            if (stored := tree.marker(stage, run)) is not None and not stored.facts.verified
        ]
        watch = [each.run for each in markers if each.stage == "import" and not each.facts.stop_time]
        tree.write_markers(markers, watch=[run for run in watch if facts[run]["import"].fingerprint])
    finally:
        held.release()
    print_line(f"marked as verified: {count(len(markers), 'marker')}")
    return len(markers)


def _progress() -> AbstractContextManager[Callable[[], None]]:
    """A progress bar, if standard error is a terminal."""
    return _Bar(display.bars(sys.stderr)) if sys.stderr.isatty() else nullcontext(lambda: None)


class _Bar:
    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def __enter__(self) -> Callable[[], None]:
        self._progress.start()
        task = self._progress.add_task("verified", total=None, rate="")
        return lambda: self._progress.update(task, advance=1, rate=display.rate(self._progress, task))

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
