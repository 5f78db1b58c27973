"""How the bench measures: repeated timings, and time, CPU and memory of a command with all its processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.paths import REPOSITORY
from tests.site import environment

AT_LEAST = 5
LONG_ENOUGH = 45.0
"""Seconds after which a figure that takes long is not taken again."""
LOOK_SECONDS = 0.05

T = TypeVar("T")


def repeated(action: Callable[[], T]) -> list[T]:
    """Do it five times; fewer of what takes long."""
    began, found = time.monotonic(), [action()]
    while len(found) < AT_LEAST and time.monotonic() - began < LONG_ENOUGH:
        found.append(action())
    return found


def timed(action: Callable[[], object]) -> float:
    """Seconds."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def cpu(action: Callable[[], object]) -> float:
    """CPU seconds of this process: what others do on the machine does not count."""
    began = time.process_time()
    action()
    return time.process_time() - began


@dataclass(frozen=True)
class Usage:
    """What a command took.

    seconds: wall clock. cpu: CPU seconds of it and of all below it. driver_cpu: the same of the command line and of
    Snakemake, without the workers. memory: highest MB of its largest process.
    """

    seconds: float
    cpu: float
    driver_cpu: float
    memory: float


def usage(command: Sequence[str]) -> Usage:
    """Run a command quietly. Raises CalledProcessError."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    watcher = _Watcher(process.pid)
    assert process.stderr is not None
    messages = process.stderr.read()
    watcher.end()
    process.wait()
    seconds = time.perf_counter() - began
    process.stderr.close()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=messages)
    return Usage(seconds, watcher.cpu, watcher.driver_cpu, watcher.memory)


def snakemake() -> Usage:
    """What Snakemake takes to print its version."""
    return usage([sys.executable, "-m", "snakemake", "--version"])


@dataclass
class _Watcher:
    """Looks at a process and its descendants every 0.05 s, on a thread.

    Not by what the kernel adds up for parents: nobody waits for the server that forks the workers, nor for theirs.
    """

    leader: int
    memory: float = 0.0
    _seconds: dict[int, tuple[int, float]] = field(default_factory=dict)
    """Generation and CPU of each process, as they were last seen."""
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def cpu(self) -> float:
        """CPU seconds of all."""
        return sum(seconds for _, seconds in self._seconds.values())

    @property
    def driver_cpu(self) -> float:
        """CPU seconds of the process and of its children, without theirs."""
        return sum(seconds for generation, seconds in self._seconds.values() if generation <= 1)

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            for pid, generation in _descendants(self.leader):
                with suppress(OSError):  # it ended meanwhile
                    self.memory = max(self.memory, _highest_memory(pid))
                    self._seconds[pid] = generation, _cpu_seconds(pid)


def _descendants(pid: int, generation: int = 0) -> Iterator[tuple[int, int]]:
    """The process and all below it, each with the number of generations between them."""
    yield pid, generation
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        with suppress(OSError):
            for child in children.read_text().split():
                yield from _descendants(int(child), generation + 1)


def _highest_memory(pid: int) -> float:
    """MB; 0 of a process that has ended and was not waited for."""
    found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())
    return int(found[1]) / 1024 if found else 0.0


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
