"""A record is archived once nothing in it has changed for long enough."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rra_state.records import blob
from scripts.make_run_records import make_records
from tests.acceptance.changing_records import stop, without_stop_time
from tests.site import Site
from tests.waiting import scaled, wait_until

pytestmark = pytest.mark.in_process


def test_a_record_is_archived_only_after_its_quiet_time(site: Site) -> None:
    site.configure(source_files={"quiet_seconds": 3600})
    site.make(1)
    record = site.records / "1"
    record.chmod(0o755)
    (record / "settings.txt").rename(site.root / "settings.txt")
    assert "nothing to do" in site.archive_runs("--incremental").stderr

    (site.root / "settings.txt").rename(record / "settings.txt")
    site.configure(source_files={"quiet_seconds": 1})
    quiet = (record / "settings.txt").stat().st_ctime + 1
    wait_until(lambda: time.time() > quiet)
    site.archive_runs("--incremental")

    assert "settings.fcl" in blob.unpack(site.blobs()["1"]).files


def test_case_a1b_a_slow_copy_beside_cycles_is_archived_whole(site: Site) -> None:
    site.configure(source_files={"quiet_seconds": 3600, "settle_seconds": 3600})
    (site.root / "daq").mkdir()
    make_records(2, site.root / "daq", first_run=1)

    for copied in copy_file_by_file(site.root / "daq", site.records):
        if copied in ("boot.txt", "metadata.txt"):
            site.archive_runs("--incremental")
    site.configure(source_files={"quiet_seconds": 0})
    site.archive_runs("--incremental")

    for run in (1, 2):
        stored = blob.unpack(site.blobs()[str(run)]).files
        written = {path.name.replace(".txt", ".fcl") for path in (site.root / "daq" / str(run)).iterdir()}
        assert written <= set(stored)
    assert site.versions() == 2
    site.archive_runs("--verify")


def copy_file_by_file(origin: Path, destination: Path) -> Iterator[str]:
    """Copy records as rsync -a does: each file under a name of its own first, with the times of the origin.

    Gives the name of each file once it is there.
    """
    for record in sorted(origin.iterdir()):
        (destination / record.name).mkdir()
        for path in sorted(record.iterdir()):
            unfinished = destination / record.name / f".{path.name}.Xy12ab"
            shutil.copy2(path, unfinished)
            unfinished.rename(destination / record.name / path.name)
            yield path.name


def test_a_stop_time_appended_during_the_import_is_noticed(site: Site) -> None:
    site.make(120)
    for run in range(1, 121):
        without_stop_time(site, run)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 10)

    for run in range(1, 121):
        stop(site, run)
    output, _ = cycle.communicate(timeout=scaled(90))

    assert cycle.returncode in (0, 1), output
    site.archive_runs("--incremental", status=None)
    site.archive_runs("--incremental")
    contents = site.blobs()
    assert len(contents) == 120
    assert all(b"stop_time" in contents[str(run)] for run in range(1, 121))
    assert "nothing to do" in site.archive_runs("--incremental").stderr


def test_runs_named_while_their_records_are_written_are_said(site: Site) -> None:
    site.configure(source_files={"quiet_seconds": 3600})
    site.make(1)

    done = site.archive_runs("--runs", "1").stderr

    assert "still being written, so not taken yet: 1" in done
