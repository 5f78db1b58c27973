"""FHiCL and one large record: what a single core has to do for a run."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from rra_state.records import fhicl
from scripts.make_run_records import record_files, write_record
from tests import samples
from tests.bench.measure import cpu, repeated, snakemake
from tests.bench.rows import Measured
from tests.bench.sites import Hall
from tests.paths import REPOSITORY

LARGE = 7027
_MEMORY = """
import re, sys
from pathlib import Path
from rra_state.config import loading
from rra_state.workers import import_stage
from rra_state.workers.worker import WorkerContext

def peak():
    return int(re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())[1])

Path("/proc/self/clear_refs").write_text("5")
before = peak()
[outcome] = import_stage.import_runs([int(sys.argv[2])], WorkerContext(loading.load(sys.argv[1])), {})
assert outcome.archived, outcome.error
print(1024 * (peak() - before))
"""


def measure(hall: Hall) -> Iterator[Measured]:
    """Rates by CPU time; the large record as a cycle of its own."""
    made = [
        text
        for run in range(1, hall.size(150) + 1)
        for name, text in record_files(run).items()
        if name.endswith(".fcl")
    ]
    yield _rate("fhicl", made)
    record = samples.RECORDS / str(LARGE)
    if not record.is_dir():
        return
    files = {path.name: path.read_bytes() for path in record.iterdir()}
    yield _rate("fhicl-7027", [text for name, text in files.items() if name.endswith(".fcl")])
    yield from _large(hall, files)


def _rate(key: str, texts: Sequence[bytes]) -> Measured:
    size = sum(map(len, texts)) / 1e6
    decoded = [text.decode("utf-8", "surrogateescape") for text in texts]

    def pair() -> tuple[float, float]:
        floor = cpu(
            lambda: [(text.translate(None), json.dumps(plain)) for text, plain in zip(texts, decoded, strict=True)]
        )
        return size / cpu(lambda: [fhicl.examine(text) for text in texts]), size / floor

    figures, floors = zip(*repeated(pair), strict=True)
    return Measured(key, figures, floors)


def _large(hall: Hall, files: dict[str, bytes]) -> Iterator[Measured]:
    seconds, floors, memory = [], [], []
    size = sum(map(len, files.values()))
    for _ in range(5):
        tried, site = hall.site(), hall.site()
        for each in (tried, site):
            write_record(each.records / str(LARGE), files)
        memory.append(_memory(tried.config) / size)
        floors.append(snakemake().seconds)
        seconds.append(site.cycle("--import-only").seconds)
    yield Measured("record-7027", seconds, floors)
    yield Measured("memory-7027", memory, [1.0])


def _memory(config: Path) -> float:
    """Bytes by which a process grows that imports the record."""
    command = [sys.executable, "-c", _MEMORY, str(config), str(LARGE)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY).stdout)
