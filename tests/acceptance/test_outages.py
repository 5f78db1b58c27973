"""Sites that are away or have shrunk: a stage stops for itself, and nothing is believed that a mount point says."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import pytest

from tests.site import Site

pytestmark = pytest.mark.in_process

AWAY = "http://127.0.0.1:9/ucondb"


def test_case_a4_imports_go_on_while_ucondb_is_away(site: Site) -> None:
    site.make(80)
    site.archive_runs("--import-only")
    site.configure(ucon_db={"server_url": AWAY}, app={"retry_delay_seconds": 0.1})
    imported = []

    for cycle in range(3):
        site.make(10, first_run=81 + 10 * cycle)
        before = len(site.markers("import"))
        done = site.archive_runs("--incremental", "-q", status=1)
        imported.append(len(site.markers("import")) - before)
        [line] = done.stderr.splitlines()
        assert line.startswith(f"UconDB at {AWAY}: ")

    assert imported == [10, 10, 10]
    assert not list(site.work.glob("failures/*/*.json"))
    assert site.state("import") == {"last_contiguous_run": 110, "last_attempted_run": 110}
    site.configure()
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 111))


def test_case_a4_migrations_go_on_while_the_records_are_away(site: Site) -> None:
    site.make(12)
    site.archive_runs("--import-only")
    site.make(3, first_run=13)
    site.records.rename(site.root / "elsewhere")

    for error in ("the directory of run records cannot be read", "the directory of run records is empty"):
        done = site.archive_runs("-q", status=1)
        [line] = done.stderr.splitlines()
        assert error in line
        assert site.markers("migrate") == set(range(1, 13))
        site.records.mkdir(exist_ok=True)

    assert not list(site.work.glob("failures/*/*.json"))
    site.records.rmdir()
    (site.root / "elsewhere").rename(site.records)
    site.archive_runs()
    site.assert_archived_once(range(1, 16))


def test_case_a4_each_site_that_is_away_is_one_line(site: Site) -> None:
    site.make(4)
    site.archive_runs("--import-only")
    site.configure(ucon_db={"server_url": AWAY}, source_files={"run_records_dir": str(site.root / "nosuch")})

    lines = site.real_archive_runs("-q", status=1).stderr.splitlines()

    assert len(lines) == 2
    assert any("nosuch" in line for line in lines)
    assert any(AWAY in line for line in lines)


def test_case_a4_a_plain_snakemake_migrates_while_the_records_are_away(site: Site) -> None:
    site.make(3)
    site.archive_runs("--import-only")
    site.records.rename(site.root / "elsewhere")
    site.records.mkdir()

    done = site.snakemake(status=1)

    assert site.markers("migrate") == {1, 2, 3}
    assert "the directory of run records is empty" in done.stderr


def _records_not_mounted(site: Site) -> None:
    shutil.rmtree(site.records)
    (site.records / "lost+found").mkdir(parents=True)


def _artdaqdb_missing(site: Site) -> None:
    (site.root / "artdaqdb").rename(site.root / "elsewhere")


def _artdaqdb_empty(site: Site) -> None:
    _artdaqdb_missing(site)
    (site.root / "artdaqdb").mkdir()


@pytest.mark.parametrize(
    ("spoil", "name", "says"),
    [
        (_records_not_mounted, "filesystem", "the directory of run records is empty, and 12 runs came from it"),
        (_artdaqdb_missing, "artdaqDB", "has lost 12 of 12 runs that were archived there"),
        (_artdaqdb_empty, "artdaqDB", "has lost 12 of 12 runs that were archived there"),
    ],
)
def test_case_a2_a3_a_site_that_shrank_is_a_fault_everywhere(
    site: Site, spoil: Callable[[Site], None], name: str, says: str
) -> None:
    metrics = site.root / "rra.prom"
    site.configure(metrics={"prometheus_file": str(metrics)}, reporting={"html_file": str(site.root / "status.html")})
    site.make(12)
    site.archive_runs()
    spoil(site)
    archive = sorted((site.root / "artdaqdb").rglob("*"))
    state = site.state("import")

    for options in (["--incremental"], [], ["--recover-import-state"]):
        done = site.archive_runs(*options, "-q", status=1)
        [line] = done.stderr.splitlines()
        assert says in line
        assert "is it mounted?" in line
    checked = site.archive_runs("--check", status=1).stdout
    report = site.archive_runs("--report-status", "--compare-state", status=1).stdout

    assert f"FAILED ({site.root}" in checked or "FAILED (artdaqDB directory" in checked
    assert says in checked
    assert f"NOT KNOWN: {name} has shrunk (see below)." in report
    assert "rra_cycle_good 0.0" in metrics.read_text()
    assert "<h1>NOT KNOWN</h1>" in (site.root / "status.html").read_text()
    assert site.markers("import") == site.markers("migrate") == set(range(1, 13))
    assert site.state("import") == state
    assert sorted((site.root / "artdaqdb").rglob("*")) == archive
    assert site.versions() == 12


def test_case_a3_a_plain_snakemake_writes_nothing_below_a_bare_mount_point(site: Site) -> None:
    site.make(12)
    site.archive_runs()
    site.make(1, first_run=13)
    _artdaqdb_empty(site)

    done = site.snakemake(status=1)

    assert "has lost 12 of 12 runs" in done.stderr
    assert not list((site.root / "artdaqdb").iterdir())


def test_case_a3_what_is_lost_for_good_is_accepted_by_name(site: Site) -> None:
    site.make(12)
    site.archive_runs()
    _artdaqdb_missing(site)

    site.archive_runs("--recover-import-state", "--accept-loss")
    site.archive_runs()

    site.assert_archived_once(range(1, 13))


def test_case_a10_recovery_refuses_an_emptied_ucondb(site: Site) -> None:
    site.make(15)
    site.archive_runs()
    site.ucondb.execute("delete from {folder}_versions")
    before = sorted((site.work / "markers").rglob("*"))

    refused = site.archive_runs("--recover-migrate-state", status=1)
    report = site.archive_runs("--report-status", status=1).stdout
    unchanged = sorted((site.work / "markers").rglob("*"))
    site.archive_runs("--recover-migrate-state", "--accept-loss")
    site.archive_runs("--incremental")

    assert "has lost 15 of 15 runs that were archived there" in refused.stderr
    assert refused.stdout.endswith("Nothing was changed.\n")
    assert "--recover-migrate-state --accept-loss" in report
    assert unchanged == before
    assert len(site.blobs()) == 15


def test_case_a2b_records_removed_to_make_room_are_no_fault(site: Site) -> None:
    site.make(12)
    site.archive_runs()
    for run in range(1, 12):
        site.remove(run)

    site.archive_runs("--incremental")
    report = site.archive_runs("--report-status").stdout

    assert "SAFE: every complete run on disk (1) is in UconDB." in report
    assert "11 runs in UconDB, no longer on disk: 1-11" in report


def test_accept_loss_is_an_answer_to_recovery_only(site: Site) -> None:
    assert "--accept-loss belongs to --recover-" in site.archive_runs("--accept-loss", status=1).stderr
