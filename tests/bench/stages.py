"""Import and migration by the hundred, and FHiCL alone: CPU per run, and runs a second right after their floors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from rra_state.base.errors import FhiclError
from rra_state.records import fhicl
from scripts.make_run_records import record_files
from tests.bench import floors
from tests.bench.measure import cpu, repeated, snakemake
from tests.bench.rows import Measured
from tests.bench.sites import BenchSite, Hall

BATCH = 250
BATCHES = 2


def parsing(hall: Hall) -> Iterator[Measured]:
    """MB of FHiCL per CPU second."""
    texts = [
        text
        for run in range(1, hall.size(150) + 1)
        for name, text in record_files(run).items()
        if name.endswith(".fcl")
    ]
    size = sum(map(len, texts)) / 1e6
    yield Measured("fhicl", repeated(lambda: size / cpu(lambda: [_checked(text) for text in texts])))


def _checked(text: bytes) -> None:
    with suppress(FhiclError):
        fhicl.checked_snippet(text)


def stages(hall: Hall) -> Iterator[Measured]:
    """Into an empty archive of each kind, and from the directory into UconDB."""
    yield from _measured(hall, "directory", ("import", "migrate"))
    yield from _measured(hall, "postgres", ("import",))


def _measured(hall: Hall, kind: str, names: tuple[str, ...]) -> Iterator[Measured]:
    rates: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    costs: dict[str, list[tuple[float, float]]] = {name: [] for name in names}
    for _ in range(BATCHES):
        site = hall.site(kind)
        site.take_runs(1)
        starts = {name: site.cycle(f"--{name}-only").cpu for name in names}
        runs = site.take_runs(hall.size(BATCH))
        for name in names:
            floor = import_floor(hall, site, runs, kind) if name == "import" else migrate_floor(hall, site, runs)
            used, version = site.cycle(f"--{name}-only"), snakemake()
            rates[name].append((site.rate(name, runs), len(runs) / floor))
            costs[name].append((1000 * (used.cpu - starts[name]) / len(runs), 1000 * version.cpu))
    for name in names:
        key = f"{name}-{kind}" if name == "import" else name
        yield Measured(f"{key}-cpu", *zip(*costs[name], strict=True))
        yield Measured(key, *zip(*rates[name], strict=True))


def import_floor(hall: Hall, site: BenchSite, runs: range, kind: str = "directory") -> float:
    """Seconds for the same documents without the archiver."""
    documents = floors.stored(site.documents(runs))
    return floors.copied(hall.postgres, documents) if kind == "postgres" else floors.plain_files(site.root, documents)


def migrate_floor(hall: Hall, site: BenchSite, runs: range) -> float:
    """Seconds for the same blobs without the archiver."""
    return floors.put_and_get(hall.folder(), site.packed(runs))
