"""The archiver against a model of what it has to know, through months of bad luck.

Hypothesis invents histories: runs come, late ones too, records stay open or are broken, stores fall silent, cycles are
interrupted and killed, operators edit and delete files. After every update of the state files, both stages are compared
with `knowledge.py`, as `expectations.py` says; that covers the documented numbers, the log, and that
`last_attempted_run` sinks only by an edit.
At the end of each history everything is mended, and nothing may be missing, doubled or different.
"""

from __future__ import annotations

import itertools
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from rra_state.state.outcome import STAGES, Stage
from rra_state.state.planner import Selection
from tests.reliability import archiver
from tests.reliability.archiver import Report
from tests.reliability.conftest import reliability_settings
from tests.reliability.expectations import Expectations
from tests.reliability.faults import Course, Fault
from tests.reliability.knowledge import Memory
from tests.reliability.world import World
from tests.servers import Folder

FIRST = 100
NO_SUCH_RUN = 90

stages = st.sampled_from(STAGES)
both_or_one = st.sampled_from([STAGES, STAGES, STAGES, ("import",), ("migrate",)])
orders = st.sampled_from(["oldest", "oldest", "newest"])
places = st.integers(0, 7)
faults = st.one_of(
    st.builds(Fault, st.just("kill"), st.integers(0, 30) | st.integers(0, 150)),
    st.builds(Fault, st.just("artdaqdb"), st.integers(0, 6), st.sampled_from([1, 2, 99]), st.booleans()),
    st.builds(Fault, st.just("ucondb"), st.integers(0, 6), st.sampled_from([1, 2, 99]), st.booleans()),
    st.builds(Fault, st.just("interrupt"), st.integers(0, 6)),
    st.builds(Fault, st.just("worker"), st.integers(0, 4), st.sampled_from([1, 2, 99])),
)
sizes = st.tuples(st.sampled_from([100, 100, 4, 1]), st.sampled_from([None, None, 1, 3]))


class Archive(Expectations, RuleBasedStateMachine):
    """One archiver's history."""

    ucondb: Folder
    connection: psycopg.Connection[Any]
    memory: Path
    numbers = itertools.count(1)

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=self.memory))
        self.world = World(self.root, self.ucondb, self.connection, next(self.numbers))
        self.possible: dict[Stage, list[Memory]] = {stage: [Memory()] for stage in STAGES}
        self.as_written: dict[Stage, tuple[bytes | None, bytes | None]] = dict.fromkeys(STAGES, (None, None))
        self.found = self.as_written
        self.without_ledger: set[Stage] = set()

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.mend_everything()
        finally:
            shutil.rmtree(self.root)

    # ---- the DAQ -----------------------------------------------------------------------------------------------------

    @initialize(count=st.integers(0, 4))
    def the_archive_begins(self, count: int) -> None:
        for run in range(FIRST, FIRST + count):
            self.world.take(run)

    @rule(pattern=st.lists(st.sampled_from(["good", "good", "good", "open", "bad"]), min_size=1, max_size=4))
    def runs_are_taken(self, pattern: list[str]) -> None:
        for run, kind in enumerate(pattern, max(self.world.records, default=FIRST - 1) + 1):
            self.appears(run, kind)

    @rule(kind=st.sampled_from(["good", "open", "bad"]), skipped=st.integers(1, 2))
    def run_numbers_are_skipped(self, kind: str, skipped: int) -> None:
        self.appears(max(self.world.records, default=FIRST - 1) + 1 + skipped, kind)

    @precondition(lambda self: self.world.records)
    @rule(kind=st.sampled_from(["good", "open", "bad"]), place=places)
    def a_run_appears_late(self, kind: str, place: int) -> None:
        holes = sorted(set(range(FIRST - 3, max(self.world.records))) - self.world.records.keys(), reverse=True)
        if holes:
            self.appears(holes[place % len(holes)], kind)

    def appears(self, run: int, kind: str) -> None:
        self.world.take(run, good=kind != "bad", ended=kind == "good")
        if kind == "bad":
            self.world.settle(run)

    def chosen(self, runs: set[int], place: int) -> Iterator[int]:
        """One of these runs, if there is any."""
        yield from sorted(runs)[place % len(runs) :][:1] if runs else ()

    def open_runs(self) -> set[int]:
        return {run for run, record in self.world.records.items() if record.good and not record.ended}

    @precondition(lambda self: self.open_runs() - self.world.first.keys())
    @rule(place=places)
    def a_stop_time_arrives(self, place: int) -> None:
        for run in self.chosen(self.open_runs() - self.world.first.keys(), place):
            self.world.end(run)

    @precondition(lambda self: self.open_runs())
    @rule(place=places)
    def a_daq_died(self, place: int) -> None:
        for run in self.chosen(self.open_runs(), place):
            self.world.settle(run)

    @precondition(lambda self: any(not record.good for record in self.world.records.values()))
    @rule(place=places, still_open=st.booleans())
    def a_record_is_mended(self, place: int, still_open: bool) -> None:
        for run in self.chosen({run for run, record in self.world.records.items() if not record.good}, place):
            self.world.take(run, ended=not still_open)

    @rule(place=places)
    def another_program_takes_a_key_of_ucondb(self, place: int) -> None:
        free = self.world.records.keys() - set(self.world.stored()) - self.world.conflicts
        for run in self.chosen(set(free), place):
            self.world.occupy(run)

    @precondition(lambda self: self.world.conflicts)
    @rule(place=places)
    def a_conflict_is_settled(self, place: int) -> None:
        for run in self.chosen(self.world.conflicts, place):
            self.world.vacate(run)

    # ---- the operator ------------------------------------------------------------------------------------------------

    @rule(stage=stages)
    def a_state_file_is_deleted(self, stage: Stage) -> None:
        self.world.state_file(stage).unlink(missing_ok=True)

    @rule(stage=stages, contiguous=st.integers(-4, 9), attempted=st.integers(-4, 9))
    def a_state_file_is_edited(self, stage: Stage, contiguous: int, attempted: int) -> None:
        self.world.work.mkdir(exist_ok=True)
        low, high = (max(0, FIRST + n) if n > -4 else 0 for n in (contiguous, attempted))
        self.world.state_file(stage).write_text(f'{{"last_contiguous_run":{low},"last_attempted_run":{high}}}')

    @precondition(lambda self: self.world.records)
    @rule(stage=stages, number=st.integers(0, 3), store=st.sampled_from(["artdaqdb", "ucondb"]))
    def a_state_file_is_reset_while_a_store_is_down(self, stage: Stage, number: int, store: Any) -> None:
        """The operator's numbers hold until a cycle attempts something; this one cannot."""
        self.a_state_file_is_edited(stage, number, number)
        self.cycle(Selection(), fault=Fault(store, 0, 99))

    @rule(stage=stages)
    def a_failure_log_is_deleted(self, stage: Stage) -> None:
        self.world.log_file(stage).unlink(missing_ok=True)

    @rule(stage=stages, place=places, exists=st.booleans())
    def a_line_is_added_to_a_failure_log(self, stage: Stage, place: int, exists: bool) -> None:
        self.world.work.mkdir(exist_ok=True)
        runs = set(self.world.records) if exists else {NO_SUCH_RUN, FIRST + 500}
        for run in self.chosen(runs, place):
            with self.world.log_file(stage).open("a") as log:
                log.write(f"{run}\n")

    @rule(stage=stages)
    def a_ledger_is_deleted(self, stage: Stage) -> None:
        self.world.ledger(stage).unlink(missing_ok=True)

    @rule(stage=stages, pattern=st.lists(st.booleans(), min_size=1, max_size=8))
    def markers_are_deleted(self, stage: Stage, pattern: list[bool]) -> None:
        marked = sorted(self.world.marked(stage))
        self.world.unmark(stage, [run for run, gone in zip(marked, itertools.cycle(pattern), strict=False) if gone])

    @rule()
    def the_work_directory_is_lost(self) -> None:
        self.world.lose_everything()

    # ---- the archiver ------------------------------------------------------------------------------------------------

    @rule()
    def the_timer_fires(self) -> None:
        self.cycle(Selection(mode="incremental"))

    @rule(mode=st.sampled_from(["full", "incremental"]), which=both_or_one, order=orders, size=sizes)
    def a_cycle_is_run(self, mode: Any, which: Any, order: Any, size: tuple[int, int | None]) -> None:
        self.cycle(Selection(which, mode, order=order), size)

    @rule(
        mode=st.sampled_from(["full", "incremental", "retry"]),
        which=both_or_one,
        order=orders,
        size=sizes,
        fault=faults,
    )
    def a_cycle_meets_a_fault(
        self, mode: Any, which: Any, order: Any, size: tuple[int, int | None], fault: Fault
    ) -> None:
        self.cycle(Selection(which, mode, order=order), size, fault)

    @rule(which=both_or_one, order=orders)
    def failures_are_retried(self, which: Any, order: Any) -> None:
        self.cycle(Selection(which, "retry", order=order))

    @precondition(lambda self: self.world.records)
    @rule(which=both_or_one, wanted=st.sets(places, min_size=1, max_size=3), fault=st.none() | st.none() | faults)
    def runs_are_named(self, which: Any, wanted: set[int], fault: Fault | None) -> None:
        known = sorted(self.world.records)
        only = frozenset(known[-1 - place % len(known)] for place in wanted)
        self.cycle(Selection(which, only=only), fault=fault)

    @rule(
        which=st.sampled_from([STAGES, ("import",), ("migrate",)]),
        damaged=st.booleans(),
        killed_at=st.none() | st.none() | st.integers(0, 40),
    )
    def state_is_recovered(self, which: tuple[Stage, ...], damaged: bool, killed_at: int | None) -> None:
        if damaged:
            self.world.work.mkdir(exist_ok=True)
            self.world.state_file(which[0]).write_text("{corrupted data...")
        for run in sorted(self.world.conflicts):
            self.world.vacate(run)  # recovery would accept what the other program stored
        if killed_at is not None:
            self.look()
            if archiver.recover(self.world.settings, which, Course(Fault("kill", killed_at))):
                self.state_was_recovered(which)  # it was over before the blow fell
            else:
                # State file or log of the other stage may be edited still; what the killed one wrote is no edit.
                which = STAGES
        self.look()
        assert archiver.recover(self.world.settings, which, Course(None))
        self.state_was_recovered(which)

    def state_was_recovered(self, which: tuple[Stage, ...]) -> None:
        for stage in STAGES:
            if stage in which:
                store = self.world.imported() if stage == "import" else set(self.world.stored())
                assert self.world.marked(stage) == store
                assert not self.facts(stage).archived & self.facts(stage).failed
                self.expect(stage, [Memory(attempted=max(store, default=0))])
            else:
                self.expect(stage, self.taken_over(stage))
        self.markers_tell_the_truth()

    def look(self) -> None:
        """Note the files as the archiver is about to find them."""
        self.found = {stage: self.files(stage) for stage in STAGES}
        self.without_ledger = {stage for stage in STAGES if not self.world.ledger(stage).exists()}

    def cycle(
        self, selection: Selection, size: tuple[int, int | None] = (100, None), fault: Fault | None = None
    ) -> Report:
        """One cycle, looked at whenever it has brought the state files up to date, and at its end."""
        before = {stage: self.facts(stage) for stage in STAGES}
        plan: dict[Stage, tuple[Memory, list[int]]] = {}

        tried = 0

        def updated(report: Report) -> None:
            nonlocal tried
            before, tried = tried, sum(map(len, report.taken.values()))
            for stage in STAGES:
                if stage not in plan:
                    self.expect(stage, self.taken_over(stage))
                    plan[stage] = self.possible[stage][0], self.world.log(stage)
                else:
                    self.expect(stage, [self.after_window(stage, selection, tried=tried > before)])

        self.look()
        report = archiver.run(self.world.limited(*size), selection, Course(fault), updated)

        self.markers_tell_the_truth()
        if report.killed:
            self.nothing_in_memory_survives(selection, begun=bool(plan))
            return report
        self.outcomes_are_as_they_must(report, before, fault)
        if not report.troubled:
            assert report.stopped is None
            for stage in STAGES:
                facts = before[stage]
                if stage == "migrate":
                    facts = replace(facts, due=facts.due | report.archived["import"])
                self.the_right_runs_were_taken(stage, set(report.taken[stage]), selection, size[1], facts, *plan[stage])
        return report

    def nothing_in_memory_survives(self, selection: Selection, *, begun: bool) -> None:
        """After a kill, the ledger may be the one before the last update of the state files, or the one after it."""
        for stage in STAGES:
            before = self.possible[stage] if begun else self.taken_over(stage)
            facts = self.facts(stage)
            after = [memory.after_cycle(facts, explicit=selection.explicit) for memory in before]
            self.possible[stage] = [*before, *after]
            self.as_written[stage] = self.files(stage)

    # ---- the end -----------------------------------------------------------------------------------------------------

    def mend_everything(self) -> None:
        """Everything is put right, and one full cycle brings every run into both stores: no run was ever lost."""
        self.cycle(Selection(mode="incremental"))
        for run, record in self.world.records.items():
            if not record.good:
                self.world.mend(run)
            elif not record.ready and run not in self.world.first:
                self.world.end(run)
        for run in sorted(self.world.conflicts):
            self.world.vacate(run)
        self.cycle(Selection())

        runs = set(self.world.records)
        for stage in STAGES:
            assert self.world.marked(stage) == runs
            assert not set(self.world.log(stage)) & runs
        assert self.world.imported() == runs
        assert self.world.stored() == sorted(runs)
        self.world.check_content(runs, runs)


@pytest.mark.timeout(3 * 3600)
def test_no_history_loses_doubles_or_misreports_a_run(ucondb: Folder, memory: Path) -> None:
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:
        machine = type("Archive", (Archive,), {"ucondb": ucondb, "connection": connection, "memory": memory})
        run_state_machine_as_test(machine, settings=reliability_settings())
