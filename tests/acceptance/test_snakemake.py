"""The workflow as a plain `snakemake` call from the repository root, with and without its executor."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rra_state.records import blob
from rra_state.state.outcome import STAGES
from scripts.make_run_records import write_record
from tests.paths import REPOSITORY
from tests.site import Site, environment
from tests.waiting import scaled, wait_until

SNAKEMAKE_LOGS = REPOSITORY / ".snakemake"


def test_a_plain_call_archives_everything_and_writes_the_state(site: Site) -> None:
    site.make(12)

    done = site.snakemake()

    site.assert_archived_once(range(1, 13))
    assert site.state("migrate") == {"last_contiguous_run": 12, "last_attempted_run": 12}
    assert "import: 12 of 12 runs in artdaqDB" in done.stderr


def test_a_plain_call_without_work_says_so(site: Site) -> None:
    site.make(2)
    site.snakemake()

    done = site.snakemake()

    assert "nothing to do: no run is ready to be archived" in done.stderr
    assert "localrule all" not in done.stderr


def test_counts_are_of_the_runs_that_were_named(site: Site) -> None:
    site.make(4)

    done = site.snakemake("markers/migrate/3.json")

    assert "import: 1 of 1 run in artdaqDB" in done.stderr
    assert "nothing to do" not in done.stderr


def test_targets_name_a_stage_or_a_run(site: Site) -> None:
    site.make(4)

    site.snakemake("markers/migrate/3.json")
    assert (site.markers("import"), site.markers("migrate")) == ({3}, {3})
    site.snakemake("import_all")
    assert (site.markers("import"), site.markers("migrate")) == ({1, 2, 3, 4}, {3})
    site.snakemake("migrate_all")

    site.assert_archived_once(range(1, 5))


def test_the_report_target_prints_the_status_and_writes_the_page(site: Site) -> None:
    site.make(2)
    site.snakemake()

    done = site.snakemake("report")

    assert "SAFE: every complete run on disk (2) is in UconDB." in done.stdout
    page = site.work / "status.html"
    assert f"page: {page}" in done.stdout
    assert "<h1>SAFE</h1>" in page.read_text()


def test_a_dry_run_lists_the_missing_runs_and_changes_nothing(site: Site) -> None:
    site.make(3)
    site.snakemake("markers/migrate/1.json")
    before = _everything(site.root)

    done = site.snakemake("-n")

    assert "markers/migrate/2.json" in done.stdout + done.stderr
    assert "markers/migrate/1.json" not in done.stdout + done.stderr
    assert _everything(site.root) == before


def test_a_first_dry_run_makes_no_work_directory(site: Site) -> None:
    site.make(2)

    site.snakemake("-n")

    assert [path for path in site.work.rglob("*") if ".snakemake" not in path.parts] == []


def test_a_failed_run_fails_alone(site: Site) -> None:
    site.make(6)
    write_record(site.records / "4", {})

    done = site.snakemake(status=1)

    assert site.markers("migrate") == {1, 2, 3, 5, 6}
    assert site.failures("import") == [4]
    assert "run 4: " in done.stderr
    assert "Traceback" not in done.stderr


def test_without_the_executor_the_same_tree_and_the_same_bytes(site: Site, tmp_path: Path) -> None:
    site.make(6)
    site.snakemake()
    with_executor = _stored(site)
    other = _second_site(site, tmp_path / "other")

    other.snakemake("--executor", "local", "--cores", "2")

    other.assert_archived_once(range(1, 7))
    assert _stored(other) == with_executor
    assert other.state("import") == {"last_contiguous_run": 6, "last_attempted_run": 6}


def test_of_two_plain_calls_one_works(site: Site) -> None:
    site.make(60)
    site.configure(ucon_db={"timeout_seconds": 600})
    with site.ucondb.frozen():
        first = site.start(site.snakemake_command())
        wait_until(lambda: len(site.markers("import")) >= 1)

        others = [site.start(command) for command in (site.snakemake_command(), site.command())]

        for refused in others:
            said, _ = refused.communicate(timeout=scaled(90))
            assert refused.returncode == 1, said
            assert sum("already running" in line for line in said.splitlines()) == 1
            assert "Traceback" not in said
    output, _ = first.communicate(timeout=scaled(90))
    assert first.returncode == 0, output
    site.assert_archived_once(range(1, 61))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_plain_call_finishes_runs_and_writes_the_state(site: Site, number: int) -> None:
    site.make(200)
    plain = site.start(site.snakemake_command())
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.kill(plain.pid, number)
    output, _ = plain.communicate(timeout=scaled(30))

    assert plain.returncode == 130, output
    assert "Traceback" not in output
    done = site.markers("import")
    assert 20 <= len(done) < 200
    assert site.state("import")["last_attempted_run"] == max(done)
    assert not list(site.work.glob("failures/*/*.json"))
    site.snakemake()
    site.assert_archived_once(range(1, 201))


def test_a_killed_plain_call_leaves_no_lock(site: Site) -> None:
    site.make(60)
    plain = site.start(site.snakemake_command())
    wait_until(lambda: len(site.markers("import")) >= 10)
    (site.work / ".archiver.lock").unlink()
    refused = site.archive_runs(status=1)

    os.killpg(plain.pid, signal.SIGKILL)
    plain.communicate(timeout=scaled(30))

    assert f"process {plain.pid}" in refused.stderr
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 61))


def test_snakemakes_own_logs_do_not_pile_up(site: Site) -> None:
    site.make(2)
    logs = site.work / ".snakemake" / "log"
    logs.mkdir(parents=True)
    for second in range(100):
        (logs / f"2024-01-01T0000{second:02}.000000.snakemake.log").write_text("old")

    site.archive_runs()

    left = sorted(path.name for path in logs.iterdir())
    assert len(left) == 50
    assert left[0] == "2024-01-01T000051.000000.snakemake.log"
    assert not left[-1].startswith("2024-01-01")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--config", "ucon_db=x"), "settings come from"),
        (("--directory", "/tmp"), "the work directory is app.work_dir"),
    ],
)
def test_what_would_split_the_archive_is_refused_in_one_line(
    site: Site, arguments: tuple[str, ...], words: str
) -> None:
    site.make(1)

    done = subprocess.run(
        [*site.snakemake_command(), *arguments],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
    )

    assert done.returncode == 1
    assert words in done.stderr
    assert "Traceback" not in done.stderr


def _second_site(site: Site, root: Path) -> Site:
    """Another archiver over the same records, with stores of its own."""
    root.mkdir()
    (root / "run_records").symlink_to(site.records)
    folder = site.ucondb.fresh(site.ucondb.server, str(root))
    return Site(root, folder)


def _stored(site: Site) -> tuple[dict[str, bytes], list[dict[str, bytes]], list[tuple[str, ...]]]:
    """Blobs, exported files, and what the markers have in common however they were made."""
    archive = site.archive
    exported = [archive.export(location).files for _, location in sorted(archive.locate(archive.runs()).items())]
    times = {"archived", "ucondb_id", "ucondb_data_key"}
    markers = [
        tuple(f"{key}={value}" for key, value in site.marker(stage, run).items() if key not in times)
        for stage in STAGES
        for run in sorted(site.markers(stage))
    ]
    blobs = site.blobs()
    assert all(blob.unpack(content).files for content in blobs.values())
    return blobs, exported, markers


def _everything(root: Path) -> dict[str, tuple[int, int]]:
    """Every file but Snakemake's own, with size and time of change."""
    return {
        str(path): (path.stat().st_size, path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if ".snakemake" not in path.parts and path.is_file()
    }


# ---- the workflow as the catalog of workflows sees it -------------------------------------------------------------


def test_the_linter_finds_only_what_the_rules_answer(tmp_path: Path) -> None:
    done = snakemake_of_the_example(tmp_path, "--lint")

    found = {line.strip(" *:") for line in done.stderr.splitlines() if line.startswith("    * ")}
    assert found == {"No log directive defined", "Specify a conda environment or container for each rule."}


def test_the_example_of_the_catalog_plans_its_run(tmp_path: Path) -> None:
    done = snakemake_of_the_example(tmp_path, "--dry-run")

    assert done.returncode == 0, done.stderr
    assert "markers/migrate/5001.json" in done.stdout


def snakemake_of_the_example(directory: Path, option: str) -> subprocess.CompletedProcess[str]:
    """Call Snakemake in a copy of the checkout's workflow, on the configuration in `.test`."""
    shutil.copytree(REPOSITORY / ".test", directory / ".test")
    return subprocess.run(
        [sys.executable, "-I", "-m", "snakemake", option, "--configfile", str(directory / ".test" / "config.yaml")],
        cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=scaled(60), check=False,
    )  # fmt: skip
