"""Cycles on a Dask cluster whose scheduler and workers are hosts of their own, in network namespaces; links are cut."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest

from tests import namespaces
from tests.dask_cluster import Cluster
from tests.namespaces import HOME, Network
from tests.paths import REPOSITORY
from tests.servers import temporary_directory
from tests.site import Site, environment
from tests.waiting import scaled, wait_until

SOON = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "11s"}
"""After how long Dask takes a silent connection for a broken one: 30 s unless set, and it starts with no less."""
RUNS = range(1, 121)
WORKERS = ("worker1", "worker2")
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"


@dataclass
class Farm:
    """The archiver at home, with a scheduler and two workers elsewhere, and UconDB within everybody's reach."""

    site: Site
    network: Network
    cluster: Cluster
    cycles: list[subprocess.Popen[str]] = field(default_factory=list)

    def start_workers(self) -> None:
        """One on each of two hosts."""
        for name in WORKERS:
            self.cluster.start_worker(*self.network.at(name))

    def start_cycle(self, *options: str) -> subprocess.Popen[str]:
        """The command line at home."""
        cycle = subprocess.Popen(
            [*self.network.at(HOME), *self.site.command(*options)],
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment() | SOON,
            start_new_session=True,
        )
        self.cycles.append(cycle)
        return cycle

    def stop(self) -> None:
        """End all that runs on these hosts."""
        for cycle in self.cycles:
            with suppress(ProcessLookupError):
                os.killpg(cycle.pid, signal.SIGKILL)
            cycle.communicate()
        self.cluster.stop()

    def sent_again(self) -> int:
        """Segments that the workers had to send once more."""
        return sum(map(self.network.sent_again, WORKERS))

    def in_the_middle(self) -> None:
        """Wait until a part of the runs is imported, and a part of these not migrated."""
        wait_until(lambda: len(self.site.markers("import")) >= 25)
        assert len(self.site.markers("migrate")) < len(RUNS)


@pytest.fixture
def farm(site: Site) -> Iterator[Farm]:
    port = urlsplit(site.ucondb.url).port
    assert port is not None
    with (
        namespaces.opened("scheduler", *WORKERS) as network,
        network.forwarded(port) as forwarded,
        temporary_directory() as directory,
    ):
        cluster = Cluster(directory, network.addresses["scheduler"], SOON)
        url = f"http://{network.addresses[HOME]}:{forwarded}/ucondb"
        site.configure(app={"workers": cluster.address}, ucon_db={"server_url": url, "timeout_seconds": scaled(0.6)})
        site.make(len(RUNS))
        cluster.start_scheduler(*network.at("scheduler"))
        found = Farm(site, network, cluster)
        found.start_workers()
        yield found
        found.stop()


def test_dask_network_a_workers_cut_link_costs_no_run(farm: Farm) -> None:
    cycle = farm.start_cycle()
    farm.in_the_middle()

    farm.network.cut("worker1")
    output, _ = cycle.communicate(timeout=scaled(100))

    assert cycle.returncode == 0, output
    farm.site.assert_archived_once(RUNS)


def test_dask_network_a_short_cut_is_survived(farm: Farm) -> None:
    cycle = farm.start_cycle()
    farm.in_the_middle()

    before = farm.sent_again()
    farm.network.cut("scheduler")
    wait_until(lambda: farm.sent_again() >= before + 4)  # the workers felt it
    farm.network.mend("scheduler")
    output, _ = cycle.communicate(timeout=scaled(100))

    assert cycle.returncode == 0, output
    farm.site.assert_archived_once(RUNS)


@pytest.mark.skipif(not LONG, reason="not here: waits for Dask to give everything up; make test-long")
def test_dask_network_a_long_cut_costs_no_run(farm: Farm) -> None:
    cycle = farm.start_cycle()
    farm.in_the_middle()

    farm.network.cut("scheduler")
    wait_until(lambda: all(worker.poll() is not None for worker in farm.cluster.workers), 90)
    farm.network.mend("scheduler")
    farm.start_workers()
    output, _ = cycle.communicate(timeout=scaled(100))

    assert not list(farm.site.work.glob("failures/*/*.json")), output
    rest = farm.start_cycle("--incremental")
    output, _ = rest.communicate(timeout=scaled(100))
    assert rest.returncode == 0, output
    farm.site.assert_archived_once(RUNS)


@pytest.mark.skipif(not LONG, reason="not here: waits for Dask to give everything up; make test-long")
@pytest.mark.timeout(400)
def test_dask_network_a_lost_scheduler_ends_the_cycle(farm: Farm) -> None:
    cycle = farm.start_cycle()
    farm.in_the_middle()

    farm.network.cut("scheduler")
    output, _ = cycle.communicate(timeout=scaled(300))

    assert cycle.returncode == 1, output
    assert "no Dask worker can be had at" in output.splitlines()[-1]
    assert "IOLoop" not in output
    assert not list(farm.site.work.glob("failures/*/*.json")), output
    farm.site.configure()
    farm.site.archive_runs("--incremental")
    farm.site.assert_archived_once(RUNS)
