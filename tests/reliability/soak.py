"""Weeks of an archiver's life in minutes: `make soak`, or `python -m tests.reliability.soak SECONDS`.

Two sites, one with its artdaqDB in a directory, one in PostgreSQL. Runs arrive, servers are restarted and killed,
operators ask for the status, two archivers are started at once, cycles and single processes of them are killed, faults
are made on purpose. At the end everything is archived once, and `--verify` finds it so.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from rra_state.cycle import snakemake_session
from scripts.ucondb_dev.postgres import Postgres
from tests.reliability import vitals
from tests.reliability.vitals import Vitals, Watch
from tests.servers import DevServer, Folder, running_postgres, temporary_directory
from tests.site import Site
from tests.waiting import scaled

FUZZ = {"random_skip_percent": 3, "random_skip_retry": True, "random_error_percent": 3, "random_error_retry": True}
GROWTH = 1.3
"""How much more the last cycles may need than the first."""
PER_RUN = {"directory": 25.0, "PostgreSQL": 3.0}
"""kB that a cycle may need more for each archived run. A directory's index is read whole: 16 kB a run were measured."""
LEFT = 16 * 2**10
"""Bytes that a killed cycle leaves for the next one to take away."""
LOGS = ".snakemake/log"
QUESTIONS = (["--report-status"], ["--report-status", "--format", "json"], ["--compare-state"], ["--dry-run"])
WORK = (["--incremental"], ["--incremental"], ["--incremental"], [], ["--retry-failed-import"])


@dataclass
class Soak:
    """One site and what was done to it. restarts: what stops and starts a server of its, by name."""

    name: str
    site: Site
    restarts: dict[str, Callable[[], None]]
    chance: Random
    runs: int = 0
    done: Counter[str] = field(default_factory=Counter)
    cycles: list[Vitals] = field(default_factory=list)
    beside: list[float] = field(default_factory=list)
    each: list[float] = field(default_factory=list)

    def configure(self, **changes: dict[str, object]) -> None:
        """The site's configuration, with all that a cycle can leave behind."""
        root = self.site.root
        changes["reporting"] = {"html_file": str(root / "page.html")}
        changes["metrics"] = {"prometheus_file": str(root / "rra.prom")}
        self.site.configure(app={"log_file": str(root / "archiver.log")}, **changes)

    def go_on(self) -> None:
        """A few minutes of a real archiver's life."""
        new = self.chance.randrange(1, 15)
        self.site.make(new, first_run=self.runs + 1)
        self.runs += new
        archived = len(self.site.markers("migrate"))
        cycle = self.site.start(self.site.command(*self.chance.choice(WORK)))
        with Watch(cycle.pid) as watch:
            second = self._start_another() if self.chance.random() < 0.3 else None
            if self.chance.random() < 0.3:
                self._ask()
            if self.chance.random() < 0.15:
                self._restart()
            if self.chance.random() < 0.2:
                self._kill(cycle)
            ended = self._end(cycle)
        if second is not None:
            self._end(second)
        if ended and watch.worked:
            self.cycles.append(watch.vitals(archived))
        self._measure_work_dir()

    def _start_another(self) -> subprocess.Popen[str]:
        self.done["second archivers"] += 1
        return self.site.start(self.site.command("--incremental"))

    def _ask(self) -> None:
        asked = self.site.archive_runs(*self.chance.choice(QUESTIONS), status=None)
        assert "Traceback" not in asked.stderr, asked.stderr
        assert asked.returncode in (0, 1), asked.stderr
        self.done["questions"] += 1

    def _restart(self) -> None:
        name = self.chance.choice(sorted(self.restarts))
        self.restarts[name]()
        self.done[f"restarts of {name}"] += 1

    def _kill(self, cycle: subprocess.Popen[str]) -> None:
        """All of it that is in one process group, or any one process."""
        time.sleep(self.chance.uniform(0.2, 3))
        try:
            if self.chance.random() < 0.5:
                os.killpg(cycle.pid, signal.SIGKILL)
            else:
                os.kill(int(self.chance.choice(vitals.members(cycle.pid)).name), signal.SIGKILL)
        except (IndexError, ProcessLookupError):
            return  # it was over
        self.done["kills"] += 1

    def _end(self, cycle: subprocess.Popen[str]) -> bool:
        """Wait for it; whether it went its way to the end."""
        said = cycle.communicate(timeout=scaled(300))[0]
        self.done["cycles"] += 1
        assert "Traceback" not in said, said
        assert cycle.returncode in (0, 1, -signal.SIGKILL), said
        refused = "already running" in said
        self.done["refused beside another"] += refused
        return cycle.returncode >= 0 and not refused

    def _measure_work_dir(self) -> None:
        """Bytes of what is kept for each run, and of all that is not, but for the last logs of Snakemake."""
        archived, work = len(self.site.markers("migrate")), self.site.work
        own = _size(work / "markers")
        if archived > 50:
            self.each.append(own / archived)
            self.beside.append(_size(work) - own - _size(work / "failures") - _size(work / LOGS))

    # ---- the end -----------------------------------------------------------------------------------------------------

    def audit(self) -> None:
        """Everything is put right, and is as it must be."""
        self.configure()
        for options in (["--incremental"], ["--retry-failed-import"], ["--retry-failed-migrate"], []):
            self.site.archive_runs(*options, status=None)
        self.site.assert_archived_once(range(1, self.runs + 1))
        assert self.site.failures("import") == self.site.failures("migrate") == []
        assert not list(self.site.root.rglob(".*.tmp"))
        verified = self.site.archive_runs("--verify").stdout.strip().splitlines()[-1]
        left = _processes_naming(self.site.config)
        assert not left, f"still running: {left}"

        done = ", ".join(f"{number} {what}" for what, number in sorted(self.done.items()))
        print(f"artdaqDB in {self.name}: {self.runs} runs, {done}")
        print(f"  every run archived once; --verify: {verified}")
        slope, allowed = vitals.per_run(self.cycles), PER_RUN[self.name]
        print(f"  memory of a cycle's largest process: {slope:.1f} kB more for each archived run (at most {allowed:g})")
        _flat("memory but for that, kB", [each.memory - slope * each.archived for each in self.cycles])
        _flat("open descriptors of all its processes", [each.descriptors for each in self.cycles])
        _flat("processes", [each.processes for each in self.cycles])
        _flat("markers and their copy, bytes per run", self.each)
        _flat("work directory beside them, bytes", self.beside, spare=LEFT)
        assert slope <= allowed
        assert len(list((self.site.work / LOGS).iterdir())) <= snakemake_session.KEPT_LOGS


def _flat(what: str, values: list[int] | list[float], spare: int = 0) -> None:
    first, last = vitals.first_and_last(values)
    print(f"  {what}: {first:.0f} at first, {last:.0f} at last", flush=True)
    assert last <= first * GROWTH + spare, what


def _size(directory: Path) -> int:
    """Bytes of all files below; some may vanish meanwhile."""
    total = 0
    for path in directory.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue
    return total


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


def _sites(directory: Path, server: DevServer, database: Postgres, chance: Random) -> list[Soak]:
    def restart_server() -> None:
        server.stop(chance.choice((signal.SIGTERM, signal.SIGKILL)))
        server.start()

    def restart_database() -> None:
        database.stop("immediate")
        database.start()

    soaks = []
    for name, uri in (("directory", ""), ("PostgreSQL", database.uri("postgres"))):
        root = directory / name
        root.mkdir()
        site = Site(root, Folder.fresh(server, name), uri)
        restarts = {"UconDB": restart_server} | ({"PostgreSQL": restart_database} if uri else {})
        soaks.append(Soak(name, site, restarts, chance))
        soaks[-1].configure(app_fuzz=FUZZ)
    return soaks


def main(seconds: float) -> None:
    """Go on for so long, then audit."""
    chance = Random(int(os.environ.get("SOAK_SEED", "20261125")))
    with ExitStack() as stack:
        directory = stack.enter_context(temporary_directory())
        server = DevServer(stack.enter_context(temporary_directory()), stack.enter_context(running_postgres()))
        server.start()
        stack.callback(lambda: server.stop(signal.SIGKILL))
        database = Postgres(stack.enter_context(temporary_directory()) / "pg")
        database.start()
        stack.callback(lambda: database.stop("immediate"))
        soaks = _sites(directory, server, database, chance)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            chance.choice(soaks).go_on()
        for soak in soaks:
            soak.audit()


if __name__ == "__main__":
    main(float(sys.argv[1]) if len(sys.argv) > 1 else 1800)
