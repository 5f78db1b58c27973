"""`--verify`: read every archived run back from both stores and compare. Repairs nothing; what is wrong is a finding.

Runs beside a cycle. It takes the lock only to complete markers with `verified: false`.
Source: docs/design/state.md, Verification and findings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from rra_state.base import run_numbers
from rra_state.base.errors import LockHeld, UsageError
from rra_state.base.lock import Lock
from rra_state.base.wording import count, printable
from rra_state.config.loading import Settings
from rra_state.cycle import display
from rra_state.execution import verification
from rra_state.execution.verification import Verified
from rra_state.state.markers import Tree
from rra_state.state.snapshot import Snapshot
from rra_state.stores.ucondb.client import UconDB


@dataclass(frozen=True, slots=True)
class Subset:
    """Part `number` of `of`. A part always has the same runs, so that a weekly timer reaches all of them (`week/8`).

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
        # Weeks since a Monday, so that no part is skipped at the end of a year.
        weeks = ((today or date.today()).toordinal() - 1) // 7
        return cls(weeks % of + 1, of)

    def has(self, run: int) -> bool:
        """Whether the run is in this part."""
        return run % self.of == self.number - 1


def not_archived(settings: Settings, named: str | None) -> set[int]:
    """Runs named by `--runs` that have no marker: those named singly, or all of a range without any marker."""
    if named is None:
        return set()
    tree = Tree(settings.app.work_dir)
    return run_numbers.wrongly_named(named, tree.archived("import") | tree.archived("migrate"))


def verify(settings: Settings, wanted: Callable[[int], bool], print_line: Callable[[str], None]) -> bool:
    """Read back every archived run that is `wanted`, print each difference, and write the findings.

    Return whether all that was read is equal. Raises ArchiverError.
    """
    snapshot = Snapshot.take(settings)
    chosen = sorted(filter(wanted, snapshot.archived["import"] | snapshot.archived["migrate"]))
    listed = UconDB(settings.ucon_db).runs() if chosen else set[int]()
    done, without_record = Verified(snapshot.failures("verify")), set[int]()
    with display.progress("verified") as advance:
        for found in verification.results(settings, chosen, listed):
            advance()
            done.add(found)
            for sentence in (*found.differences, *(f"artdaqDB: {each}" for each in found.passed_over)):
                print_line(f"run {found.run}: {printable(sentence)}")
            if not found.on_disk:
                without_record.add(found.run)
    _complete(settings, done, print_line)
    if without_record:
        runs = run_numbers.text(without_record)
        print_line(f"{len(without_record)} of them could not be compared with a record on disk: {runs}")
    differing = f", {len(done.findings)} not: {run_numbers.text(done.findings)}" if done.findings else ""
    print_line(f"verified {count(len(chosen), 'run')}: {len(done.equal)} equal{differing}")
    done.write_findings(snapshot.tree)
    return not done.findings


def _complete(settings: Settings, done: Verified, print_line: Callable[[str], None]) -> None:
    """Complete the markers with `verified: false`. Does nothing while a cycle runs."""
    if not done.facts:
        return
    try:
        with Lock(settings.app.work_dir, settings.app.lock_file):
            completed = done.complete_markers(settings)
    except LockHeld:
        runs = count(len(done.facts), "run")
        print_line(f"equal, but marked so only by the next --verify, since a cycle is running: {runs}")
    else:
        print_line(f"marked as verified: {count(completed, 'marker')}")
