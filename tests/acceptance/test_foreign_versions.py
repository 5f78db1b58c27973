"""Runs that another program stores in artdaqDB, file by file and in several versions, as the DAQ's own loader does."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from pathlib import Path

import pytest

from rra_state.records import blob
from rra_state.stores.artdaqdb.document import timestamp
from tests.acceptance.changing_records import refresh_markers, stop, without_stop_time
from tests.other_program import documents, load, stop_of
from tests.site import Site

pytestmark = pytest.mark.in_process

AN_HOUR_AGO = timestamp(datetime.fromtimestamp(time.time() - 3700))


@pytest.fixture
def artdaqdb(site: Site) -> Path:
    """The archive, two records, and a configuration that waits an hour for what may still come."""
    site.configure(source_files={"settle_seconds": 3600})
    site.make(2)
    return site.root / "artdaqdb"


def in_ucondb(site: Site, run: int) -> dict[str, bytes]:
    return blob.unpack(site.blobs()[str(run)]).files


def test_case_a15_a_run_that_is_being_stored_is_migrated_when_whole(site: Site, artdaqdb: Path) -> None:
    record = site.records / "1"
    record.chmod(0o755)
    (record / "rc_info_start.txt").write_text("started by a test\n")
    files = documents(site.config, 1)
    load(artdaqdb, 1, files[:5])

    early = site.archive_runs("--incremental")
    report = site.archive_runs("--report-status", status=1).stdout
    between = site.markers("import"), site.failures("import"), set(site.blobs())
    load(artdaqdb, 1, files[5:])
    site.archive_runs("--incremental")

    assert "run 1: another program is still storing version 1/standard: " in early.stderr
    assert between == ({2}, [], {"2"})
    assert "another program is still storing 1 run in artdaqDB: 1" in report
    assert set(in_ucondb(site, 1)) == {f"{each.entity}.fcl" for each in files}
    assert site.marker("migrate", 1)["version"] == "1/standard"
    assert site.archive_runs("--report-status").stdout.count("SAFE") == 1
    assert "verified 2 runs: 2 equal" in site.archive_runs("--verify").stdout


def test_a_recovery_leaves_a_run_that_is_being_stored(site: Site, artdaqdb: Path) -> None:
    files = documents(site.config, 1)
    load(artdaqdb, 1, files[:5])
    site.archive_runs("--incremental")
    shutil.rmtree(site.work)
    site.archive_runs("--recover-import-state", "--recover-migrate-state")

    site.archive_runs("--incremental", status=None)
    between = set(site.blobs())
    site.archive_runs("--report-status", status=1)
    load(artdaqdb, 1, files[5:])
    site.archive_runs("--incremental")

    assert between == {"2"}
    assert set(in_ucondb(site, 1)) == {f"{each.entity}.fcl" for each in files}
    assert site.versions() == 2
    assert "SAFE: " in site.archive_runs("--report-status").stdout


def test_case_a16_a_later_version_follows_into_ucondb(site: Site, artdaqdb: Path) -> None:
    for run in (1, 2):
        load(artdaqdb, run, documents(site.config, run))
    site.archive_runs()
    for run in (1, 2):
        load(artdaqdb, run, [stop_of(run)], version="v1")
    site.remove(2)

    followed = site.archive_runs("--incremental").stderr
    idle = site.archive_runs("--incremental").stderr

    for run in (1, 2):
        assert f"run {run}: another program stored a newer version; both stores hold it as it is now" in followed
        assert f"run {run}".encode() in in_ucondb(site, run)["RunHistory2.fcl"]
    assert {each["version"] for each in refresh_markers(site)} == {"1/standardv1", "2/standardv1"}
    assert "nothing to do" in idle
    assert site.versions() == 4
    assert "verified 2 runs: 2 equal" in site.archive_runs("--verify").stdout


def test_case_a16_a_version_after_the_watch_is_a_finding_until_refreshed(site: Site, artdaqdb: Path) -> None:
    load(artdaqdb, 1, documents(site.config, 1), assigned=AN_HOUR_AGO)
    site.archive_runs()
    (site.work / "watch" / "1").unlink(missing_ok=True)
    load(artdaqdb, 1, [stop_of(1)], version="v1")

    site.archive_runs("--incremental")
    found = site.archive_runs("--verify", status=1).stdout
    site.archive_runs("--refresh", "1")

    assert "run 1: marker: version is 1/standard, the store has 1/standardv1" in found
    assert b"run 1" in in_ucondb(site, 1)["RunHistory2.fcl"]
    assert "verified 2 runs: 2 equal" in site.archive_runs("--verify").stdout


def test_files_that_a_quiet_version_lacks_are_added(site: Site, artdaqdb: Path) -> None:
    files = documents(site.config, 1)
    load(artdaqdb, 1, files[:5], assigned=AN_HOUR_AGO)

    site.archive_runs()

    assert set(in_ucondb(site, 1)) == {each.name for each in files}
    assert site.marker("migrate", 1)["version"] == site.archive.locate([1])[1].version == "1/standardv1"
    assert "verified 2 runs: 2 equal" in site.archive_runs("--verify").stdout


def test_case_a16_a_record_that_changed_as_well_is_archived_next(site: Site, artdaqdb: Path) -> None:
    site.configure(source_files={"settle_seconds": 0})
    without_stop_time(site, 1)
    load(artdaqdb, 1, documents(site.config, 1))
    site.archive_runs()
    load(artdaqdb, 1, [stop_of(1)], version="v1")
    stop(site, 1)

    first = site.archive_runs("--incremental").stderr
    followed = site.marker("migrate", 1)["version"], [each["version"] for each in refresh_markers(site)]
    second = site.archive_runs("--incremental").stderr
    idle = site.archive_runs("--incremental").stderr

    assert "run 1: another program stored a newer version" in first
    assert followed == ("1/standard", ["1/standardv1"])
    assert "run 1: its record has changed" in second
    assert "nothing to do" in idle
    assert in_ucondb(site, 1) == {each.name: each.text for each in documents(site.config, 1)}
    assert "verified 2 runs: 2 equal" in site.archive_runs("--verify").stdout
