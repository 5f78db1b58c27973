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

from tests.acceptance.site import environment
from tests.bench.rows import Measured
from tests.paths import REPOSITORY

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

    seconds: wall clock. cpu: CPU seconds of it and of its children. memory: highest MB of all its processes together,
    shared pages counted once. driver_memory, driver_cpu: the same of the command line and of Snakemake, without the
    workers. All but the first two are 0 if it was not watched.
    """

    seconds: float
    cpu: float
    memory: float = 0.0
    driver_cpu: float = 0.0
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
        watcher.end()
        found.memory, found.driver_memory, found.driver_cpu = watcher.peak, watcher.driver_peak, watcher.driver_cpu
    return found


def of_commands(key: str, pairs: Sequence[tuple[Usage, Usage]]) -> Iterator[Measured]:
    """Wall clock and CPU of a command, each with its floor."""
    yield Measured(key, [used.seconds for used, _ in pairs], [bare.seconds for _, bare in pairs])
    yield Measured(f"{key}-cpu", [used.cpu for used, _ in pairs], [bare.cpu for _, bare in pairs])


def of_memory(key: str, used: Usage, bare: Usage) -> Measured:
    """Memory of a command that was watched, with its floor."""
    return Measured(f"{key}-memory", [used.memory], [bare.memory])


@dataclass
class _Watcher:
    """Looks at the processes of a session again and again, on a thread. Its driver: the leader with its children."""

    leader: int
    peak: float = 0.0
    driver_peak: float = 0.0
    _spent: dict[int, float] = field(default_factory=dict)
    _ended: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    @property
    def driver_cpu(self) -> float:
        """CPU seconds, as they were last seen of each."""
        return sum(self._spent.values())

    def end(self) -> None:
        """Look no more."""
        self._ended.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ended.wait(LOOK_SECONDS):
            sizes = {pid: _megabytes(pid) for pid in _session(self.leader)}
            self.peak = max(self.peak, sum(sizes.values()))
            driver = {pid: spent for pid in sizes for parent, spent in _status(pid) if self.leader in (pid, parent)}
            self.driver_peak = max(self.driver_peak, sum(sizes[pid] for pid in driver))
            self._spent |= driver


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
        return _pss(Path(f"/proc/{pid}/smaps_rollup").read_text())
    return 0.0


def _pss(rollup: str) -> float:
    return sum(int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")) / 1024


def _status(pid: int) -> Iterator[tuple[int, float]]:
    """Parent, and CPU seconds without those of children; nothing if it is gone."""
    with suppress(OSError):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        yield int(fields[1]), (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


# ---- floors of commands --------------------------------------------------------------------------------------------


def snakemake(*, watch: bool = False) -> Usage:
    """What Snakemake takes to say its version."""
    return usage([sys.executable, "-m", "snakemake", "--version"], watch=watch)


def listing(directories: Sequence[Path]) -> Usage:
    """What a Python takes to list these directories."""
    return usage([sys.executable, "-c", _LISTING.format([str(each) for each in directories])])


def memory_of_listing(directories: Sequence[Path]) -> Usage:
    """The memory of it, which it tells itself while it has the names: it is over before anybody looks."""
    code = _LISTING.format([str(each) for each in directories]) + _TELLING
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return Usage(0.0, 0.0, _pss(told.stdout))


_LISTING = "import os\nfound = [set(os.listdir(each)) for each in {!r}]\n"
_TELLING = "print(open('/proc/self/smaps_rollup').read())"
