"""What is done when there is nothing to do, or everything was lost: with 100,000 archived runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import psycopg
import requests

from rra_state.config import loading
from rra_state.state.recovery import NEEDED_DOCUMENTS
from rra_state.stores.artdaqdb.lookup import RUNS_AT_ONCE
from rra_state.stores.artdaqdb.postgres_session import queries
from tests.bench import floors
from tests.bench.measure import Usage, listing, memory_of_listing, of_commands, of_memory, repeated, timed
from tests.bench.rows import Measured
from tests.bench.sites import BenchSite, Hall

RUNS = 100_000
_ON = {
    "metrics": {"prometheus_file": "${app.work_dir}/rra.prom"},
    "reporting": {"email": {"enabled": True, "recipient_email": "shift@example.org", "smtp_port": 9}},
}
"""Metrics and notifier at work; there is nothing to tell, so no mail server is asked."""


def measure(hall: Hall) -> Iterator[Measured]:
    """On PostgreSQL, as `--check` recommends for so many runs."""
    site = hall.site("postgres", hall.size(RUNS), **_ON)
    site.cycle("--incremental")  # the first one after the growing writes its notes
    markers = [site.work / "markers" / stage for stage in ("import", "migrate")]
    yield from _command(site, "idle", "--incremental", [site.records, *markers])
    yield from _command(site, "report", "--report-status", [site.records, *markers], lambda: _list_runs(site))
    # Not removed: an ext4 gives out no inode within a minute of its removal, and passing over 200,000 takes longer than
    # all the rest.
    site.work.rename(site.root / "lost")
    for stage in ("import", "migrate"):
        yield from _recovery(hall, site, stage)


def _command(
    site: BenchSite, key: str, option: str, directories: Sequence[Path], servers: Callable[[], object] = lambda: None
) -> Iterator[Measured]:
    """servers: what they do for it, whose time is taken off."""

    def once() -> tuple[Usage, Usage]:
        theirs, used = timed(servers), site.cycle(option)
        used.seconds -= theirs
        return used, listing(directories)

    yield from of_commands(key, repeated(once))
    yield of_memory(key, site.cycle(option, watch=True), memory_of_listing(directories))


def _recovery(hall: Hall, site: BenchSite, stage: str) -> Iterator[Measured]:
    """From nothing, markers and all; once, since it takes long. The servers' own time is taken off."""
    servers = timed(lambda: _outline(site)) + (timed(lambda: _list_ucondb(site)) if stage == "migrate" else 0)
    used = site.cycle(f"--recover-{stage}-state", watch=True)
    bare = floors.marker_files(site.root / f"plain-{stage}", hall.size(RUNS))
    used.seconds -= servers
    yield from of_commands(f"recover-{stage}", [(used, bare)])
    yield of_memory(f"recover-{stage}", used, memory_of_listing([site.records]))


def _list_runs(site: BenchSite) -> None:
    """What the two servers take to tell which runs they hold; nothing is made of it."""
    with psycopg.connect(loading.load(site.config).artdaq_db.database_uri) as connection:
        connection.execute(queries()["runs"])
    _list_ucondb(site)


def _outline(site: BenchSite) -> None:
    """What PostgreSQL takes to tell of all runs, asked as the archiver asks."""
    named = queries()
    with psycopg.connect(loading.load(site.config).artdaq_db.database_uri) as connection:
        runs = sorted(run for (run,) in connection.execute(named["runs"]))
        for first in range(0, len(runs), RUNS_AT_ONCE):
            some = {"runs": runs[first : first + RUNS_AT_ONCE], "needed": sorted(NEEDED_DOCUMENTS)}
            connection.execute(named["outlines"], some)


def _list_ucondb(site: BenchSite) -> None:
    folder = site.ucondb
    query = {"folder": folder.folder, "object": "configuration"}
    requests.get(f"{folder.url}/versions", params=query, timeout=300).raise_for_status()
