"""`--follow`: watch a cycle that another terminal, or a timer, has started. Reads the tree and touches nothing."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rich.progress import TaskID

from rra_state.base.wording import done_of
from rra_state.config.loading import Settings
from rra_state.cycle import current_cycle
from rra_state.cycle.current_cycle import Plan
from rra_state.cycle.display import bars, describe, rate
from rra_state.state.markers import Tree
from rra_state.state.outcome import PLACES, STAGES, Stage

LOOK_SECONDS = 0.5
"""Between two looks at the tree."""
LINE_SECONDS = 5.0
"""Between two lines where no bar is shown."""


@dataclass(frozen=True, slots=True)
class Look:
    """How far the cycle is. plan: None while it is still planning. done: archived and failed runs per stage."""

    plan: Plan | None
    done: dict[Stage, tuple[int, int]] = field(default_factory=dict)

    def line(self) -> str:
        """Both stages in one line."""
        if self.plan is None:
            return "a cycle is at work; it has not said yet which runs it takes"
        parts = [
            f"{done_of(archived + failed, len(self.plan.runs[stage]), 'run')} into {PLACES[stage]}"
            + (f" ({failed} failed)" if failed else "")
            for stage, (archived, failed) in self.done.items()
            if self.plan.runs[stage]
        ]
        return ", ".join(parts) or "records that changed are archived again"


def follow(settings: Settings, out: TextIO | None = None) -> bool:
    """Show the cycle at work until it ends; False if there is none. Raises WorkDirError."""
    out = sys.stdout if out is None else out
    tree = Tree(settings.app.work_dir)
    if not current_cycle.at_work(tree):
        print(f"no cycle is at work in {tree.root}", file=out)
        return False
    last = _watch_bars(tree, out) if out.isatty() else _watch_lines(tree, out)
    print(f"the cycle has ended: {last.line()}" if last.plan else "the cycle has ended", file=out)
    return True


def looks(tree: Tree) -> Iterator[Look]:
    """One look after the other until the cycle has ended, and one after that. Raises WorkDirError."""
    plan: Plan | None = None
    while True:
        going_on = current_cycle.at_work(tree)
        plan = current_cycle.plan(tree) or plan
        began = time.monotonic()
        yield Look(plan, {stage: plan.done(tree, stage) for stage in STAGES} if plan else {})
        if not going_on:
            return
        took = time.monotonic() - began
        time.sleep(max(LOOK_SECONDS, 10 * took))  # a large tree is looked at less often: the cycle needs the disk


def _watch_lines(tree: Tree, out: TextIO) -> Look:
    told, when, look = "", 0.0, Look(None)
    for look in looks(tree):
        if look.line() != told and time.monotonic() - when >= LINE_SECONDS:
            told, when = look.line(), time.monotonic()
            print(told, file=out, flush=True)
    return look


def _watch_bars(tree: Tree, out: TextIO) -> Look:
    look, shown = Look(None), dict[Stage, TaskID]()
    with bars(out) as progress:
        for look in looks(tree):
            for stage, (archived, failed) in look.done.items():
                if look.plan is None or not look.plan.runs[stage]:
                    continue
                if stage not in shown:
                    shown[stage] = progress.add_task(describe(stage), total=len(look.plan.runs[stage]), rate="")
                progress.update(shown[stage], completed=archived + failed, rate=rate(progress, shown[stage]))
    return look
