"""Records that change after their run was archived are archived again by the next cycle."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess

import pytest

from rra_state.records import blob
from rra_state.stores.ucondb.client import UconDB
from tests.acceptance.changing_records import edit, refresh_markers, stop, versions, without_stop_time
from tests.site import Site
from tests.waiting import scaled

pytestmark = pytest.mark.in_process


@pytest.fixture
def watched(site: Site) -> Site:
    """Three runs in both stores, of which run 2 had no stop time."""
    site.make(3)
    without_stop_time(site, 2)
    site.archive_runs()
    return site


def everything(site: Site) -> dict[str, bytes]:
    """The first markers of all runs."""
    paths = [*site.work.glob("markers/import/*.json"), *site.work.glob("markers/migrate/*.json")]
    return {str(path): path.read_bytes() for path in paths}


def test_a_later_stop_time_is_one_version_per_store(watched: Site) -> None:
    first, name = everything(watched), watched.archive.locate([2])[2].version.partition("/")[2]
    stop(watched, 2)

    done = watched.real_archive_runs("--incremental")

    assert "run 2: its record has changed; both stores hold it as it is now" in done.stderr
    assert versions(watched, 2) == (f"{name}v1", 4)
    content = watched.blobs()["2"]
    assert b"Packed on Oct 17 18:50 UTC" in content
    assert blob.unpack(content).files == watched.archive.export(watched.archive.locate([2])[2]).files
    [marker] = refresh_markers(watched)
    assert (marker["run"], marker["stage"], marker["verified"]) == (2, "refresh", True)
    assert marker["stop_time"] == "Thu Oct 17 18:50:25 UTC 2024"
    assert everything(watched) == first
    puts = watched.ucondb.stats()["puts"]
    assert "nothing to do" in watched.archive_runs("--incremental").stderr
    assert (watched.ucondb.stats()["puts"], versions(watched, 2)) == (puts, (f"{name}v1", 4))


def test_case_a1_files_that_came_late_are_archived_by_the_next_cycle(site: Site) -> None:
    site.make(1)
    record, away = site.records / "1", site.root / "late"
    late = {path.name for path in record.iterdir() if path.name > "metadata.txt"}
    record.chmod(0o755)
    away.mkdir()
    for name in late:
        (record / name).rename(away / name)
    site.archive_runs("--incremental")
    for name in late:
        (away / name).rename(record / name)

    done = site.archive_runs("--incremental")

    assert "run 1: its record has changed; both stores hold it as it is now" in done.stderr
    assert {name.replace(".txt", ".fcl") for name in late} <= set(blob.unpack(site.blobs()["1"]).files)
    site.archive_runs("--verify")
    assert "SAFE" in site.archive_runs("--report-status").stdout


def test_case_a1c_what_comes_after_the_stop_time_is_in_both_stores(watched: Site) -> None:
    (watched.records / "3").chmod(0o755)
    (watched.records / "3" / "rc_info_stop.txt").write_bytes(b"stopped by the shifter\n")
    edit(watched, 3, lambda text: text + b"DAQInterface end of run: done\n")

    watched.archive_runs("--incremental")

    stored = blob.unpack(watched.blobs()["3"]).files
    assert stored["rc_info_stop.txt"] == b"stopped by the shifter\n"
    assert b"done" in stored["metadata.fcl"]
    assert "SAFE: " in watched.archive_runs("--report-status").stdout


def test_a_record_that_lost_a_file_is_not_refreshed_unasked(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    record = site.records / "1"
    record.chmod(0o755)
    (record / "setup.txt").rename(site.root / "setup.txt")
    edit(site, 1, lambda text: text[: len(text) // 2], name="boot.txt")

    done = site.archive_runs("--incremental", status=1)

    lost = "the record on disk has lost content: setup.fcl is gone, boot.fcl is shorter; both stores keep it"
    assert lost in done.stderr
    assert site.versions() == 1
    report = site.archive_runs("--report-status", status=None).stdout
    assert "NOT SAFE" in report
    assert lost in " ".join(report.split())
    site.archive_runs("--refresh", "1")
    assert site.versions() == 2
    assert "SAFE: " in site.archive_runs("--report-status").stdout


def test_a_record_that_did_not_change_is_not_archived_again(watched: Site) -> None:
    os.utime(watched.records / "2" / "metadata.txt")

    done = watched.archive_runs("--incremental")

    assert "nothing to do" in done.stderr
    assert refresh_markers(watched) == []


def test_without_a_stop_time_the_watch_goes_on(watched: Site) -> None:
    edit(watched, 2, lambda text: text + b"\nTotal events: 7\n")
    watched.archive_runs("--incremental")
    stop(watched, 2)

    watched.archive_runs("--incremental")

    assert versions(watched, 2)[0].endswith("v2")
    assert versions(watched, 2)[1] == 5
    assert len(refresh_markers(watched)) == 2


def test_a_record_that_alternates_is_archived_each_time(watched: Site) -> None:
    path = watched.records / "2" / "boot.txt"
    first, second = (path.read_bytes() + b"request_address: 10.0.0.%d\n" % last for last in (1, 2))

    for content in (first, second, first, second):
        edit(watched, 2, lambda _, content=content: content, name="boot.txt")  # type: ignore[misc]
        watched.archive_runs("--incremental")

    assert versions(watched, 2)[0].endswith("v4")
    assert versions(watched, 2)[1] == 7
    assert len({str(marker["ucondb_id"]) for marker in refresh_markers(watched)}) == 4
    assert "verified 3 runs: 3 equal" in watched.archive_runs("--verify").stdout


def test_a_change_outside_the_blob_is_archived_once(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    boot = site.records / "1" / "boot.txt"
    original = boot.read_bytes()

    for number, comment in enumerate((b"# a comment\n", b"# a longer comment\n", b""), 1):
        boot.write_bytes(comment + original)
        site.archive_runs("--refresh", "1")
        assert len(refresh_markers(site)) == number
        assert "nothing to do" in site.archive_runs().stderr
        assert "SAFE: every" in site.archive_runs("--report-status").stdout
        site.archive_runs("--verify")

    assert site.versions() == 1


def test_case_f_a_blob_that_somebody_replaced_is_left_alone_and_told(watched: Site) -> None:
    ucondb = UconDB(watched.ucondb.settings())
    ucondb.put(2, b"what somebody else thinks run 2 was", override_of=ucondb.versions()[2])
    stop(watched, 2)

    first = watched.archive_runs("--incremental", status=1)
    second = watched.archive_runs("--incremental")

    assert "holds other content under this key" in first.stderr
    assert "0 changed records again (1 failed) in " in first.stderr
    assert watched.versions() == 4
    assert watched.blobs()["2"] == b"what somebody else thinks run 2 was"
    assert "nothing to do" in second.stderr
    report = watched.archive_runs("--report-status", status=1).stdout
    assert "Changed since, and not archived again" in report
    assert "NOT SAFE" in report
    assert "holds other content under this key" in watched.archive_runs(status=1).stderr


def test_a_store_that_is_away_postpones_a_refresh(watched: Site) -> None:
    stop(watched, 2)
    watched.ucondb.stop()

    away = watched.archive_runs("--incremental", status=1)

    assert watched.ucondb.url.split("/")[2] in away.stderr
    assert "the next cycle tries" not in away.stderr
    assert not list((watched.work / "failures").glob("*/*"))
    watched.ucondb.start()
    watched.archive_runs("--incremental")
    assert versions(watched, 2)[1] == 4


def test_a_killed_refresh_is_completed_without_a_third_version(watched: Site) -> None:
    stop(watched, 2)
    for pause in (0.9, 1.2, 1.5, 1.8, 2.1):
        cycle = watched.start(watched.command("--incremental"))
        try:
            cycle.wait(pause)
        except subprocess.TimeoutExpired:
            os.killpg(cycle.pid, signal.SIGKILL)
        cycle.communicate(timeout=scaled(30))

    watched.archive_runs("--incremental", status=None)

    assert versions(watched, 2)[0].endswith("v1")
    assert versions(watched, 2)[1] == 4
    assert len(refresh_markers(watched)) == 1


def test_recovery_leaves_the_first_markers_of_a_refreshed_run_alone(watched: Site) -> None:
    stop(watched, 2)
    watched.archive_runs()
    before = everything(watched)

    watched.archive_runs("--recover-import-state", "--recover-migrate-state")

    assert everything(watched) == before
    puts = watched.ucondb.stats()["puts"]
    watched.archive_runs()
    assert watched.ucondb.stats()["puts"] == puts


def test_a_refreshed_run_is_verified_against_its_newest_marker(watched: Site) -> None:
    stop(watched, 2)
    watched.archive_runs("--incremental")

    assert watched.archive_runs("--verify").stdout == "verified 3 runs: 3 equal\n"
    [marker] = (watched.work / "markers" / "refresh").iterdir()
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"sha256": "0" * 64}))
    assert "run 2: marker: sha256 is 0000" in watched.archive_runs("--verify", status=1).stdout


def test_watched_runs_alone_start_no_workflow(watched: Site) -> None:
    done = watched.real_archive_runs("--incremental")

    assert "nothing to do" in done.stderr
    assert {path.name for path in (watched.work / "watch").iterdir()} == {"1", "2", "3"}
    assert not (watched.work / ".snakemake").exists()


def test_the_dry_run_names_changes_and_named_runs_are_refreshed(watched: Site) -> None:
    stop(watched, 2)

    dry = watched.archive_runs("--dry-run")

    assert "would archive again, since their records changed: 1 run: 2" in dry.stdout
    assert "nothing to do" in watched.archive_runs("--runs", "1").stderr
    watched.archive_runs("--runs", "2")
    assert versions(watched, 2)[1] == 4


@pytest.mark.parametrize("arguments", [(), ("--executor", "local", "--cores", "2")], ids=["executor", "local"])
def test_a_plain_snakemake_call_refreshes_with_and_without_the_executor(
    watched: Site, arguments: tuple[str, ...]
) -> None:
    stop(watched, 2)
    watched.snakemake("-n", *arguments)
    print(watched.ucondb.execute("select id,key,tr,data_size from {folder}_versions order by id"))
    assert versions(watched, 2)[1] == 3

    watched.snakemake(*arguments)

    assert versions(watched, 2)[1] == 4
    assert len(refresh_markers(watched)) == 1


def test_a_full_cycle_tries_a_failed_refresh_again(site: Site) -> None:
    site.configure(source_files={"watch_days": 0})
    site.make(1)
    site.archive_runs()
    edit(site, 1, lambda text: text + b"\nTotal events: 7\n")
    name = f"{1}-{'0' * 8}"
    (site.work / "failures" / "refresh" / f"{name}.json").write_text(
        json.dumps(
            {"run": 1, "stage": "refresh", "kind": "RecordError", "message": "run 1: x", "attempts": 1,
             "first": "2026-11-28T00:00:00Z", "last": "2026-11-28T00:00:00Z"}
        )
    )  # fmt: skip

    assert "nothing to do" in site.archive_runs("--incremental").stderr
    done = site.archive_runs().stderr

    assert "run 1: its record has changed; both stores hold it as it is now" in done
    assert not list((site.work / "failures" / "refresh").iterdir())


def test_a_file_of_nul_bytes_changes_no_store(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    edit(site, 1, lambda text: bytes(len(text)), name="settings.txt")

    done = site.archive_runs("--incremental", status=1)

    assert "the record on disk has lost content: settings.fcl is shorter; both stores keep it" in done.stderr
    assert site.versions() == 1


def test_a_record_that_lost_its_metadata_changes_no_store(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    (site.records / "1").chmod(0o755)
    (site.records / "1" / "metadata.txt").unlink()

    done = site.archive_runs("--incremental", status=1)

    assert "metadata.fcl is gone" in done.stderr
    assert site.versions() == 1


def test_case_a7_a_recovered_run_is_watched_again(watched: Site) -> None:
    shutil.rmtree(watched.work)
    watched.archive_runs("--recover-import-state", "--recover-migrate-state")
    watched.archive_runs("--incremental")
    stop(watched, 2)
    edit(watched, 3, lambda text: text + b"\n# late\n", name="DataLogger1.fcl")

    done = watched.archive_runs("--incremental")

    for run in (2, 3):
        assert f"run {run}: its record has changed; both stores hold it as it is now" in done.stderr
    assert watched.versions() == 5
    assert "SAFE: " in watched.archive_runs("--report-status").stdout


def test_a_changed_run_that_ucondb_lost_is_archived_again_once(watched: Site) -> None:
    stop(watched, 2)
    watched.archive_runs("--incremental")
    watched.ucondb.execute("delete from {folder}_versions where key = '2'")
    watched.archive_runs("--recover-migrate-state")
    watched.archive_runs("--retry-failed-migrate")

    done = watched.archive_runs("--incremental")

    assert "nothing to do" in done.stderr
    assert "SAFE: " in watched.archive_runs("--report-status").stdout
    assert watched.versions() == 4


def test_a_lost_run_that_changed_ends_as_its_record(watched: Site) -> None:
    stop(watched, 2)
    watched.archive_runs("--incremental")
    watched.ucondb.execute("delete from {folder}_versions where key = '2'")
    edit(watched, 2, lambda text: text + b"\n# late\n", name="DataLogger1.fcl")
    watched.archive_runs("--recover-migrate-state")

    watched.archive_runs("--retry-failed-migrate")
    done = watched.archive_runs("--incremental")
    again = watched.archive_runs("--incremental")

    assert "run 2: its record has changed; both stores hold it as it is now" in done.stderr
    assert b"# late" in watched.blobs()["2"]
    assert "nothing to do" in again.stderr
    assert "SAFE: " in watched.archive_runs("--report-status").stdout
