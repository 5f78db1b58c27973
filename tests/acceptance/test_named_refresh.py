"""`--refresh RUNS`: a person has records archived again, however old."""

from __future__ import annotations

import shutil

import pytest

from rra_state.records import blob
from tests.acceptance.changing_records import edit, versions
from tests.site import Site

pytestmark = pytest.mark.in_process


def test_refresh_stores_files_that_came_late_whatever_the_age(site: Site) -> None:
    site.configure(source_files={"watch_days": 0})
    site.make(2)
    late = {path.name: path.read_bytes() for path in (site.records / "1").iterdir() if path.name > "metadata.txt"}
    (site.records / "1").chmod(0o755)
    for name in late:
        (site.records / "1" / name).unlink()
    site.archive_runs()
    for name, content in late.items():
        (site.records / "1" / name).write_bytes(content)
    assert "nothing to do" in site.archive_runs().stderr

    planned = site.archive_runs("--dry-run", "--refresh", "1-2").stdout
    done = site.archive_runs("--refresh", "1-2").stderr

    assert "would archive again, since their records changed: 1 run: 1\n" in planned
    assert "run 1: its record has changed; both stores hold it as it is now" in done
    assert "run 2: is archived as its record is now" in done
    stored = blob.unpack(site.blobs()["1"]).files
    assert stored == site.archive.export(site.archive.locate([1])[1]).files
    assert {name for name in late if name.endswith(".fcl")} <= set(stored)
    assert site.versions() == 3
    site.archive_runs("--verify")
    assert "run 1: is archived as its record is now" in site.archive_runs("--refresh", "1").stderr


def test_a_recovered_run_that_was_refreshed_is_watched_again(site: Site) -> None:
    site.configure(app={"verify_per_cycle": 0})
    site.make(1)
    site.archive_runs()
    shutil.rmtree(site.work)
    site.archive_runs("--recover-import-state")
    site.archive_runs("--migrate-only")
    edit(site, 1, lambda text: text + b"\nTotal events: 7\n")
    site.archive_runs("--refresh", "1")

    edit(site, 1, lambda text: text + b"\nTotal events: 8\n")

    assert "NOT SAFE: 1 record changed on disk" in site.archive_runs("--report-status", status=1).stdout
    assert "run 1: its record has changed" in site.archive_runs("--incremental").stderr
    assert "SAFE: " in site.archive_runs("--report-status").stdout


def test_refresh_says_why_a_run_cannot_be_stored_anew(site: Site) -> None:
    site.make(3)
    site.archive_runs("--runs", "1-2")
    site.remove(2)

    done = site.archive_runs("--refresh", "1-3", status=1).stderr

    assert "run 1: is archived as its record is now" in done
    assert "run 2: " in done
    assert "the record's directory is gone" in done
    assert "run 3: is not in both stores yet (archive it first: --runs 3)" in done
    assert site.versions() == 2


def test_a_named_refresh_that_was_stopped_is_finished_later(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    edit(site, 1, lambda text: text + b"\nTotal events: 7\n")
    site.ucondb.stop()
    away = site.archive_runs("--refresh", "1", status=1).stderr
    site.ucondb.start()

    report = site.archive_runs("--report-status", status=None).stdout
    site.archive_runs()

    assert "not finished: 1 (a call without options, or --refresh 1 once more, finishes it)" in away
    assert "NOT SAFE" in report
    assert versions(site, 1)[1] == 2
    assert not list((site.work / "failures" / "refresh").iterdir())
    assert "SAFE: " in site.archive_runs("--report-status").stdout


def test_refresh_says_why_a_damaged_marker_stops_it(site: Site) -> None:
    site.make(2)
    site.archive_runs()
    (site.work / "markers" / "migrate" / "1.json").write_text("{")

    done = site.archive_runs("--refresh", "1-2", status=1).stderr

    assert "run 1: " in done
    assert "cannot be read as JSON" in done
    assert "run 2: is archived as its record is now" in done
