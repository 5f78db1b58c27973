"""Cycles as a timer starts them: of many runs, of one run, and of none."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator

import psycopg
import requests

from rra_state.stores.artdaqdb.postgres_session import queries
from tests.bench import floors
from tests.bench.measure import Usage, repeated, snakemake, timed
from tests.bench.rows import Measured
from tests.bench.sites import KINDS, BenchSite, Hall
from tests.bench.stages import BATCH, BATCHES, import_floor, migrate_floor

STAGES = 2
FEW = 150
"""Runs of one batch where only the cost of a run is compared."""
_ON = {
    "metrics": {"prometheus_file": "${app.work_dir}/rra.prom"},
    "reporting": {"email": {"enabled": True, "recipient_email": "shift@example.org", "smtp_port": 9}},
}
"""Metrics and mail on; there is nothing to report, so no mail server is asked."""


def cycles(hall: Hall) -> Iterator[Measured]:
    """2,000 new runs through both stages."""
    site = hall.site()
    runs = site.take_runs(hall.size(2000))
    sample = runs[: hall.size(BATCH)]
    beside = [_floors(hall, site, sample)]
    used = site.cycle()
    beside.append(_floors(hall, site, sample))  # what else runs on the machine may have changed meanwhile
    bottom, versions = zip(*beside, strict=True)
    yield Measured("driver-cpu", [1000 * used.driver_cpu / len(runs) / STAGES], versions)
    yield Measured("cycle-2000", [len(runs) / used.seconds], bottom)


def _floors(hall: Hall, site: BenchSite, runs: range) -> tuple[float, float]:
    """Runs a second without the archiver, and CPU milliseconds of `snakemake --version`."""
    seconds = import_floor(hall, site, runs) + migrate_floor(hall, site, runs)
    return len(runs) / seconds, 1000 * snakemake().cpu


def restore(hall: Hall) -> Iterator[Measured]:
    """2,000 runs out of UconDB, start of the processes included, beside reading the same blobs before and after."""
    site = hall.site()
    site.configure(ucon_db={"include_originals": True})
    runs = site.take_runs(hall.size(2000))
    site.cycle()
    beside = [len(runs) / floors.gets(site.ucondb, runs)]
    out = site.root / "restored"
    used = site.cycle("--restore", f"{runs[0]}-{runs[-1]}", str(out), "--from", "ucondb")
    beside.append(len(runs) / floors.gets(site.ucondb, runs))
    shutil.rmtree(out)
    yield Measured("restore-2000", [len(runs) / used.seconds], beside)


def one_run(hall: Hall) -> Iterator[Measured]:
    """Into a directory of 5,000."""
    yield _one_run(hall.site("directory", hall.size(5000)), "one-directory-5000")


def many(hall: Hall) -> Iterator[Measured]:
    """With 100,000 runs in PostgreSQL."""
    site = hall.site("postgres", hall.size(100_000), **_ON)
    yield _one_run(site, "one-postgres-100000")
    yield _beside_snakemake("idle", lambda: site.cycle("--incremental"))
    for key, options in (("report", ()), ("page", ("--format", "html"))):
        yield Measured(key, repeated(lambda options=options: _report(site, options)))  # type: ignore[misc]


def large(hall: Hall) -> Iterator[Measured]:
    """Stores of 20,000 runs beside empty ones, in turn."""
    for kind in KINDS:
        full = hall.site(kind, hall.size(20_000))
        costs = [(_cost(hall, full), _cost(hall, hall.site(kind))) for _ in range(BATCHES)]
        yield Measured(f"cost-{kind}-20000", *zip(*costs, strict=True))
        if kind == "directory":
            yield _one_run(full, "one-directory-20000")


def _cost(hall: Hall, site: BenchSite) -> float:
    """Milliseconds of wall clock for the import of a run, without the start."""
    runs = site.take_runs(hall.size(FEW))
    site.cycle("--import-only")
    return 1000 / site.rate("import", runs)


def _one_run(site: BenchSite, key: str) -> Measured:
    def cycle() -> Usage:
        site.take_runs(1)
        return site.cycle("--incremental")

    cycle()  # the first one reads what the growing of the site has just written
    return _beside_snakemake(key, cycle)


def _beside_snakemake(key: str, command: Callable[[], Usage]) -> Measured:
    pairs = repeated(lambda: (command().seconds, snakemake().seconds))
    return Measured(key, *zip(*pairs, strict=True))


def _report(site: BenchSite, options: tuple[str, ...]) -> float:
    """Seconds of a report, without those that the two servers take to list their runs."""
    listing = timed(lambda: _list_runs(site))
    return site.cycle("--report-status", *options).seconds - listing


def _list_runs(site: BenchSite) -> None:
    with psycopg.connect(site.database) as connection:
        connection.execute(queries()["runs"])
    query = {"folder": site.ucondb.folder, "object": "configuration"}
    requests.get(f"{site.ucondb.url}/versions", params=query, timeout=300).raise_for_status()
