"""docs/design/state.md, Operating scenarios, each as its steps are written."""

from __future__ import annotations

import os
import signal

import pytest

from tests.acceptance.guide import forget, log_file, numbers, state_file, take
from tests.site import Site
from tests.waiting import scaled, wait_until

pytestmark = pytest.mark.in_process


def test_seed_scenario_1_fresh_deployment(site: Site) -> None:
    take(site, range(100, 110), broken=[104])
    site.archive_runs(status=1)
    forget(site)
    take(site, [104])
    puts = site.ucondb.stats()["puts"]

    site.archive_runs("--recover-import-state")
    site.archive_runs("--recover-migrate-state")
    recovered = numbers(site), site.failures("import"), numbers(site, "migrate"), site.failures("migrate")
    site.archive_runs("--retry-failed-import")
    site.archive_runs("--retry-failed-migrate")
    site.archive_runs("--incremental")

    assert recovered == ((103, 109), [104], (103, 109), [])
    assert site.ucondb.stats()["puts"] == puts + 1
    site.assert_archived_once(range(100, 110))
    assert numbers(site) == numbers(site, "migrate") == (109, 109)


def test_seed_scenario_2_state_file_corruption(site: Site) -> None:
    take(site, range(100, 104))
    site.archive_runs("--import-only")
    state_file(site).write_text("{corrupted data...")

    refused = site.archive_runs("--incremental", status=1)
    state_file(site).rename(state_file(site).with_suffix(".json.corrupted"))
    site.archive_runs("--recover-import-state")

    assert str(state_file(site)) in refused.stderr
    assert "--recover-import-state" in refused.stderr
    assert numbers(site) == (103, 103)
    assert state_file(site).with_suffix(".json.corrupted").read_text() == "{corrupted data..."


def test_seed_scenario_3_gap_in_run_sequence(site: Site) -> None:
    take(site, range(12095, 12151), broken=[12101, 12103, 12107])
    site.archive_runs("--import-only", status=1)
    assert numbers(site) == (12100, 12150)
    assert site.failures("import") == [12101, 12103, 12107]

    take(site, [12101, 12103])
    site.archive_runs("--retry-failed-import", status=1)
    assert numbers(site) == (12106, 12150)
    compared = site.archive_runs("--report-status", "--compare-state", status=1)
    investigated = site.archive_runs("--retry-failed-import", "-v", status=1)
    take(site, [12107])
    site.archive_runs("--retry-failed-import")

    assert "import_failures.log: 1 run to retry: 12107" in compared.stdout
    assert "run 12107: " in investigated.stderr
    assert "the record holds no file to archive" in investigated.stderr
    assert numbers(site) == (12150, 12150)
    assert site.failures("import") == []


def test_seed_scenario_4_manual_database_operations(site: Site) -> None:
    take(site, range(100, 106), broken=[102])
    site.archive_runs(status=1)
    take(site, [102, 106])
    with_external_tools(site)

    before = site.archive_runs("--report-status", "--compare-state", status=1)
    site.archive_runs("--recover-import-state")
    recovered = numbers(site), site.failures("import")
    after = site.archive_runs("--report-status", "--compare-state", status=1)
    site.archive_runs("--incremental")

    assert "import: runs in artdaqDB without a marker: 102,106; repair with: ./run_archiver.sh" in before.stdout
    assert recovered == ((106, 106), [])
    assert "consistent: state files, failure logs and markers agree with the sites" in after.stdout
    site.assert_archived_once(range(100, 107))
    assert numbers(site, "migrate") == (106, 106)


def test_seed_scenario_5_processing_interrupted(site: Site) -> None:
    take(site, range(100, 400), broken=[105])
    cycle = site.start(site.command("--incremental"))
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.killpg(cycle.pid, signal.SIGKILL)
    cycle.communicate(timeout=scaled(30))
    (site.work / ".archiver.lock").unlink()
    site.real_archive_runs("--incremental", status=None)  # 1 unless run 105 had failed before
    take(site, [105])
    site.archive_runs("--retry-failed-import")
    site.archive_runs("--incremental")

    site.assert_archived_once(range(100, 400))
    assert numbers(site) == numbers(site, "migrate") == (399, 399)
    assert log_file(site).read_text() == log_file(site, "migrate").read_text() == ""
    assert not list(site.root.rglob(".*.tmp"))


def with_external_tools(site: Site) -> None:
    """Another program stores what is on disk in the same artdaqDB."""
    own = site.config.read_text()
    site.configure(app={"work_dir": str(site.root / "elsewhere")})
    site.archive_runs("--import-only")
    site.config.write_text(own)
