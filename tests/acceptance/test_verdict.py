"""Archived means archived, SAFE means safe: findings, lost runs, unverified markers, and what the report advises."""

from __future__ import annotations

import json
import shlex
import shutil
from collections.abc import Callable
from typing import Any

import pytest

from rra_state.stores.ucondb.client import UconDB
from tests.acceptance.guide import forget, take
from tests.acceptance.test_verify import flip_in_ucondb
from tests.site import Site

pytestmark = pytest.mark.in_process

MOST_STEPS = 5


@pytest.fixture
def archived(site: Site) -> Site:
    """Three small runs in both stores."""
    take(site, [1, 2, 3])
    site.archive_runs()
    return site


def report(site: Site) -> dict[str, Any]:
    """What `--report-status --format json` says; its exit status is 0 only if that is SAFE."""
    done = site.archive_runs("--report-status", "--format", "json", status=None)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["verdict"]["level"] == "safe" else 1)
    return found


def follow_the_advice(site: Site) -> list[str]:
    """Type the first step of the report until it says SAFE; return the options typed.

    Of a store that shrank the person says that its runs are lost for good.
    """
    typed: list[str] = []
    while (found := report(site))["verdict"]["level"] != "safe":
        assert len(typed) < MOST_STEPS, typed
        commands = [shlex.split(step["command"])[2:] for step in found["steps"]]
        options = next((each for each in commands if "--accept-loss" in each), commands[0])
        site.archive_runs(*options, status=None)
        typed.append(" ".join(options))
    return typed


def findings(site: Site) -> set[int]:
    return {int(path.stem) for path in (site.work / "findings").glob("*.json")}


def test_case_a6_a_finding_stays_until_it_is_right(archived: Site) -> None:
    flip_in_ucondb(archived, 2, at=300)
    archived.archive_runs("--verify", status=1)

    found = report(archived)
    text = archived.archive_runs("--report-status", status=1).stdout
    archived.archive_runs("--incremental")
    still = report(archived)
    flip_in_ucondb(archived, 2, at=300)
    archived.archive_runs("--verify", "--runs", "2")

    for each in (found, still):
        assert each["verdict"]["text"] == "NOT SAFE: a verification found 1 archived run wrong: 2"
        assert [row["stage"] for row in each["failures"]] == ["verify"]
        assert [row["state"] for row in each["runs"]] == ["archived", "failed", "archived"]
        assert "--verify --runs 2" in each["steps"][0]["command"]
    assert "came back damaged" in text
    assert findings(archived) == set()
    assert report(archived)["verdict"]["level"] == "safe"


def test_case_a5_cycles_verify_what_was_only_listed(archived: Site) -> None:
    ucondb, content = UconDB(archived.ucondb.settings()), archived.blobs()["3"]
    ucondb.put(3, b"", override_of=ucondb.versions()[3])
    forget(archived)
    archived.archive_runs("--recover-import-state", "--recover-migrate-state")

    recovered = report(archived)
    done = archived.archive_runs(status=1)
    verified = [archived.marker("migrate", run)["verified"] for run in (1, 2, 3)]
    found = report(archived)
    ucondb.put(3, content, override_of=ucondb.versions()[3])
    archived.archive_runs(status=None)

    assert recovered["verdict"]["level"] == "unsure"
    assert "run 3: " in done.stderr
    assert verified == [True, True, False]
    assert found["verdict"]["text"].startswith("NOT SAFE: a verification found 1 archived run")
    assert follow_the_advice(archived) == ["--recover-import-state --recover-migrate-state", "--verify"]
    assert archived.marker("migrate", 3)["verified"]


def empty_ucondb(site: Site) -> None:
    site.ucondb.execute(f"delete from {site.ucondb.folder}_versions")


def lose_work_dir(site: Site) -> None:
    forget(site)


def restore_older_work_dir(site: Site) -> None:
    shutil.copytree(site.work, site.root / "copy")
    take(site, [4, 5])
    site.archive_runs("--incremental")
    shutil.rmtree(site.work)
    (site.root / "copy").rename(site.work)


@pytest.mark.parametrize("harm", [empty_ucondb, lose_work_dir, restore_older_work_dir])
def test_case_a10_a11_the_advice_ends_in_safe(archived: Site, harm: Callable[[Site], None]) -> None:
    harm(archived)

    typed = follow_the_advice(archived)

    assert typed
    assert set(archived.blobs()) == {path.name for path in archived.records.iterdir()}


def test_case_a8_runs_that_vanish_are_lost_until_forgotten(archived: Site) -> None:
    archived.configure(source_files={"quiet_seconds": 3600})
    take(archived, [4, 5, 6])
    archived.archive_runs()
    for run in (4, 5, 6):
        archived.remove(run)
    archived.configure(source_files={"quiet_seconds": 0})

    done = archived.archive_runs("--incremental", status=1)
    lost = report(archived)
    archived.archive_runs("--forget", "4-6")
    forgotten = report(archived)
    take(archived, [5])
    archived.archive_runs()

    assert "RecordLost: runs 4-6 were seen on disk" in done.stderr
    assert lost["verdict"]["text"].startswith("NOT SAFE: LOST 3 runs")
    assert lost["lost"] == "4-6"
    assert [row["state"] for row in lost["runs"]][3:] == ["lost"] * 3
    assert lost["steps"][-1]["command"].endswith("--forget 4-6")
    assert (forgotten["verdict"]["level"], forgotten["lost"], forgotten["forgotten"]) == ("safe", "", "4-6")
    assert archived.failures("import") == []
    assert report(archived)["forgotten"] == "4,6"
    assert "not lost: 2" in archived.archive_runs("--forget", "2", status=1).stderr


def test_case_a8_a_run_that_only_a_recovery_saw_is_lost_too(site: Site) -> None:
    take(site, [1])
    site.archive_runs("--recover-import-state")
    shutil.rmtree(site.records / "1")
    (site.records / "notes").touch()

    assert "LOST 1 run" in site.archive_runs("--report-status", status=1).stdout


def test_case_e17_recovery_counts_runs_without_a_record_apart(archived: Site) -> None:
    (archived.work / "import_failures.log").write_text("9\n")
    take(archived, [4, 5], broken=[4])
    archived.archive_runs(status=1)
    archived.remove(4)

    said = archived.archive_runs("--recover-import-state").stdout

    assert "  Missing runs: 0\n" in said
    assert "In the failure log, and not in filesystem any more: 1 run: 4" in said
    assert report(archived)["lost"] == "4"


def test_case_a14_held_but_not_listed_is_said_once(archived: Site) -> None:
    archived.ucondb.execute(f"update {archived.ucondb.folder}_versions set deleted = true where key = '2'")

    verified = archived.archive_runs("--verify", status=1).stdout
    before = report(archived)
    archived.archive_runs("--recover-migrate-state")
    archived.configure(app={"retry_delay_seconds": 0})
    first = archived.archive_runs("--incremental", status=1)
    archived.archive_runs("--incremental")

    assert "run 2: UconDB: held but not listed" in verified
    assert before["verdict"]["level"] == "unsafe"
    assert "held but not listed" in first.stderr
    assert archived.failures("migrate") == [2]
    assert archived.versions() == 3


def test_case_a2b_records_that_are_gone_are_counted(archived: Site) -> None:
    archived.remove(1)
    archived.remove(2)

    assert report(archived)["verdict"]["text"] == (
        "SAFE: every complete run on disk (1) is in UconDB. 2 archived runs no longer on disk."
    )


def test_case_e15_what_waits_needs_no_retry(archived: Site) -> None:
    """Run 8 came late and waits for its migration, run 9 came late: both are in a failure log."""
    take(archived, [10])
    archived.archive_runs()
    take(archived, [8, 9])
    archived.archive_runs("--runs", "8", "--import-only")

    text = archived.archive_runs("--report-status", status=1).stdout
    advised = [step["command"] for step in report(archived)["steps"]]
    logged = archived.failures("import"), archived.failures("migrate")
    archived.archive_runs("--incremental")

    assert logged == ([9], [8])
    assert "waiting: the next cycle takes it: 9" in text
    assert "waiting: the next cycle takes it: 8" in text
    assert "attempted" not in text.partition("Not archived")[2]
    assert not any("--retry-failed" in command for command in advised)
    assert report(archived)["verdict"]["level"] == "safe"


def test_case_e16_the_highest_run_of_a_store_is_compared(site: Site) -> None:
    """Another program imported 12347 and 12349, which this work directory knows nothing of."""
    take(site, [12345])
    site.archive_runs()
    take(site, [12347, 12349])
    site.configure(app={"work_dir": str(site.root / "another")})
    site.archive_runs()
    site.configure()

    said = site.archive_runs("--compare-state", status=1).stdout

    assert (
        "importer_state.json: contiguous to 12345, attempted to 12345; "
        "should be contiguous to 12345, attempted to 12349" in said
    )
    assert "importer_state.json says last_attempted_run 12345, artdaqDB says 12349; repair with" in said
