"""Whenever the report says SAFE, every byte on disk is in both stores; and its advice leads back there.

Hypothesis invents what happens to an archive of a few runs: records arrive file by file, grow, lose files, vanish and
come back; disks are unmounted; the stores lose or change content; another program stores runs and versions; the work
directory is lost or restored; the clock jumps; cycles are killed. After every step the report is held against
oracle.py, which reads disk and stores without the archiver's code.
"""

from __future__ import annotations

import itertools
import os
import re
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import psycopg
import pytest
import yaml
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule, run_state_machine_as_test

from rra_state.base import run_numbers
from rra_state.config import loading
from rra_state.records.model import Document
from rra_state.reporting.assessment import Assessment, assess
from rra_state.reporting.request import ask
from rra_state.state.snapshot import Snapshot
from tests import in_process
from tests.other_program import documents, load, stop_of
from tests.reliability import oracle
from tests.reliability.conftest import reliability_settings
from tests.reliability.counts import count
from tests.reliability.faults import Fault
from tests.servers import Folder

STOP = b"\nDAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"
STEPS_HOME = 5
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
HISTORIES = 20_000 if LONG else 100
SHARES = range(20 if LONG else 1)
"""Parts of them that pytest-xdist can run side by side. Of the long ones each draws its own."""

numbers = st.integers(0, 7)


def record(run: int) -> dict[str, bytes]:
    """The files of an ended run."""
    return {
        "boot.txt": b"DAQ setup script: /daq/setup.sh\n",
        "component01.fcl": b"run: %d\n" % run,
        "component02.fcl": b"gain: 2\n",
        "metadata.txt": b"Config name: standard\nComponent #0: component01\nComponent #1: component02\n" + STOP,
        "settings.txt": b"level: %d\n" % run,
    }


class Archive(RuleBasedStateMachine):
    """One archive's history."""

    ucondb: Folder
    connection: psycopg.Connection[Any]
    memory: Path
    identities = itertools.count(1)
    seconds = staticmethod(time.time)
    days = 0
    histories = safe = 0

    def __init__(self) -> None:
        super().__init__()
        self.root = Path(tempfile.mkdtemp(dir=self.memory))
        self.records, self.archive = self.root / "run_records", self.root / "artdaqdb"
        self.work, self.copy = self.root / "work", self.root / "copy of work"
        self.object = f"oracle{next(self.identities)}"
        self.config = self.root / "config.yaml"
        self.config.write_text(yaml.safe_dump(self.sections()))
        self.config.chmod(0o600)
        self.settings = loading.load(self.config, in_process.environment())
        self.records.mkdir()
        self.to_come: dict[int, list[str]] = {}
        self.away: dict[int, Path] = {}
        self.loading: dict[int, list[Document]] = {}
        self.seen: set[int] = set()
        type(self).histories += 1

    def sections(self) -> dict[str, dict[str, Any]]:
        return {
            "app": {"work_dir": str(self.work), "run_process_retries": 1, "retry_delay_seconds": 0},
            "source_files": {"run_records_dir": str(self.records), "quiet_seconds": 0, "settle_seconds": 3600},
            "artdaq_db": {"database_uri": self.artdaqdb()},
            "ucon_db": self.ucondb.section(object_name=self.object),
        }

    def artdaqdb(self) -> str:
        return f"filesystemdb://{self.archive}"

    def teardown(self) -> None:
        try:
            if sys.exc_info()[0] is None:
                self.the_advice_leads_home()
        finally:
            shutil.rmtree(self.root)

    # ---- the DAQ ----

    @initialize(number=st.integers(0, 3))
    def runs_are_archived(self, number: int) -> None:
        for run in range(100, 100 + number):
            self.to_come[run] = list(record(run))
            self.files_arrive(run, 5)
        self.run("--incremental")

    @rule(order=st.permutations(sorted(record(1))), first=st.sampled_from([5, 5, 4, 2, 1]))
    def a_record_arrives(self, order: list[str], first: int) -> None:
        run = 100 + len(self.to_come)
        self.to_come[run] = list(order)
        self.files_arrive(run, first)
        self.check()

    def files_arrive(self, run: int, number: int) -> None:
        directory = self.records / str(run)
        directory.mkdir(exist_ok=True)
        for name in self.to_come[run][:number]:
            (directory / name).write_bytes(record(run)[name])
        del self.to_come[run][:number]

    @precondition(lambda self: any(self.incomplete()))
    @rule(place=numbers, number=st.integers(1, 5))
    def the_rest_of_a_record_arrives(self, place: int, number: int) -> None:
        for run in self.one_of(self.incomplete(), place):
            self.files_arrive(run, number)
        self.check()

    def incomplete(self) -> list[int]:
        return [run for run, names in self.to_come.items() if names and (self.records / str(run)).exists()]

    def one_of(self, runs: list[int], place: int) -> Iterator[int]:
        yield from runs[place % len(runs) :][:1] if runs else ()

    def there(self) -> list[int]:
        return sorted(oracle.on_disk(self.records))

    @precondition(lambda self: self.there())
    @rule(place=numbers, name=st.sampled_from(sorted(record(1))))
    def a_file_grows(self, place: int, name: str) -> None:
        for run in self.one_of(self.there(), place):
            path = self.records / str(run) / name
            if path.exists():
                path.write_bytes(path.read_bytes() + b"\nmore: 1\n")
        self.check()

    @precondition(lambda self: self.there())
    @rule(place=numbers, name=st.sampled_from(sorted(record(1))))
    def a_file_is_lost(self, place: int, name: str) -> None:
        for run in self.one_of(self.there(), place):
            (self.records / str(run) / name).unlink(missing_ok=True)
        self.check()

    @precondition(lambda self: self.there())
    @rule(place=numbers)
    def a_record_vanishes(self, place: int) -> None:
        for run in self.one_of(self.there(), place):
            self.away[run] = self.root / f"away{run}"
            (self.records / str(run)).rename(self.away[run])
        self.check()

    @precondition(lambda self: self.away)
    @rule(place=numbers)
    def a_record_comes_back(self, place: int) -> None:
        for run in self.one_of(sorted(self.away), place):
            self.away.pop(run).rename(self.records / str(run))
        self.check()

    # ---- another program ----

    @precondition(lambda self: self.there())
    @rule(place=numbers, number=st.integers(1, 9))
    def another_program_stores_files(self, place: int, number: int) -> None:
        complete = {run for run, files in oracle.on_disk(self.records).items() if self.is_complete(files)}
        new = complete - self.in_artdaqdb().keys() - self.loading.keys()
        for run in self.one_of(sorted(new | {run for run, left in self.loading.items() if left}), place):
            if run not in self.loading:
                self.loading[run] = list(documents(self.config, run))
            load(self.artdaqdb(), run, self.loading[run][:number])
            del self.loading[run][:number]
        self.check()

    @precondition(lambda self: self.foreign())
    @rule(place=numbers, version=st.integers(1, 9))
    def another_program_adds_a_version(self, place: int, version: int) -> None:
        for run in self.one_of(sorted(self.foreign()), place):
            load(self.artdaqdb(), run, [stop_of(run)], version=f"v{version}")
        self.run("--incremental")  # which looks for it

    def foreign(self) -> set[int]:
        """Runs that another program stored whole, with one version."""
        return {
            run for run, names in self.of_others().items() if not self.loading.get(run) and "RunHistory2" not in names
        }

    def in_artdaqdb(self) -> dict[int, oracle.Files]:
        return oracle.in_artdaqdb(self.archive)

    def of_others(self) -> dict[int, set[str]]:
        return oracle.of_other_programs(self.archive)

    # ---- the sites ----

    @rule(name=st.sampled_from(["run_records", "artdaqdb"]))
    def a_disk_is_unmounted_for_a_cycle(self, name: str) -> None:
        if not list(self.work.glob("markers/import/*.json")):
            return  # nothing tells a bare mount point from a new archive
        with self.unmounted(name):
            assert self.command("--incremental").status == 1
            assert self.assessment().verdict.level == "unknown"
        self.check()

    @contextmanager
    def unmounted(self, name: str) -> Iterator[None]:
        mounted, hidden = self.root / name, self.root / f"{name}.hidden"
        mounted.rename(hidden)
        mounted.mkdir()
        try:
            yield
        finally:
            shutil.rmtree(mounted)
            hidden.rename(mounted)

    @precondition(lambda self: self.in_ucondb())
    @rule(place=numbers, change=st.sampled_from(["lost", "hidden", "other bytes"]))
    def ucondb_loses_a_blob(self, place: int, change: str) -> None:
        folder = self.ucondb.folder
        statement = {
            "lost": f"delete from {folder}_versions where object = %s and key = %s",
            "hidden": f"update {folder}_versions set deleted = true where object = %s and key = %s",
            "other bytes": f"update {folder}_data set data = 'x' || data where key in"
            f" (select data_key::bigint from {folder}_versions where object = %s and key = %s)",
        }[change]
        for run in self.one_of(sorted(self.in_ucondb()), place):
            self.connection.execute(statement, (self.object, str(run)))
        self.seen_only_by_verification()

    def in_ucondb(self) -> dict[int, oracle.Files]:
        return oracle.in_ucondb(self.connection, self.ucondb.folder, self.object)

    def seen_only_by_verification(self) -> None:
        """A change behind the stores' listings is found by --verify, not before."""
        self.run("--verify")

    # ---- the operator ----

    @rule()
    def the_work_directory_is_lost(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        self.seen.clear()
        self.check()

    @precondition(lambda self: self.work.exists())
    @rule()
    def the_work_directory_is_copied(self) -> None:
        shutil.rmtree(self.copy, ignore_errors=True)
        shutil.copytree(self.work, self.copy)

    @precondition(lambda self: self.copy.exists())
    @rule()
    def an_older_copy_is_restored(self) -> None:
        shutil.rmtree(self.work, ignore_errors=True)
        shutil.copytree(self.copy, self.work)
        self.seen.clear()
        self.check()

    @rule(stage=st.sampled_from(["import", "migrate"]))
    def state_is_recovered(self, stage: str) -> None:
        self.run(f"--recover-{stage}-state")

    @rule()
    def the_timer_fires(self) -> None:
        self.run("--incremental")

    @rule(options=st.sampled_from(["", "--retry-failed-import", "--retry-failed-migrate", "--verify"]))
    def a_command_is_given(self, options: str) -> None:
        self.run(*options.split())

    @precondition(lambda self: self.there())
    @rule(place=numbers)
    def a_refresh_is_asked_for(self, place: int) -> None:
        for run in self.one_of(self.there(), place):
            self.run("--refresh", str(run))

    @rule(step=st.integers(0, 60))
    def a_cycle_is_killed(self, step: int) -> None:
        self.run("--incremental", fault=Fault("kill", step))

    def run(self, *options: str, fault: Fault | None = None) -> in_process.Ended:
        there = set(self.there())
        ended = self.command(*options, fault=fault)
        assert ended.status != 2, ended
        if options[:1] == ("--forget",):
            self.seen -= run_numbers.parse(options[1])
        if not ended.killed and options[:1] not in (
            ("--verify",),
            ("--recover-migrate-state",),
        ):  # they look at no record
            self.seen |= there
        self.check()
        return ended

    @rule(days=st.sampled_from([-2, 0, 2]))
    def the_clock_jumps(self, days: int) -> None:
        """The archiver's clock, not the file system's."""
        self.days = days
        self.run("--incremental")

    def command(self, *options: str, fault: Fault | None = None) -> in_process.Ended:
        with self.clock(), mock.patch.object(loading, "load", return_value=self.settings):
            return in_process.command(self.config, *options, fault=fault)

    @contextmanager
    def clock(self) -> Iterator[None]:
        def now() -> float:
            return self.seconds() + self.days * 86400

        with mock.patch.object(time, "time", now):
            yield

    # ---- what is said ----

    def assessment(self) -> Assessment:
        """What every report says."""
        with self.clock():
            snapshot = Snapshot.take(self.settings)
            return assess(snapshot, ask(snapshot))

    def check(self) -> None:
        report = self.command("--report-status")
        assert report.status in (0, 1), report
        assert report.status == 1 or re.search("^(SAFE|NO RUN ON DISK)", report.output, re.MULTILINE), report
        if report.status == 0:
            type(self).safe += "\nSAFE" in report.output
            found = [*self.disagreements()]
            assert not found, (report.output, found)

    def disagreements(self) -> Iterator[str]:
        disk, artdaqdb, ucondb = oracle.on_disk(self.records), self.in_artdaqdb(), self.in_ucondb()
        complete = {run: files for run, files in disk.items() if run in artdaqdb or self.is_complete(files)}
        yield from oracle.disagreements(complete, artdaqdb, ucondb, self.of_others())
        lost = self.seen - disk.keys() - ucondb.keys()
        if lost:
            yield f"lost: {sorted(lost)}"

    def is_complete(self, files: oracle.Files) -> bool:
        return (
            STOP in files.get("metadata.txt", b"")
            and {"component01.fcl", "component02.fcl", "boot.txt"} <= files.keys()
        )

    def the_advice_leads_home(self) -> None:
        for _ in range(STEPS_HOME):
            assessment = self.assessment()
            if assessment.verdict.level in ("safe", "empty"):
                return
            for step in assessment.steps:
                self.run(*shlex.split(step.options))
        assessment = self.assessment()
        if assessment.verdict.level not in ("safe", "empty"):
            assert any(step.person for step in assessment.steps), assessment


@pytest.fixture
def machine(ucondb: Folder, memory: Path) -> Iterator[Callable[[], Archive]]:
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:
        yield type("Archive", (Archive,), {"ucondb": ucondb, "connection": connection, "memory": memory})


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("share", SHARES)
def test_the_oracle_agrees_with_safe_and_advice_leads_home(
    machine: type[Archive], share: int, request: pytest.FixtureRequest
) -> None:
    profile = settings(reliability_settings(), stateful_step_count=12, max_examples=HISTORIES // len(SHARES))
    run_state_machine_as_test(machine, settings=profile)
    count(request, "histories that the oracle followed", machine.histories)
    count(request, "reports that said SAFE in them", machine.safe)
    assert machine.safe > machine.histories
