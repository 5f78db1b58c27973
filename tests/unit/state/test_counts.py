"""The archive in a few numbers, as notifications and metrics tell them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from rra_state.reporting import status
from rra_state.state.counts import NOT_ATTEMPTED, Oldest
from rra_state.state.outcome import Failure
from tests.unit.archive_site import Site, edit_state

NOW = datetime(2026, 11, 23, 20, 20, 41, tzinfo=UTC)


def test_every_run_is_counted_once_by_what_it_is(site: Site) -> None:
    site.record(1, 2, 3, 4)
    site.record(5, ended=False)
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.fail("import", 3)

    found = status.summary(site.settings)

    assert found.runs == {"archived": 1, "waiting": 2, "failed": 1, "open": 1}
    assert found.total == 5


def test_each_stage_is_counted_for_itself(site: Site) -> None:
    site.record(1, 2, 3, 4)
    site.archive("import", 1, 2, 3)
    site.archive("migrate", 1)
    site.fail("migrate", 2)

    stages = status.summary(site.settings).stages

    numbers = {stage: (found.archived, found.waiting, found.failed) for stage, found in stages.items()}
    assert numbers == {"import": (3, 1, 0), "migrate": (1, 1, 1)}
    assert stages["migrate"].state.last_attempted_run == 2


def test_failures_are_counted_by_class_with_the_never_attempted_ones(site: Site) -> None:
    site.record(1, 2, 3, 4, 5)
    site.fail("import", 4, 5)
    failure = Failure(5, "import", "Conflict", "run 5: x", 1, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z")
    site.tree.write_failures([failure])

    found = status.summary(site.settings).stages["import"]

    assert found.kinds == {"Conflict": 1, NOT_ATTEMPTED: 3, "RecordError": 1}
    assert (found.waiting, found.failed, found.in_log) == (3, 2, 5)


def test_a_failure_record_that_cannot_be_read_is_counted_as_damaged(site: Site) -> None:
    site.record(1)
    site.tree.failure_path("import", 1).write_text("{")

    found = status.summary(site.settings).stages["import"]

    assert (found.kinds, found.oldest_failed) == ({"Damaged": 1}, None)


def test_the_oldest_waiting_run_waits_since_its_record_was_last_written(site: Site) -> None:
    site.record(7, 8)
    site.record(9, age=3600)
    written = (site.records / "9" / "metadata.txt").stat().st_mtime

    oldest = status.summary(site.settings).stages["import"].oldest_waiting

    assert oldest == Oldest(9, datetime.fromtimestamp(written, UTC))


def test_a_run_waits_for_its_migration_since_its_import(site: Site) -> None:
    site.record(7, age=7200)
    site.archive("import", 7)
    os.utime(site.tree.marker_path("import", 7), (NOW.timestamp(),) * 2)

    found = status.summary(site.settings, now=NOW.timestamp() + 60)

    assert found.stages["migrate"].oldest_waiting == Oldest(7, NOW)
    assert found.oldest is not None
    assert found.oldest.age(found.at) == 60


def test_the_oldest_failure_counts_from_the_first_attempt(site: Site) -> None:
    site.record(1, 2)
    for run, first in ((1, "2026-11-20T00:00:00Z"), (2, "2026-11-19T00:00:00Z")):
        site.tree.write_failures([Failure(run, "import", "RecordError", "x", 2, first, "2026-11-23T00:00:00Z")])

    found = status.summary(site.settings)

    assert found.stages["import"].oldest_failed == Oldest(2, datetime(2026, 11, 19, tzinfo=UTC))
    assert found.oldest == found.stages["import"].oldest_failed


def test_nothing_waits_in_an_empty_archive(site: Site) -> None:
    found = status.summary(site.settings)

    assert (found.total, found.oldest, found.source_error) == (0, None, None)


def test_a_disk_that_is_away_is_told_and_what_was_imported_is_counted(site: Site) -> None:
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.records.rmdir()

    found = status.summary(site.settings)

    assert "cannot be read" in str(found.source_error)
    assert found.runs == {"archived": 1, "waiting": 1, "failed": 0, "open": 0}


def test_numbers_an_operator_wrote_are_shown(site: Site) -> None:
    edit_state(site, 100, 120)

    state = status.summary(site.settings).stages["import"].state

    assert (state.last_contiguous_run, state.last_attempted_run) == (100, 120)


@pytest.mark.parametrize("module", ["rra_state.state.counts", "rra_state.reporting.status"])
def test_a_cycle_that_counts_does_not_load_pandas(module: str) -> None:
    code = f"import sys, {module}; sys.exit('pandas' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
