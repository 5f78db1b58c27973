"""What follows a cycle of the real command line, whatever way the cycle ended."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from scripts.make_run_records import make_records
from tests.acceptance.site import Site
from tests.acceptance.test_faults import wait_until
from tests.unit.test_metrics import Numbers, read


@pytest.fixture
def numbers(site: Site) -> Callable[[], Numbers]:
    """The metrics as Prometheus reads them."""
    path = Path(site.root / "rra.prom")
    site.configure(metrics={"prometheus_file": str(path)})
    return lambda: read(path.read_text())


def test_a_cycle_ends_with_its_metrics(site: Site, numbers: Callable[[], Numbers]) -> None:
    make_records(4, site.records, first_run=1, breaks={3: "no-metadata"})

    site.archive_runs(status=1)

    found = numbers()
    assert found["rra_runs", "archived"] == found["rra_cycle_runs", "migrate", "archived"] == 3
    assert found["rra_failures", "import", "RecordError"] == found["rra_cycle_runs", "import", "failed"] == 1
    assert found["rra_cycle_good",] == 1, "a bad record is no fault of a place"
    assert found["rra_stored_bytes_total", "migrate"] == sum(map(len, site.blobs().values()))


def test_a_cycle_that_a_fault_ends_says_so_and_still_ends_with_its_own_words(
    site: Site, numbers: Callable[[], Numbers]
) -> None:
    site.make(3)
    site.ucondb.stop()

    done = site.archive_runs("-q", status=1)

    found = numbers()
    assert found["rra_cycle_good",] == 0
    assert found["rra_stage_runs", "migrate", "waiting"] == 3
    assert found["rra_retries_total", "migrate"] >= 2
    assert ("rra_success_timestamp_seconds", "migrate") not in found
    assert len(done.stderr.splitlines()) == 1


def test_a_cycle_that_cannot_begin_says_so(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.records.rmdir()

    site.archive_runs("--incremental", status=1)

    found = numbers()
    assert found["rra_cycle_good",] == 0
    assert ("rra_runs", "archived") not in found


def test_an_interrupted_cycle_ends_with_its_metrics(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.make(200)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.kill(cycle.pid, signal.SIGTERM)
    cycle.communicate(timeout=30)

    found = numbers()
    assert cycle.returncode == 130
    assert found["rra_cycle_good",] == 0
    assert found["rra_stage_runs", "import", "archived"] == len(site.markers("import"))


def test_a_plain_snakemake_ends_with_its_metrics(site: Site, numbers: Callable[[], Numbers]) -> None:
    site.make(3)

    site.snakemake("import_all")

    found = numbers()
    assert found["rra_cycle_runs", "import", "archived"] == 3
    assert ("rra_success_timestamp_seconds", "migrate") not in found
