"""`--follow`: show the progress of a cycle that another terminal, or a timer, started. Only reads the marker tree."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TextIO

from rich.progress import TaskID

from rra_state.base.wording import count
from rra_state.config.loading import Settings
from rra_state.cycle import current_cycle
from rra_state.cycle.current_cycle import CyclePlan
from rra_state.cycle.display import bars, rate
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, STORES, Stage

POLL_SECONDS = 0.5
"""Between two reads of the tree."""
LINE_SECONDS = 5.0
"""Between two lines, if the output is no terminal."""


@dataclass(frozen=True, slots=True)
class CycleProgress:
    """Progress of the cycle. plan: None while it is planning. done: number of archived and of failed runs per stage."""

    plan: CyclePlan | None
    done: dict[Stage, tuple[int, int]] = field(default_factory=dict)

    def line(self) -> str:
        """Both stages in one line."""
        if self.plan is None:
            return "a cycle is running and still plans which runs it takes"
        parts = [
            f"{archived + failed} of {count(len(self.plan.runs[stage]), 'run')} into {STORES[stage]}"
            + (f" ({failed} failed)" if failed else "")
            for stage, (archived, failed) in self.done.items()
            if self.plan.runs[stage]
        ]
        return ", ".join(parts) or "changed records are archived again"


def follow(settings: Settings, out: TextIO | None = None) -> bool:
    """Show the running cycle until it ends; return False if there is none. Raises WorkDirError."""
    out = sys.stdout if out is None else out
    tree = Tree(settings.app.work_dir)
    if not current_cycle.at_work(tree):
        print(f"no cycle is running in {tree.root}", file=out)
        return False
    last = _watch_bars(tree, out) if out.isatty() else _watch_lines(tree, out)
    print(f"the cycle has ended: {last.line()}" if last.plan else "the cycle has ended", file=out)
    return True


def watch(tree: Tree) -> Iterator[CycleProgress]:
    """The progress again and again until the cycle has ended, and once more after that. Raises WorkDirError."""
    plan: CyclePlan | None = None
    while True:
        running = current_cycle.at_work(tree)
        plan = current_cycle.plan(tree) or plan
        began = time.monotonic()
        yield CycleProgress(plan, {stage: plan.done(tree, stage) for stage in STAGES} if plan else {})
        if not running:
            return
        took = time.monotonic() - began
        time.sleep(max(POLL_SECONDS, 10 * took))  # a large tree is read less often: the cycle needs the disk


def _watch_lines(tree: Tree, out: TextIO) -> CycleProgress:
    shown, when, seen = "", 0.0, CycleProgress(None)
    for seen in watch(tree):
        if seen.line() != shown and time.monotonic() - when >= LINE_SECONDS:
            shown, when = seen.line(), time.monotonic()
            print(shown, file=out, flush=True)
    return seen


def _watch_bars(tree: Tree, out: TextIO) -> CycleProgress:
    seen, shown = CycleProgress(None), dict[Stage, TaskID]()
    with bars(out) as progress:
        for seen in watch(tree):
            for stage, (archived, failed) in seen.done.items():
                if seen.plan is None or not seen.plan.runs[stage]:
                    continue
                if stage not in shown:
                    total = len(seen.plan.runs[stage])
                    shown[stage] = progress.add_task(f"into {STORES[stage]}", total=total, rate="")
                progress.update(shown[stage], completed=archived + failed, rate=rate(progress, shown[stage]))
    return seen
