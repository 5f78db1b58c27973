"""`make bench`: what a run costs, end to end, with real stores. Prints the table of docs/performance.md.

Every figure comes from one run of this program, on one machine, with the command line as an operator starts it. The
floor beside a rate is a bare loop over the same bytes, taken in the same minute.
"""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from rra_state import config, fsio
from rra_state.records import blob, convert, fhicl, source
from rra_state.stores.ucondb import UconDB
from scripts.make_run_records import make_records
from tests import servers

RUNS = 500
STORED = int(os.environ.get("RRA_BENCH_STORED", "5000"))  # smaller to try the bench itself


@dataclass(frozen=True)
class Cost:
    """Wall time, and CPU time of the command line and of the Snakemake process (the driver), without the workers."""

    seconds: float
    driver_cpu: float


@dataclass
class Bench:
    """One archive that grows."""

    root: Path
    server: servers.DevServer

    def __post_init__(self) -> None:
        self.records = self.root / "run_records"
        self.config = self.root / "config.yaml"
        self.server.create_folder("bench")
        self.config.write_text(yaml.safe_dump(self._settings()))

    def make(self, count: int, first_run: int) -> None:
        make_records(count, self.records, first_run=first_run)

    def cycle(self, *options: str) -> Cost:
        """Run the command line quietly. Raises CalledProcessError."""
        cpu, began = _children_cpu(), time.perf_counter()
        command = [sys.executable, "-m", "rra_state", str(self.config), "-q", *options]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return Cost(time.perf_counter() - began, _children_cpu() - cpu)

    def _settings(self) -> dict[str, dict[str, object]]:
        return {
            "app": {"work_dir": str(self.root / "work")},
            "source_files": {"run_records_dir": str(self.records), "settle_seconds": 0},
            "artdaq_db": {"database_uri": f"filesystemdb://{self.root / 'artdaqdb'}"},
            "ucon_db": {
                "server_url": self.server.url,
                "folder_name": "bench",
                "writer_user": servers.USER,
                "writer_password": servers.PASSWORD,
            },
        }


def main() -> int:
    """Measure and print."""
    with _server() as server, tempfile.TemporaryDirectory(prefix="rra-bench-", dir="/var/tmp") as directory:
        for line in _table(Bench(Path(directory), server)):
            print(line, flush=True)
    return 0


def _table(bench: Bench) -> Iterator[str]:
    yield f"{time.strftime('%Y-%m-%d')}, commit {_commit()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    yield ""
    yield "| what | figure | floor | ratio |"
    yield "| --- | --- | --- | --- |"
    bench.make(RUNS, 1)
    yield from _rates(bench, "empty archive", 1)
    yield _row("idle cycle", f"{bench.cycle().seconds:.2f} s")
    bench.make(STORED - RUNS, RUNS + 1)
    filled = bench.cycle()
    yield _row(f"whole cycle, {STORED - RUNS} runs, both stages", f"{(STORED - RUNS) / filled.seconds:.0f} runs/s")
    per_run = 1000 * filled.driver_cpu / (STORED - RUNS)
    yield _row("driver, CPU per run, both stages", f"{per_run:.1f} ms")
    bench.make(1, STORED + 1)
    yield _row(f"cycle that brings one run into {STORED}", f"{bench.cycle('--incremental').seconds:.2f} s")
    yield _row(f"idle cycle, {STORED} runs archived", f"{bench.cycle('--incremental').seconds:.2f} s")
    bench.make(RUNS, STORED + 2)
    yield from _rates(bench, f"{STORED} runs stored", STORED + 2)
    yield _row(f"--report-status, {STORED + RUNS} runs", f"{bench.cycle('--report-status').seconds:.2f} s")
    yield _fhicl_row(bench.records)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    yield _row("largest process of all of this", f"{peak:.0f} MB")


def _rates(bench: Bench, title: str, first_run: int) -> Iterator[str]:
    """Import and migration of RUNS runs, each against its floor."""
    runs = range(first_run, first_run + RUNS)
    documents = {run: _documents(bench.records / str(run), run) for run in runs}
    floor = RUNS / _timed(lambda: _write_plainly(bench.root / "plain", documents))
    rate = RUNS / bench.cycle("--import-only").seconds
    yield _row(f"import, {title}", f"{rate:.0f} runs/s", f"{floor:.0f} runs/s", rate / floor)
    floor = RUNS / _timed(lambda: _put_plainly(bench, documents))
    rate = RUNS / bench.cycle("--migrate-only").seconds
    yield _row(f"migrate, {title}", f"{rate:.0f} runs/s", f"{floor:.0f} runs/s", rate / floor)


def _documents(directory: Path, run: int) -> dict[str, bytes]:
    converted = convert.convert(source.read(directory, run))
    return {document.name: document.text for document in converted.documents}


def _write_plainly(directory: Path, documents: dict[int, dict[str, bytes]]) -> None:
    """Floor of the import: the same texts as plain files, synced in chunks of 25 runs."""
    directory.mkdir(exist_ok=True)
    runs = sorted(documents)
    for first in range(0, len(runs), 25):
        chunk = runs[first : first + 25]
        fsio.write_batch((directory / f"{run}-{name}", text) for run in chunk for name, text in documents[run].items())


def _put_plainly(bench: Bench, documents: dict[int, dict[str, bytes]]) -> None:
    """Floor of the migration: one put and the read-back of the same blobs, in one loop over one connection."""
    folder = f"floor_{min(documents)}"
    bench.server.create_folder(folder)
    settings = config.load(bench.config).ucon_db.model_copy(update={"folder_name": folder})
    store = UconDB(settings)
    for run, files in documents.items():
        store.put(run, blob.pack(run, files))


def _fhicl_row(records: Path) -> str:
    texts = [path.read_bytes() for path in sorted(records.glob("*/*.fcl"))[:2000]]
    size = sum(map(len, texts)) / 1e6
    floor = size / _timed(lambda: [text.translate(None).decode() for text in texts])
    rate = size / _timed(lambda: [fhicl.check(text) for text in texts])
    return _row("FHiCL, parse and evaluate", f"{rate:.1f} MB/s", f"{floor:.0f} MB/s (bytes.translate)", rate / floor)


def _row(what: str, figure: str, floor: str = "", ratio: float | None = None) -> str:
    return f"| {what} | {figure} | {floor} | {'' if ratio is None else f'{ratio:.2g}'} |"


def _timed(action: Callable[[], object]) -> float:
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def _children_cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def _commit() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return found.stdout.strip() or "unknown"


@contextmanager
def _server() -> Iterator[servers.DevServer]:
    """PostgreSQL without fsync, as in the tests, and the development server: the figures are the archiver's."""
    with servers.running_postgres() as uri, servers.temporary_directory() as directory:
        server = servers.DevServer(directory, uri)
        server.start()
        try:
            yield server
        finally:
            server.stop()


if __name__ == "__main__":
    raise SystemExit(main())
