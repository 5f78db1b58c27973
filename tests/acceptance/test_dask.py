"""Cycles whose chunks run on a Dask cluster: a real scheduler and real worker processes on this machine."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor

import pytest

from rra_state.base.errors import WorkersUnusable
from rra_state.config import loading
from rra_state.execution import dask_pool
from tests.dask_cluster import Cluster
from tests.servers import temporary_directory
from tests.site import Site
from tests.waiting import scaled, wait_until


@pytest.fixture
def cluster(site: Site) -> Iterator[Cluster]:
    with temporary_directory() as directory:
        found = Cluster(directory)
        site.configure(app={"workers": found.address})
        found.start_scheduler()
        yield found
        found.stop()


def test_a_cycle_on_a_dask_cluster_archives_every_run_once(site: Site, cluster: Cluster) -> None:
    site.make(60)
    cluster.start_worker()
    cluster.start_worker()

    site.archive_runs()

    site.assert_archived_once(range(1, 61))
    assert "nothing to do" in site.archive_runs("--incremental").stderr


def test_a_dask_worker_killed_in_the_middle_costs_no_run(site: Site, cluster: Cluster) -> None:
    site.make(120)
    cluster.start_worker()
    cluster.start_worker()
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 25)

    os.killpg(cluster.workers[0].pid, signal.SIGKILL)
    output, _ = cycle.communicate(timeout=scaled(100))

    assert cycle.returncode == 0, output
    site.assert_archived_once(range(1, 121))


def test_a_dask_scheduler_restarted_in_the_middle_costs_no_run(site: Site, cluster: Cluster) -> None:
    site.make(120)
    cluster.start_worker()
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 25)

    cluster.stop()
    cluster.start_scheduler()
    cluster.start_worker()
    cycle.communicate(timeout=scaled(100))

    assert not list(site.work.glob("failures/*/*.json"))
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 121))


def test_a_dask_worker_without_the_records_costs_no_run(site: Site, cluster: Cluster) -> None:
    site.make(4)
    elsewhere = ("unshare", "--mount", "sh", "-c", f'mount -t tmpfs none {site.records} && exec "$@"', "sh")
    if subprocess.run([*elsewhere, "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("not here: another view of the file system needs the right to mount")
    cluster.start_worker(*elsewhere)

    refused = site.archive_runs(status=1)

    assert f"Dask worker on {socket.gethostname()}" in refused.stderr
    assert str(site.records) in refused.stderr
    assert not list(site.work.glob("failures/*/*.json"))
    cluster.stop()
    cluster.start_scheduler()
    cluster.start_worker()
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 5))


def test_one_signal_stops_a_cycle_on_a_dask_cluster_too(site: Site, cluster: Cluster) -> None:
    site.make(200)
    cluster.start_worker()
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 25)

    os.kill(cycle.pid, signal.SIGINT)
    output, _ = cycle.communicate(timeout=scaled(60))

    assert cycle.returncode == 130, output
    assert len(site.markers("import")) < 200
    assert not list(site.work.glob("failures/*/*.json"))


def test_case_b14_a_dask_cluster_that_is_away_is_named(site: Site) -> None:
    site.configure(app={"workers": "dask://127.0.0.1:9"})
    settings = loading.load(site.config)

    with pytest.raises(WorkersUnusable, match=r"no Dask worker can be had at tcp://127\.0\.0\.1:9"):
        dask_pool.DaskPool(settings, seconds=2)


def test_a_client_without_its_scheduler_can_be_stopped(site: Site, cluster: Cluster) -> None:
    """After a long cut the client closes itself; the cycle then ends with its own error, not with Dask's."""
    cluster.start_worker()
    pool = dask_pool.DaskPool(loading.load(site.config))
    pool._client.close()

    with pytest.raises(BrokenExecutor, match="is gone"):
        pool.submit(len, [1])
    pool.ask_to_stop()
    pool.close()
