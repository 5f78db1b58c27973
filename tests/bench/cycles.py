"""Whole cycles: what a run costs end to end, what the driver takes of it, and what one more run costs."""

from __future__ import annotations

from collections.abc import Generator, Iterator

from tests.bench import floors
from tests.bench.measure import Usage, of_commands, of_memory, repeated, snakemake
from tests.bench.rates import import_floor
from tests.bench.rows import Measured
from tests.bench.sites import BenchSite, Hall, Kind

STAGES = 2
SAMPLE = 300
"""Runs of which the floors are taken."""


def cycles(hall: Hall) -> Iterator[Measured]:
    """500 and 2,000 runs."""
    yield from _whole(hall, hall.site(), 500)
    site, large = yield from _whole(hall, hall.site(), 2000)
    yield _driver(hall, site, large, 2000)
    yield Measured("memory-2000", [large.memory], [snakemake(watch=True).memory])


def long_cycles(hall: Hall) -> Iterator[Measured]:
    """5,000 runs in one window, 20,000 in many; 2,000 once more, for comparison."""
    _, window = yield from _whole(hall, hall.site(app={"window_size": 5000}), 5000)
    yield Measured("window-5000", [window.driver_memory], [snakemake(watch=True).memory])
    start = _start(hall)
    site = hall.site()
    site.take_runs(hall.size(2000))
    few = site.cycle(watch=True)
    site, many = yield from _whole(hall, hall.site(), 20_000)
    yield _driver(hall, site, many, 20_000)
    costs = [(used.driver_cpu - start) / hall.size(runs) for used, runs in ((few, 2000), (many, 20_000))]
    yield Measured("linear", [costs[1] / costs[0]], [1.0])


def _whole(hall: Hall, site: BenchSite, number: int) -> Generator[Measured, None, tuple[BenchSite, Usage]]:
    """All new runs through both stages in one cycle."""
    runs = site.take_runs(hall.size(number))
    sample = runs[: hall.size(SAMPLE)]
    bare = import_floor(hall, site, sample) + floors.put_and_get(hall.folder(), site.packed(sample))
    used = site.cycle(watch=True)
    yield Measured(f"cycle-{number}", [len(runs) / used.seconds], [len(sample) / bare])
    return site, used


def _driver(hall: Hall, site: BenchSite, used: Usage, number: int) -> Measured:
    """Its start included."""
    bare = floors.marker_files(site.root / "plain-markers", hall.size(number))
    return Measured(
        f"cpu-{number}",
        [1000 * used.driver_cpu / hall.size(number) / STAGES],
        [1000 * bare.cpu / hall.size(number)],
    )


def _start(hall: Hall) -> float:
    """CPU seconds of the driver for a cycle of one run."""
    site = hall.site()
    site.take_runs(1)
    return site.cycle(watch=True).driver_cpu


def one_run(hall: Hall) -> Iterator[Measured]:
    """Into a directory of 5,000."""
    return _one_run(hall, "directory", 5000)


def long_one_run(hall: Hall) -> Iterator[Measured]:
    """Into a directory of 20,000 and a PostgreSQL of 100,000."""
    yield from _one_run(hall, "directory", 20_000)
    yield from _one_run(hall, "postgres", 100_000)


def _one_run(hall: Hall, kind: Kind, stored: int) -> Iterator[Measured]:
    site = hall.site(kind, hall.size(stored))
    key = f"one-{kind}-{stored}"

    def pair() -> tuple[Usage, Usage]:
        site.take_runs(1)
        return site.cycle("--incremental"), snakemake()

    yield from of_commands(key, repeated(pair))
    site.take_runs(1)
    yield of_memory(key, site.cycle("--incremental", watch=True), snakemake(watch=True))
