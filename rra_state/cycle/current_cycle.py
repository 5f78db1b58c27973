"""The running cycle: whether there is one, and which runs it takes. Only `record_plan` writes.

A cycle writes the note `state/running.json` when it begins, and it runs as long as its lock is held. Whether it
is held is read from the kernel's list of locks: to take the lock for a test could stop a cycle that begins then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rra_state.base import run_numbers
from rra_state.base.errors import UsageError
from rra_state.base.lock import is_alive
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Stage
from rra_state.state.planner import Window

NOTE = "running"
_LOCKS = Path("/proc/locks")


@dataclass(frozen=True, slots=True)
class CyclePlan:
    """The runs that a cycle takes, per stage. began: seconds since 1970."""

    began: float
    runs: Mapping[Stage, frozenset[int]]

    def done(self, tree: Tree, stage: Stage) -> tuple[int, int]:
        """How many of them are archived, and how many failed, since the cycle began. Raises WorkDirError."""
        planned = self.runs[stage]
        archived = planned & tree.archived(stage)
        failed = planned & tree.failed(stage) - archived
        return len(archived), sum(_written_since(tree.failure_path(stage, run), self.began) for run in failed)


def record_plan(tree: Tree, windows: Sequence[Window]) -> None:
    """Write the note with the runs that a cycle takes. Raises WorkDirError."""
    planned: dict[Stage, set[int]] = {stage: set() for stage in STAGES}
    for window in windows:
        for stage, found in window.stages():
            planned[stage] |= found
    tree.write_note(NOTE, {"began": time.time()} | {stage: run_numbers.text(found) for stage, found in planned.items()})


def plan(tree: Tree) -> CyclePlan | None:
    """The runs of the running cycle; None while it is still planning."""
    values = tree.note(NOTE)
    try:
        if values is None or not float(values["began"]) >= _lock(tree).stat().st_mtime:
            return None  # the note of an earlier cycle: a new one first writes its process id into the lock file
        planned = {stage: frozenset(run_numbers.parse(str(values[stage]))) for stage in STAGES}
        return CyclePlan(float(values["began"]), planned)
    except (OSError, KeyError, TypeError, ValueError, UsageError):
        return None


def at_work(tree: Tree) -> bool:
    """True if a cycle, or a process of a killed one, holds the archive's lock."""
    lock = _lock(tree)
    try:
        inode = str(lock.stat().st_ino)
        held = [line.split() for line in _LOCKS.read_text(encoding="ascii").splitlines()]
    except OSError:  # a kernel without a list of locks: whether the process named in the lock file exists
        with suppress(OSError, ValueError):
            return is_alive(lock.read_text(encoding="ascii")) is True
        return False
    # Such a line has the file as MAJOR:MINOR:INODE. The numbers of the device differ from those of stat on Btrfs.
    return any("FLOCK" in entry and any(_inode(field) == inode for field in entry) for entry in held)


def _inode(field: str) -> str | None:
    """The inode in a field of the kernel's list; None if the field is another, such as the number of a process."""
    return field.rpartition(":")[2] if field.count(":") == 2 else None


def _lock(tree: Tree) -> Path:
    return tree.root / "markers" / ".lock"


def _written_since(path: Path, when: float) -> bool:
    try:
        return path.stat().st_mtime >= when
    except OSError:
        return False
