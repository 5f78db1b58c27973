"""What a cycle needs of the host, looked at while it runs, and whether that grows from cycle to cycle."""

from __future__ import annotations

import statistics
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

PERIOD = 0.1
"""Seconds between two looks: a worker lives for longer."""


@dataclass(frozen=True)
class Vitals:
    """One cycle. archived: runs archived before it. memory: kB of its largest process, workers included.
    descriptors: open at once in all of its processes. processes: at once.
    """

    archived: int
    memory: int
    descriptors: int
    processes: int


@dataclass
class Watch:
    """Looks at all processes of a session until it is left."""

    session: int
    memory: int = 0
    descriptors: int = 0
    processes: int = 0
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()

    @property
    def worked(self) -> bool:
        """Whether the session's first process was joined by others: those of a workflow."""
        return self.processes > 1

    def vitals(self, archived: int) -> Vitals:
        return Vitals(archived, self.memory, self.descriptors, self.processes)

    def _look_on(self) -> None:
        while not self._over.wait(PERIOD):
            self._look()

    def _look(self) -> None:
        found = members(self.session)
        descriptors = 0
        for process in found:
            try:
                self.memory = max(self.memory, _peak(process))
                descriptors += len(list((process / "fd").iterdir()))
            except OSError:
                continue
        self.descriptors = max(self.descriptors, descriptors)
        self.processes = max(self.processes, len(found))


def members(session: int) -> list[Path]:
    """The processes of a session, as directories of /proc."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] != "Z":
            found.append(stat.parent)
    return found


def _peak(process: Path) -> int:
    lines = (process / "status").read_text().splitlines()
    return next((int(line.split()[1]) for line in lines if line.startswith("VmHWM:")), 0)


def per_run(cycles: Sequence[Vitals]) -> float:
    """How many kB a cycle needs more for each run that is archived already: the slope of the line through all."""
    return statistics.linear_regression([each.archived for each in cycles], [each.memory for each in cycles]).slope


def first_and_last(values: Sequence[float]) -> tuple[float, float]:
    """The median of the first quarter, and that of the last."""
    part = max(1, len(values) // 4)
    return statistics.median(values[:part]), statistics.median(values[-part:])
