"""Weeks of an archiver's life in minutes: `make soak`, or `python -m tests.reliability.soak SECONDS`.

Runs arrive, the server of UconDB is restarted and killed, operators ask for the status, two archivers are started at
once, cycles are killed, faults are made on purpose. At the end everything is archived once, and `--verify` finds it so.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from tests.acceptance.site import Site
from tests.servers import DevServer, Folder, running_postgres, temporary_directory

FUZZ = {"random_skip_percent": 3, "random_skip_retry": True, "random_error_percent": 3, "random_error_retry": True}
GROWTH = 1.5
"""How much more the last cycles may need than the first."""


@dataclass
class Soak:
    """One site and what was done to it."""

    site: Site
    server: DevServer
    chance: Random
    runs: int = 0
    cycles: int = 0
    killed: int = 0
    restarts: int = 0
    refused: int = 0
    memory: list[int] = field(default_factory=list)
    per_run: list[float] = field(default_factory=list)

    def go_on(self) -> None:
        """A few minutes of a real archiver's life."""
        new = self.chance.randrange(1, 15)
        self.site.make(new, first_run=self.runs + 1)
        self.runs += new
        if self.chance.random() < 0.15:
            self._restart()
        options = [self.chance.choice(("--incremental", "--incremental", "--retry-failed-import"))]
        cycles = [self.site.start(self.site.command(*options))]
        if self.chance.random() < 0.3:
            cycles.append(self.site.start(self.site.command("--incremental")))
        if self.chance.random() < 0.3:
            self.site.archive_runs("--report-status", status=None)
        if self.chance.random() < 0.2:
            time.sleep(self.chance.uniform(0.2, 3))
            os.killpg(cycles[0].pid, signal.SIGKILL)
            self.killed += 1
        for cycle in cycles:
            self._end(cycle)

    def _end(self, cycle: subprocess.Popen[str]) -> None:
        assert cycle.stdout is not None
        said = cycle.stdout.read()
        _, status, usage = os.wait4(cycle.pid, 0)
        cycle.returncode = os.waitstatus_to_exitcode(status)
        cycle.stdout.close()
        self.cycles += 1
        assert "Traceback" not in said, said
        if "already running" in said:
            self.refused += 1
        elif cycle.returncode in (0, 1):
            self.memory.append(usage.ru_maxrss)
        archived = len(self.site.markers("migrate"))
        if archived > 20:
            self.per_run.append(_size(self.site.work) / archived)

    def _restart(self) -> None:
        self.server.stop(self.chance.choice((signal.SIGTERM, signal.SIGKILL)))
        self.server.start()
        self.restarts += 1

    def audit(self) -> None:
        """Everything is put right, and is as it must be."""
        self.site.configure()
        for options in (["--incremental"], ["--retry-failed-import"], ["--retry-failed-migrate"], []):
            self.site.archive_runs(*options, status=None)
        self.site.assert_archived_once(range(1, self.runs + 1))
        assert self.site.failures("import") == self.site.failures("migrate") == []
        assert not list(self.site.root.rglob(".*.tmp"))
        self.site.archive_runs("--verify")
        _flat("memory of a cycle, kB", self.memory)
        _flat("work directory, bytes per run", self.per_run)
        left = _processes_naming(self.site.config)
        assert not left, f"still running: {left}"


def _flat(what: str, values: list[int] | list[float]) -> None:
    part = max(1, len(values) // 4)
    first, last = statistics.median(values[:part]), statistics.median(values[-part:])
    print(f"{what}: {first:.0f} at first, {last:.0f} at last", flush=True)
    assert last <= first * GROWTH, what


def _size(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _processes_naming(file: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            command = (process / "cmdline").read_bytes()
        except OSError:
            continue
        if os.fsencode(file) in command:
            found.append(process.name)
    return found


def main(seconds: float) -> None:
    """Go on for so long, then audit."""
    chance = Random(int(os.environ.get("SOAK_SEED", "20261125")))
    with temporary_directory() as directory, running_postgres() as postgres:
        (directory / "server").mkdir()
        server = DevServer(directory / "server", postgres)
        server.start()
        try:
            (directory / "site").mkdir()
            site = Site(directory / "site", Folder.fresh(server, "soak"))
            site.configure(app_fuzz=FUZZ)
            soak = Soak(site, server, chance)
            end = time.monotonic() + seconds
            while time.monotonic() < end:
                soak.go_on()
            soak.audit()
        finally:
            server.stop()
    print(
        f"{soak.runs} runs, {soak.cycles} cycles, {soak.killed} killed, {soak.refused} refused beside another,"
        f" {soak.restarts} restarts of the server: every run archived once, --verify is clean"
    )


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1800)
