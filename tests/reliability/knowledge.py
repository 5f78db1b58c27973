"""What the archiver ought to know of one stage, written from docs/design/state.md alone.

Nothing here calls `rra_state`: where the two disagree, one of them is wrong.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace


def guide_last_contiguous(available: Collection[int]) -> int:
    """The guide's own algorithm, word for word (Last Contiguous Run)."""
    if not available:
        return 0
    sorted_runs = sorted(available)
    last_contiguous = sorted_runs[0]
    for i in range(1, len(sorted_runs)):
        if sorted_runs[i] == last_contiguous + 1:
            last_contiguous = sorted_runs[i]
        else:
            break
    return last_contiguous


@dataclass(frozen=True)
class Facts:
    """One stage as it is. due: runs that should be archived here and can be; an open record is not among them."""

    due: frozenset[int]
    archived: frozenset[int]
    failed: frozenset[int]

    @property
    def tried(self) -> frozenset[int]:
        return self.archived | self.failed

    @property
    def untried(self) -> frozenset[int]:
        return self.due - self.tried


@dataclass(frozen=True)
class Memory:
    """What is remembered from cycle to cycle. attempted None: nothing is, so it follows from what was tried.

    base: the sequence is counted from here. held: numbers of an operator that still stand. added: an operator's lines.
    """

    base: int = 0
    attempted: int | None = None
    held: tuple[int, int] | None = None
    added: frozenset[int] = field(default=frozenset())

    def numbers(self, facts: Facts) -> tuple[int, int]:
        """`last_contiguous_run` and `last_attempted_run`."""
        if self.held is not None:
            return self.held
        attempted = max(facts.tried, default=0) if self.attempted is None else self.attempted
        if self.base == 0:
            return guide_last_contiguous(facts.archived), attempted
        above = [run for run in facts.archived if run > self.base]
        from_base = guide_last_contiguous(above) if self.base + 1 in above else self.base
        return from_base, attempted

    def log(self, facts: Facts) -> list[int]:
        """The failure log: failed runs, never attempted ones below the mark, and the operator's lines."""
        _, attempted = self.numbers(facts)
        failed = {run for run in facts.failed if run > self.base}
        passed_over = {run for run in facts.untried if self.base < run <= attempted}
        return sorted((failed | passed_over | self.added) - facts.archived)

    # ---- what happens to it ------------------------------------------------------------------------------------------

    def forgotten(self) -> Memory:
        """The state file is gone: everything but the operator's lines follows from what was tried."""
        return Memory(added=self.added)

    def edited(self, numbers: tuple[int, int]) -> Memory:
        """An operator wrote these numbers into the state file."""
        return replace(self, base=numbers[0], attempted=numbers[1], held=numbers)

    def lines_found(self, lines: Collection[int], facts: Facts) -> Memory:
        """The failure log was edited: what no rule put there is the operator's."""
        return replace(self, added=self.added | (frozenset(lines) - frozenset(self.log(facts))))

    def settled(self, facts: Facts) -> Memory:
        """Lines whose run is archived have done their duty."""
        _, attempted = self.numbers(facts)
        return replace(self, added=self.added - facts.archived, attempted=attempted)

    def after_cycle(self, facts: Facts, *, explicit: bool) -> Memory:
        """A cycle attempted something: the mark rises to the highest run tried, and the operator's numbers are history.

        explicit: the runs were named; then no run that is ready and was never tried may come to lie below the mark.
        """
        mark = self.attempted or 0
        candidates = sorted(run for run in facts.tried if run > mark)
        if explicit:
            candidates = [run for run in candidates if not any(mark < other < run for other in facts.untried)]
        return replace(self, attempted=max([mark, *candidates]), held=None)

    def at_start(self, facts: Facts) -> Memory:
        """A killed cycle may have tried runs, and nothing says which it was to take: as if they had been named."""
        if self.held is not None or self.attempted is None:
            return self
        return self.after_cycle(facts, explicit=True)

    def incremental(self, facts: Facts) -> tuple[frozenset[int], frozenset[int]]:
        """Runs an incremental cycle has to take, and runs it may take: all above the start, and those never tried.

        While an operator's numbers stand, those below them wait: docs/design/state.md, Incremental mode.
        """
        start = max(self.numbers(facts))
        lowest = self.base if self.held is None else start
        never = frozenset(run for run in facts.untried if run > lowest)
        return never, never | frozenset(run for run in facts.due - facts.archived if run > start)
