"""What has to be so after each step of an invented history: the archiver's files against `knowledge.py`."""

from __future__ import annotations

import json
from typing import Any

from rra_state.state.outcome import STAGES, Stage
from rra_state.state.planner import Selection
from tests.reliability.archiver import Report
from tests.reliability.faults import Fault
from tests.reliability.knowledge import Facts, Memory
from tests.reliability.world import World


class Expectations:
    """What the archiver may know of each stage, and whether what it says and does agrees with that.

    possible: the memories that it may have; more than one only after a kill. as_written: state file and failure log as
    the archiver last wrote them. found: as it found them. without_ledger: stages whose ledger was gone then.
    """

    world: World
    possible: dict[Stage, list[Memory]]
    as_written: dict[Stage, tuple[bytes | None, bytes | None]]
    found: dict[Stage, tuple[bytes | None, bytes | None]]
    without_ledger: set[Stage]

    def facts(self, stage: Stage) -> Facts:
        records = self.world.records.values()
        if stage == "import":
            due = frozenset(record.run for record in records if record.ready)
        else:
            due = frozenset(self.world.marked("import"))
        return Facts(due, frozenset(self.world.marked(stage)), frozenset(self.world.failures(stage)))

    def files(self, stage: Stage) -> tuple[bytes | None, bytes | None]:
        """State file and failure log."""
        state, log = (
            path.read_bytes() if path.exists() else None
            for path in (self.world.state_file(stage), self.world.log_file(stage))
        )
        return state, log

    def taken_over(self, stage: Stage) -> list[Memory]:
        """What the archiver may know once it has begun, given the files it found."""
        state, log = self.found[stage]
        known_state, known_log = self.as_written[stage]
        possible = self.possible[stage]
        if stage in self.without_ledger:
            possible, known_state, known_log = [Memory()], None, None
        facts = self.facts(stage)
        taken_over = []
        for memory in possible:
            now = memory
            if state is None:
                now = now.forgotten()
            elif state != known_state:
                now = now.edited(_numbers(state))
            if log is not None and log != known_log:
                now = now.lines_found([int(line) for line in log.split()], facts)
            taken_over.append(now.at_start(facts))
        return taken_over

    def after_window(self, stage: Stage, selection: Selection, *, tried: bool) -> Memory:
        memory, facts = self.possible[stage][0], self.facts(stage)
        return memory.after_cycle(facts, explicit=selection.explicit) if tried else memory.at_start(facts)

    def expect(self, stage: Stage, possible: list[Memory]) -> None:
        """State file and log say what follows from one of these memories."""
        facts = self.facts(stage)
        seen = self.world.numbers(stage), self.world.log(stage)
        agreeing = [memory for memory in possible if (memory.numbers(facts), memory.log(facts)) == seen]
        wanted = [(memory.numbers(facts), memory.log(facts)) for memory in possible]
        assert agreeing, f"{stage}: the files say {seen}, the model {wanted}"
        self.nothing_is_lost(stage, agreeing[0], facts, *seen)
        self.possible[stage] = [agreeing[0].settled(facts)]
        self.as_written[stage] = self.files(stage)

    def nothing_is_lost(
        self, stage: Stage, memory: Memory, facts: Facts, numbers: tuple[int, int], log: list[int]
    ) -> None:
        """The invariant of docs/design/state.md, Failure log, and the form of the log."""
        assert log == sorted(set(log))
        assert not facts.archived & set(log)
        for run in facts.due:
            if memory.base < run <= numbers[1]:
                assert run in facts.archived or run in log, f"{stage}: run {run} is nowhere"

    def markers_tell_the_truth(self) -> None:
        """A run with a marker is in its store, and no store has a run twice."""
        stored = self.world.stored()
        assert len(stored) == len(set(stored)), f"stored twice: {stored}"
        assert self.world.marked("import") <= self.world.imported()
        assert self.world.marked("migrate") <= set(stored)

    def outcomes_are_as_they_must(self, report: Report, before: dict[Stage, Facts], fault: Fault | None) -> None:
        for stage in STAGES:
            taken = report.taken[stage]
            assert len(taken) == len(set(taken)), f"{stage}: taken twice: {sorted(taken)}"
            assert self.world.marked(stage) == before[stage].archived | report.archived[stage]
            after = (before[stage].failed | report.failed[stage]) - report.archived[stage]
            assert self.world.failures(stage) == after
            if fault is None or fault.kind != "worker":
                assert report.failed[stage] == {run for run in taken if self.must_fail(stage, run)}

    def must_fail(self, stage: Stage, run: int) -> bool:
        if stage == "migrate":
            return run in self.world.conflicts
        return run not in self.world.first and (run not in self.world.records or not self.world.records[run].good)

    def wanted(
        self, stage: Stage, selection: Selection, facts: Facts, memory: Memory, log: list[int]
    ) -> tuple[frozenset[int], frozenset[int]]:
        """Runs that a cycle nothing troubles has to take, and those it may take. log: as it stood when it planned."""
        missing = facts.due - facts.archived
        if stage not in selection.stages:
            missing = frozenset()
        elif selection.mode == "retry":
            nowhere = set(log) - self.world.records.keys() if stage == "import" else set()
            missing = frozenset((missing | nowhere) & set(log))
        elif selection.only is not None:
            missing &= selection.only
        elif selection.mode == "incremental":
            return memory.incremental(facts)
        return missing, missing

    def the_right_runs_were_taken(
        self, stage: Stage, taken: set[int], selection: Selection, batch: int | None, facts: Facts, *plan: Any
    ) -> None:
        must, may = self.wanted(stage, selection, facts, *plan)
        assert taken <= may, f"{stage}: took {sorted(taken - may)} beyond {sorted(may)}"
        if batch is None or selection.explicit:
            assert must <= taken, f"{stage}: left {sorted(must - taken)} behind"
            return
        limit = batch * 10 if selection.mode == "full" else batch
        assert len(taken) <= limit
        # Runs whose import failed count towards the limit of the migrations as well, and are not migrated.
        assert stage == "migrate" or must <= taken or len(taken) == limit


def _numbers(state: bytes) -> tuple[int, int]:
    values = json.loads(state)
    return values["last_contiguous_run"], values["last_attempted_run"]
