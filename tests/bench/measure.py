"""How the bench measures: repeated timings, and time, CPU and memory of a command with all its processes."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from tests.acceptance.site import REPOSITORY, environment
from tests.bench.rows import Measured

AT_LEAST = 5
LONG_ENOUGH = 25.0
"""Seconds after which a figure that takes long is not taken again."""
LOOK_SECONDS = 0.05

T = TypeVar("T")


def repeated(action: Callable[[], T], at_least: int = AT_LEAST) -> list[T]:
    """Do it five times; fewer of what takes long."""
    began, found = time.monotonic(), [action()]
    while len(found) < at_least and time.monotonic() - began < LONG_ENOUGH:
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


@dataclass
class Usage:
    """What a command took.

    seconds: wall clock. driver_cpu: CPU seconds of the command line and of Snakemake, without the workers.
    memory, driver_memory: highest MB of all processes together, and of those two, shared pages counted once;
    0 if it was not watched.
    """

    seconds: float
    driver_cpu: float
    memory: float = 0.0
    driver_memory: float = 0.0


def usage(command: Sequence[str], *, watch: bool = False) -> Usage:
    """Run a command quietly. watch: look at its memory too, which takes time from it. Raises CalledProcessError."""
    began = time.perf_counter()
    process = subprocess.Popen(
        command,
        cwd=REPOSITORY,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    watcher = _Watcher(process.pid) if watch else None
    assert process.stderr is not None
    said = process.stderr.read()
    _, status, spent = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds = time.perf_counter() - began
    process.stderr.close()
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command, stderr=said)
    found = Usage(seconds, spent.ru_utime + spent.ru_stime)
    if watcher:
        found.memory, found.driver_memory = watcher.peaks()
    return found


def of_commands(key: str, pairs: Sequence[tuple[Usage, Usage]]) -> Iterator[Measured]:
    """Wall clock and CPU of a command, each with its floor."""
    yield Measured(key, [used.seconds for used, _ in pairs], [bare.seconds for _, bare in pairs])
    yield Measured(f"{key}-cpu", [used.driver_cpu for used, _ in pairs], [bare.driver_cpu for _, bare in pairs])


def of_memory(key: str, used: Usage, bare: Usage) -> Measured:
    """Memory of a command that was watched, with its floor."""
    return Measured(f"{key}-memory", [used.memory], [bare.memory])


@dataclass
class _Watcher:
    """Looks at the memory of a session again and again, on a thread."""

    leader: int
    _ended: threading.Event = field(default_factory=threading.Event)
    _peak: float = 0.0
    _driver_peak: float = 0.0

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def peaks(self) -> tuple[float, float]:
        """Highest MB of all processes, and of the leader with its children."""
        self._ended.set()
        self._thread.join()
        return self._peak, self._driver_peak

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            sizes = {pid: _megabytes(pid) for pid in _session(self.leader)}
            self._peak = max(self._peak, sum(sizes.values()))
            driver = (size for pid, size in sizes.items() if self.leader in (pid, _parent(pid)))
            self._driver_peak = max(self._driver_peak, sum(driver))


def _session(leader: int) -> list[int]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if os.getsid(int(process.name)) == leader:
                found.append(int(process.name))
    return found


def _megabytes(pid: int) -> float:
    """Proportional set size: a page that several processes share counts once in their sum."""
    with suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) / 1024
    return 0.0


def _parent(pid: int) -> int:
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return 0


# ---- floors of commands --------------------------------------------------------------------------------------------


def snakemake(*, watch: bool = False) -> Usage:
    """What Snakemake takes to say its version."""
    return usage([sys.executable, "-m", "snakemake", "--version"], watch=watch)


def listing(directories: Sequence[Path], *, watch: bool = False) -> Usage:
    """What a Python takes to list these directories. watch: it then stays for a while, or nobody sees it."""
    names = [str(each) for each in directories]
    code = f"import os, time\nfound = [set(os.listdir(each)) for each in {names!r}]\ntime.sleep({0.5 if watch else 0})"
    return usage([sys.executable, "-c", code], watch=watch)
