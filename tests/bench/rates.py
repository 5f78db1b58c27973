"""Import and migration by the hundred: runs a second, each batch right after its floor."""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import dataclass, field

from tests.bench import floors
from tests.bench.rows import Measured
from tests.bench.sites import BenchSite, Hall, Kind

BATCH = 300
BATCHES = 3
KINDS: tuple[Kind, ...] = ("directory", "postgres")


@dataclass
class Rates:
    """What came out for one size of one kind."""

    rates: list[float] = field(default_factory=list)
    floors: list[float] = field(default_factory=list)

    @property
    def cost(self) -> tuple[float, float]:
        """Seconds per run, of the archiver and of the floor."""
        return 1 / statistics.median(self.rates), 1 / statistics.median(self.floors)


def imports(hall: Hall) -> Iterator[Measured]:
    """Into an empty archive and into one of 2,000 runs."""
    return _imports(hall, 2000, told_empty=True)


def long_imports(hall: Hall) -> Iterator[Measured]:
    """Into an empty archive, for comparison, and into one of 20,000 runs."""
    return _imports(hall, 20_000, told_empty=False)


def _imports(hall: Hall, stored: int, *, told_empty: bool) -> Iterator[Measured]:
    for kind in KINDS:
        full, found = hall.site(kind, hall.size(stored)), {0: Rates(), stored: Rates()}
        for _ in range(BATCHES):  # in turn, so that both sizes see the same neighbours
            _batch(hall, hall.site(kind), kind, found[0])
            _batch(hall, full, kind, found[stored])
        for size, rates in found.items():
            if size or told_empty:
                yield Measured(f"import-{kind}-{size}", rates.rates, rates.floors)
        (empty, empty_floor), (cost, floor) = found[0].cost, found[stored].cost
        yield Measured(f"cost-{kind}-{stored}", [cost / empty], [floor / empty_floor])


def _batch(hall: Hall, site: BenchSite, kind: Kind, found: Rates) -> None:
    runs = site.take_runs(hall.size(BATCH))
    found.floors.append(len(runs) / import_floor(hall, site, runs, kind))
    site.cycle("--import-only")
    found.rates.append(site.rate("import", runs))


def import_floor(hall: Hall, site: BenchSite, runs: range, kind: Kind = "directory") -> float:
    """Seconds for the same documents without the archiver."""
    documents = floors.stored(site.documents(runs))
    if kind == "postgres":
        return floors.copied(hall.postgres, documents)
    plain = site.root / "plain"
    seconds = floors.plain_files(plain, documents)
    floors.discard(plain)
    return seconds


def migrations(hall: Hall) -> Iterator[Measured]:
    """From a directory into UconDB."""
    site, rates, bare = hall.site(), [], []
    for _ in range(BATCHES):
        runs = site.take_runs(hall.size(2 * BATCH))
        site.cycle("--import-only")
        bare.append(len(runs) / floors.put_and_get(hall.folder(), site.packed(runs)))
        site.cycle("--migrate-only")
        rates.append(site.rate("migrate", runs))
    yield Measured("migrate", rates, bare)


def workers(hall: Hall) -> Iterator[Measured]:
    """The same import with one worker and with two."""
    gains, bare = [], []
    for _ in range(BATCHES):
        rate = {}
        for number in (1, 2):
            site = hall.site(app={"parallel_workers": number})
            runs = site.take_runs(hall.size(BATCH))
            site.cycle("--import-only")
            rate[number] = site.rate("import", runs)
        gains.append(rate[2] / rate[1])
        bare.append(floors.spinning())
    yield Measured("two-workers", gains, bare)
