"""The world around the archiver: run records on disk, the two stores, and the hands of DAQ and operators."""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
import yaml

from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.records import blob, signatures
from rra_state.state.outcome import Stage
from rra_state.stores import artdaqdb
from tests.servers import Folder

SETTLE_SECONDS = 3600
_SETTLED: set[tuple[int, int, int]] = set()
"""Device, inode and change time (ns) of entries that count as changed two hours before."""


def _changed_at(status: os.stat_result) -> float:
    """The change time, which no test can set, earlier for the entries of settled records."""
    settled = (status.st_dev, status.st_ino, status.st_ctime_ns) in _SETTLED
    return status.st_ctime - 2 * SETTLE_SECONDS * settled


signatures.changed_at = _changed_at
FCL = "component01.fcl"
METADATA = "metadata.txt"
BOOT = "boot.txt"
STOP = "\nDAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"
FOREIGN = b"somebody else's"


@dataclass
class Record:
    """A run record as the DAQ has it. ended: with a stop time; settled: nothing changed for long enough."""

    run: int
    files: dict[str, bytes]
    settled: bool = False

    @property
    def good(self) -> bool:
        return METADATA in self.files

    @property
    def ended(self) -> bool:
        return STOP.encode() in self.files.get(METADATA, b"")

    @property
    def ready(self) -> bool:
        return self.ended or self.settled


@dataclass
class World:
    """`number` tells the objects of UconDB of two worlds apart. database_uri: artdaqDB; a directory if not given."""

    root: Path
    ucondb: Folder
    connection: psycopg.Connection[Any]
    number: int
    records: dict[int, Record] = field(default_factory=dict)
    conflicts: set[int] = field(default_factory=set)
    database_uri: str | None = None
    first: dict[int, dict[str, bytes]] = field(default_factory=dict)
    """Source files of a run as they were when artdaqDB first showed it."""

    def __post_init__(self) -> None:
        self.directory = self.root / "run_records"
        self.directory.mkdir(parents=True)
        (self.directory / ".record_directory_info").touch()  # an empty directory would be a disk that is not mounted
        self.object = f"o{self.number}"
        sections = {
            "app": {"work_dir": "work", "run_process_retries": 1, "retry_delay_seconds": 0},
            "source_files": {"run_records_dir": "run_records", "quiet_seconds": 0, "settle_seconds": SETTLE_SECONDS},
            "artdaq_db": {"database_uri": self.database_uri or f"filesystemdb://{self.root}/artdaqdb"},
            "ucon_db": self.ucondb.section(object_name=self.object),
            "fhiclize_generate": ["metadata"],
        }
        file = self.root / "config.yaml"
        file.write_text(yaml.safe_dump(sections))
        self.settings: Settings = loading.load(file, {})
        self.archive = artdaqdb.open_store(self.settings.artdaq_db)

    def limited(self, window: int, batch: int | None) -> Settings:
        """The settings with these sizes."""
        app = self.settings.app.model_copy(update={"window_size": window, "batch_size": batch})
        changed = self.settings.model_copy(update={"app": app})
        changed._path = self.settings.path
        return changed

    # ---- the DAQ -----------------------------------------------------------------------------------------------------

    def take(self, run: int, *, good: bool = True, ended: bool = True) -> None:
        """A run is taken. good: else its directory is empty."""
        files = {
            FCL: f"run: {run}\n".encode(),
            BOOT: b"debug level: 1\n",
            METADATA: b"Config name: standard\nComponent #0: component01\n" + ended * STOP.encode(),
        }
        self.records[run] = Record(run, files if good else {})
        self._write(run)

    def end(self, run: int) -> None:
        """The stop time of an open run arrives."""
        self.records[run].files[METADATA] += STOP.encode()
        self._write(run)

    def settle(self, run: int) -> None:
        """Its DAQ died: an hour goes by and nothing more is written."""
        self.records[run].settled = True
        directory = self.directory / str(run)
        for path in (*directory.iterdir(), directory):
            status = path.stat()
            _SETTLED.add((status.st_dev, status.st_ino, status.st_ctime_ns))

    def mend(self, run: int) -> None:
        """A person puts back the files of an empty record."""
        self.take(run)

    def _write(self, run: int) -> None:
        directory = self.directory / str(run)
        directory.mkdir(exist_ok=True)
        for name, content in self.records[run].files.items():
            (directory / name).write_bytes(content)
        self.records[run].settled = False
        os.utime(directory)

    # ---- the stores --------------------------------------------------------------------------------------------------

    def occupy(self, run: int) -> None:
        """Another program stores something else under a run's key in UconDB: its migration is a conflict."""
        folder = self.ucondb.folder
        [(key,)] = self.connection.execute(
            f"insert into {folder}_data (size, hash, data) values (%s, 1, %s) returning key", (len(FOREIGN), FOREIGN)
        )
        self.connection.execute(
            f"insert into {folder}_versions (key, tv, object, data_key, data_size, adler32)"
            " values (%s, 0.0, %s, %s, %s, %s)",
            (str(run), self.object, str(key), len(FOREIGN), zlib.adler32(FOREIGN)),
        )
        self.conflicts.add(run)

    def vacate(self, run: int) -> None:
        """A person removes that."""
        folder = self.ucondb.folder
        self.connection.execute(
            f"delete from {folder}_versions where object = %s and key = %s", (self.object, str(run))
        )
        self.conflicts.discard(run)

    def imported(self) -> set[int]:
        """Runs that artdaqDB shows; remembers what the source was when one came."""
        runs = self.archive.runs()
        for run in runs - self.first.keys():
            self.first[run] = dict(self.records[run].files)
        return runs

    def stored(self) -> list[int]:
        """Keys of UconDB, one per row of its versions table, but for those of other programs."""
        rows = self.connection.execute(
            f"select coalesce(key, '0') from {self.ucondb.folder}_versions where object = %s", (self.object,)
        )
        return sorted(run for run in (int(key) for (key,) in rows) if run not in self.conflicts)

    def check_content(self, imported: Iterable[int], migrated: Iterable[int]) -> None:
        """These runs really are in the stores, with the source's bytes."""
        imported, migrated = set(imported), set(migrated)
        located = self.archive.locate(imported)
        assert located.keys() == imported
        exports = {run: self.archive.export(location) for run, location in located.items()}
        for run, export in exports.items():
            assert located[run].version == located[run].configuration, f"run {run} was imported twice"
            assert export.files[FCL] == self.first[run][FCL]
            assert {each.name: each.data for each in export.sources} == {METADATA: self.first[run][METADATA]}
        rows = self.connection.execute(
            f"select v.key::bigint, d.data from {self.ucondb.folder}_versions v"
            f" join {self.ucondb.folder}_data d on d.key = v.data_key::bigint where v.object = %s",
            (self.object,),
        )
        blobs = {run: bytes(data) for run, data in rows}
        for run in migrated:
            assert blob.unpack(blobs[run]).run == run
            assert blob.unpack(blobs[run]).files == exports[run].files

    # ---- the work directory, without the archiver's code -------------------------------------------------------------

    @property
    def work(self) -> Path:
        return self.settings.app.work_dir

    def state_file(self, stage: Stage) -> Path:
        return self.work / {"import": "importer_state.json", "migrate": "migrator_state.json"}[stage]

    def log_file(self, stage: Stage) -> Path:
        return self.work / f"{stage}_failures.log"

    def ledger(self, stage: Stage) -> Path:
        return self.work / "state" / f"{stage}.json"

    def marked(self, stage: Stage) -> set[int]:
        return _numbers(self.work / "markers" / stage)

    def failures(self, stage: Stage) -> set[int]:
        return _numbers(self.work / "failures" / stage)

    def unmark(self, stage: Stage, runs: Iterable[int]) -> None:
        for run in runs:
            (self.work / "markers" / stage / f"{run}.json").unlink()

    def lose_everything(self) -> None:
        """The work directory is lost; records and stores are not."""
        for directory in ("markers/import", "markers/migrate", "failures/import", "failures/migrate", "state", "watch"):
            with contextlib.suppress(FileNotFoundError):
                for path in (self.work / directory).iterdir():
                    path.unlink()
        for stage in ("import", "migrate"):
            self.state_file(stage).unlink(missing_ok=True)
            self.log_file(stage).unlink(missing_ok=True)

    def numbers(self, stage: Stage) -> tuple[int, int]:
        """The two numbers of a state file, which holds nothing else."""
        values = json.loads(self.state_file(stage).read_bytes())
        assert list(values) == ["last_contiguous_run", "last_attempted_run"]
        assert all(type(value) is int for value in values.values())
        return values["last_contiguous_run"], values["last_attempted_run"]

    def log(self, stage: Stage) -> list[int]:
        with contextlib.suppress(FileNotFoundError):
            return [int(line) for line in self.log_file(stage).read_text().split()]
        return []


def _numbers(directory: Path) -> set[int]:
    with contextlib.suppress(FileNotFoundError):
        return {int(path.stem) for path in directory.iterdir() if not path.name.startswith(".")}
    return set()
