"""`make bench-stores`: what a run costs in each kind of artdaqDB, on the same records in one run.

One process stores chunks of 25 runs as a worker and the driver would, then reads every run back, as a migration does.
No Snakemake, no UconDB.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from rra_state.records import convert
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb.base import ArtdaqDB, Staged
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.mongo import MongoDB
from rra_state.stores.artdaqdb.postgres import PostgresDB
from scripts.make_run_records import make_records
from tests import servers
from tests.records import read_record

RUNS = int(os.environ.get("RRA_BENCH_RUNS", "500"))
CHUNK = 25


def main() -> int:
    """Measure and print. Raises AssertionError if a store gives back anything but what was put in."""
    with tempfile.TemporaryDirectory(prefix="rra-bench-", dir="/var/tmp") as name:
        directory = Path(name)
        make_records(RUNS, directory / "run_records", first_run=1)
        records = [
            convert.convert(read_record(directory / "run_records" / str(run), run)) for run in range(1, RUNS + 1)
        ]
        print(f"{RUNS} runs, one process, {os.cpu_count()} cores, Python {sys.version.split()[0]}\n")
        print(
            "| store | store, runs/s | CPU per run | read back, runs/s | CPU per run |\n| --- | --- | --- | --- | --- |"
        )
        for title, opened in _stores(directory):
            with opened as db:
                stored = _timed(lambda db=db: _store(db, records))  # type: ignore[misc]
                read = _timed(lambda db=db: _read(db, records))  # type: ignore[misc]
            print(f"| {title} | {_cells(stored)} | {_cells(read)} |", flush=True)
    return 0


def _stores(directory: Path) -> Iterator[tuple[str, AbstractContextManager[ArtdaqDB]]]:
    yield "directory", _directory(directory / "archive")
    yield "PostgreSQL, without fsync", _postgres()
    yield "MongoDB's protocol over SQLite (NX-27017)", _mongodb()


@contextmanager
def _directory(path: Path) -> Iterator[ArtdaqDB]:
    yield FilesystemDB(path)


@contextmanager
def _postgres() -> Iterator[ArtdaqDB]:
    with servers.running_postgres() as uri:
        yield PostgresDB(uri)


@contextmanager
def _mongodb() -> Iterator[ArtdaqDB]:
    with servers.running_mongodb() as uri:
        yield MongoDB(f"{uri}/bench")


def _store(db: ArtdaqDB, records: list[RunDocuments]) -> None:
    for first in range(0, len(records), CHUNK):
        outcomes = db.stage(records[first : first + CHUNK], {})
        db.publish([each for each in outcomes if isinstance(each, Staged)])


def _read(db: ArtdaqDB, records: list[RunDocuments]) -> None:
    located = db.locate([record.run for record in records])
    for record in records:
        assert db.export(located[record.run]).files == {each.name: each.text for each in record.documents}


def _timed(action: Callable[[], None]) -> tuple[float, float]:
    """Wall and CPU seconds, of this process alone."""
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def _cells(seconds: tuple[float, float]) -> str:
    wall, cpu = seconds
    return f"{RUNS / wall:.0f} | {1000 * cpu / RUNS:.1f} ms"


if __name__ == "__main__":
    sys.exit(main())
