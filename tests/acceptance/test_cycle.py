"""A cycle of the command line, end to end."""

from __future__ import annotations

import shutil

import pytest

from tests.acceptance.changing_records import without_stop_time
from tests.site import Site

pytestmark = pytest.mark.in_process


def test_every_run_gets_into_both_stores_once_and_unchanged(site: Site) -> None:
    site.make(12, first_run=101)

    site.real_archive_runs()

    site.assert_archived_once(range(101, 113))
    assert site.state("import") == {"last_contiguous_run": 112, "last_attempted_run": 112}
    assert site.state("migrate") == {"last_contiguous_run": 112, "last_attempted_run": 112}
    assert site.failures("import") == site.failures("migrate") == []


def test_a_second_cycle_writes_nothing(site: Site) -> None:
    site.make(5)
    site.archive_runs()
    puts, tree = site.ucondb.stats()["puts"], listing(site)

    done = site.archive_runs()

    assert site.ucondb.stats()["puts"] == puts
    assert listing(site) == tree
    assert "nothing to do" in done.stderr


def test_import_only_leaves_ucondb_alone_and_migrate_only_never_imports(site: Site) -> None:
    site.make(4)

    site.archive_runs("--import-only")
    site.make(2, first_run=5)
    site.real_archive_runs("--migrate-only")

    assert site.markers("import") == site.markers("migrate") == {1, 2, 3, 4}


def test_deleted_markers_come_back_without_a_second_version(site: Site) -> None:
    site.make(10)
    site.archive_runs()
    for stage, runs in (("import", (2, 5, 8)), ("migrate", (3, 5, 9))):
        for run in runs:
            (site.work / "markers" / stage / f"{run}.json").unlink()
    before = {path: path.stat().st_mtime_ns for path in (site.work / "markers").rglob("*.json")}

    done = site.real_archive_runs()

    site.assert_archived_once(range(1, 11))
    assert "[Import] [Run 5] Configuration 5/" in done.stderr
    assert "is already archived" in done.stderr
    assert "\n0 runs into artdaqDB (3 already there), 3 runs into UconDB in " in done.stderr
    assert all(path.stat().st_mtime_ns == time for path, time in before.items())
    assert site.marker("import", 5)["verified"] is True


def test_named_runs_are_taken_and_no_others(site: Site) -> None:
    site.make(9)

    site.archive_runs("--runs", "2-3,7")

    assert site.markers("migrate") == {2, 3, 7}
    assert site.state("import")["last_attempted_run"] == 0
    assert site.failures("import") == []


def test_a_run_nobody_has_is_refused_by_name(site: Site) -> None:
    site.make(2)

    done = site.archive_runs("--runs", "77", status=1)

    assert "run 77 is neither on disk nor in artdaqDB" in done.stderr


def test_newest_first_takes_the_newest_of_a_limited_batch(site: Site) -> None:
    site.make(30)
    site.configure(app={"batch_size": 2})

    site.archive_runs("--incremental", "--order", "newest")

    assert site.markers("migrate") == {29, 30}
    assert site.failures("import") == list(range(1, 29))


def test_a_batch_limit_is_tenfold_in_full_mode(site: Site) -> None:
    site.make(14)
    site.configure(app={"batch_size": 1, "window_size": 4})

    site.archive_runs()

    assert site.markers("import") == set(range(1, 11))


def test_several_windows_make_one_cycle(site: Site) -> None:
    site.make(7)
    site.configure(app={"window_size": 4})

    site.real_archive_runs()

    site.assert_archived_once(range(1, 8))


def test_the_dry_run_counts_and_changes_nothing(site: Site) -> None:
    site.make(3, first_run=5)
    site.make(1, first_run=9)

    done = site.archive_runs("--dry-run")

    assert "would import 4 runs: 5-7,9" in done.stdout
    assert "would migrate 4 runs: 5-7,9" in done.stdout
    assert "gaps on disk: 8" in done.stdout
    assert not site.work.exists()


def test_check_names_every_dependency(site: Site) -> None:
    site.make(3)

    done = site.real_archive_runs("--check")

    assert [line.partition(":")[0] for line in done.stdout.splitlines()] == [
        "configuration", "run records", "work directory", "state files", "artdaqDB", "UconDB", "Snakemake",
    ]  # fmt: skip
    assert done.stdout.count("OK") == 7


def test_validation_tells_a_missing_key_and_archives_the_run(site: Site) -> None:
    site.make(2)
    site.configure(validation={"metadata_keys": ["components", "config_name", "nosuch_key"]})

    done = site.real_archive_runs("--validate", status=1)

    assert "run 1: validation:" in done.stderr
    assert "nosuch_key" in done.stderr
    assert "config_name" not in done.stderr
    site.assert_archived_once((1, 2))


def test_no_secret_is_in_any_file_of_the_work_directory(site: Site) -> None:
    site.ucondb.password = "correct horse battery"
    site.configure(app={"log_file": "${work_dir}/a.log", "log_level": "DEBUG"})
    site.make(2)

    done = site.real_archive_runs("-v", status=1)

    assert "wrong user or password" in done.stderr
    texts = [path.read_bytes() for path in site.work.rglob("*") if path.is_file()]
    assert all(b"correct horse" not in text for text in [*texts, done.stderr.encode(), done.stdout.encode()])


@pytest.mark.parametrize(
    "options", [("--import-only", "--migrate-only"), ("--incremental", "--runs", "1"), ("--check", "--dry-run")]
)
def test_options_that_contradict_each_other_are_refused_by_name(site: Site, options: tuple[str, ...]) -> None:
    done = site.archive_runs(*options, status=1)

    assert all(option in done.stderr for option in options if option.startswith("--"))


def listing(site: Site) -> dict[str, tuple[int, int]]:
    """Name, size and time of change of everything the archiver keeps, but for its log."""
    paths = [*(site.root / "artdaqdb").rglob("*"), *(site.work / "markers").rglob("*.json"), *site.work.glob("*.json")]
    return {str(path): (path.stat().st_size, path.stat().st_mtime_ns) for path in paths}


def test_case_e13_what_is_not_taken_is_said(site: Site) -> None:
    site.make(2)
    without_stop_time(site, 2)
    site.configure(source_files={"settle_seconds": 3600})
    for name in ("0", "0007050", str(2**63)):
        shutil.copytree(site.records / "1", site.records / name)

    named = site.archive_runs("--runs", "2")
    cycle = site.archive_runs("--incremental")
    refused = [site.archive_runs("--runs", number, status=1).stderr for number in ("0", str(2**63))]

    assert "still being written, so not taken yet: 2" in named.stderr
    assert f"not taken from {site.records}: 0 is no run number, 0007050 is no run number, 9223" in cycle.stderr
    assert all("is no run or range of runs" in said for said in refused)
    assert site.markers("migrate") == {1}
