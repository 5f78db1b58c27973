"""An operator's site in a temporary folder: records, archive, work directory, configuration, real command line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from rra_state.records import blob
from rra_state.state.outcome import STAGES, Stage
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.postgres import PostgresDB
from scripts.make_run_records import make_records, remove_record
from tests.paths import REPOSITORY
from tests.servers import Folder
from tests.waiting import scaled

TIMEOUT = scaled(100)


@dataclass
class Site:
    """One archiver and its two stores.

    ucondb: a fresh folder of a real development server. database: URI of artdaqDB's PostgreSQL; a directory without.
    """

    root: Path
    ucondb: Folder
    database: str = ""

    def __post_init__(self) -> None:
        self.records.mkdir(exist_ok=True)
        self.configure()

    @property
    def records(self) -> Path:
        return self.root / "run_records"

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    @property
    def archive(self) -> ArtdaqDB:
        return PostgresDB(self.database) if self.database else FilesystemDB(self.root / "artdaqdb")

    def configure(self, **changes: dict[str, Any]) -> None:
        """Write config.yaml; `changes` holds keys per section that differ from the plainest configuration."""
        sections: dict[str, dict[str, Any]] = {
            "app": {"work_dir": str(self.work), "parallel_workers": 2, "retry_delay_seconds": 0.1},
            "source_files": {"run_records_dir": str(self.records), "quiet_seconds": 0, "settle_seconds": 0},
            "artdaq_db": {"database_uri": self.database or f"filesystemdb://{self.root}/artdaqdb"},
            "ucon_db": self.ucondb.section(),
        }
        for section, values in changes.items():
            sections.setdefault(section, {}).update(values)
        self.config.touch(mode=0o600)
        self.config.write_text(yaml.safe_dump(sections))

    def make(self, count: int, first_run: int = 1) -> None:
        """Have the DAQ take `count` runs."""
        make_records(count, self.records, first_run=first_run)

    def remove(self, run: int) -> None:
        remove_record(self.records / str(run))

    def command(self, *options: str) -> list[str]:
        return [sys.executable, "-m", "rra_state", str(self.config), *options]

    def archive_runs(self, *options: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run the command line; check its exit status unless `status` is None."""
        return self.real_archive_runs(*options, status=status)

    def real_archive_runs(self, *options: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """The same in processes of its own, of whatever kind this site is."""
        return self._run(self.command(*options), status)

    def snakemake_command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "snakemake", *arguments, "--configfile", str(self.config)]

    def snakemake(self, *arguments: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        """Run a plain `snakemake` from the repository root, as an operator would."""
        return self._run(self.snakemake_command(*arguments), status)

    def start(self, command: list[str]) -> subprocess.Popen[str]:
        """Start a command in a process group of its own."""
        return subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment(),
            start_new_session=True,
        )

    def _run(self, command: list[str], status: int | None) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            command, cwd=REPOSITORY, capture_output=True, text=True, timeout=TIMEOUT, check=False, env=environment()
        )
        assert status is None or done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    # ---- looking around ----

    def markers(self, stage: Stage) -> set[int]:
        return {int(path.stem) for path in (self.work / "markers" / stage).glob("*.json")}

    def marker(self, stage: Stage, run: int) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self.work / "markers" / stage / f"{run}.json").read_text())
        return found

    def state(self, stage: Stage) -> dict[str, int]:
        name = {"import": "importer_state.json", "migrate": "migrator_state.json"}[stage]
        found: dict[str, int] = json.loads((self.work / name).read_text())
        return found

    def failures(self, stage: Stage) -> list[int]:
        name = {"import": "import_failures.log", "migrate": "migrate_failures.log"}[stage]
        return [int(line) for line in (self.work / name).read_text().split()]

    def blobs(self) -> dict[str, bytes]:
        """Every blob in UconDB by its key, straight from the database."""
        rows = self.ucondb.execute(
            f"select v.key, d.data from {self.ucondb.folder}_versions v"
            f" join {self.ucondb.folder}_data d on d.key = v.data_key::bigint where v.key is not null"
        )
        return {key: bytes(data) for key, data in rows}

    def versions(self) -> int:
        """Rows of versions in UconDB: one per run unless something was stored twice."""
        [(number,)] = self.ucondb.execute(f"select count(*) from {self.ucondb.folder}_versions")
        return int(number)

    def assert_archived_once(self, runs: Iterable[int]) -> None:
        """These runs, and no others, are in both stores exactly once, with the source's bytes."""
        expected = set(runs)
        blobs = self.blobs()
        assert {int(key) for key in blobs} == expected
        assert self.versions() == len(expected)
        archive = self.archive
        assert archive.runs() == expected
        located = archive.locate(expected)
        for run in expected:
            files = blob.unpack(blobs[str(run)]).files
            assert files == archive.export(located[run]).files
            for path in (self.records / str(run)).glob("*.fcl"):
                assert files[path.name] == path.read_bytes()
            assert located[run].version == located[run].configuration
        for stage in STAGES:
            assert self.markers(stage) == expected


def environment() -> dict[str, str]:
    """The caller's environment without what would change the archiver's behaviour."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("RRA_", "UCONDB_"))}
