"""The archive in a few numbers, as notifications and metrics tell them."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from rra_state.reporting.counts import Counts, Oldest, count_runs
from rra_state.reporting.failures import NOT_ATTEMPTED
from rra_state.state.outcome import Failure
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site, edit_state

NOW = datetime(2026, 11, 23, 20, 20, 41, tzinfo=UTC)


def counted(site: Site, now: float | None = None) -> Counts:
    return count_runs(Snapshot.take(site.settings, now))


def test_every_run_is_counted_once_by_what_it_is(site: Site) -> None:
    site.record(1, 2, 3, 4)
    site.record(5, ended=False)
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.fail("import", 3)

    found = counted(site)

    assert found.numbers == {"archived": 1, "waiting": 2, "failed": 1, "open": 1, "lost": 0}
    assert sum(found.numbers.values()) == 5


def test_each_stage_is_counted_for_itself(site: Site) -> None:
    site.record(1, 2, 3, 4)
    site.archive("import", 1, 2, 3)
    site.archive("migrate", 1)
    site.fail("migrate", 2)

    stages = counted(site).stages

    numbers = {stage: (found.archived, found.waiting, found.failed) for stage, found in stages.items()}
    assert numbers == {"import": (3, 1, 0), "migrate": (1, 1, 1)}
    assert stages["migrate"].derived.state.last_attempted_run == 2


def test_failures_are_counted_by_class_with_the_never_attempted_ones(site: Site) -> None:
    site.record(1, 2, 3, 4, 5)
    site.fail("import", 4, 5)
    failure = Failure(5, "import", "Conflict", "run 5: x", 1, "2026-11-23T00:00:00Z", "2026-11-23T00:00:00Z")
    site.tree.write_failures([failure])

    found = counted(site).stages["import"]

    assert found.classes == {"Conflict": 1, NOT_ATTEMPTED: 3, "RecordError": 1}
    assert (found.waiting, found.failed, len(found.derived.log)) == (3, 2, 5)


def test_an_unreadable_failure_is_counted_as_damaged(site: Site) -> None:
    site.record(1)
    site.tree.failure_path("import", 1).write_text("{")

    found = counted(site).stages["import"]

    assert (found.classes, found.oldest_failed) == ({"Damaged": 1}, None)


def test_a_run_waits_since_its_record_was_written(site: Site) -> None:
    site.record(7, 8)
    site.record(9, age=3600)
    written = (site.records / "9" / "metadata.txt").stat().st_mtime

    oldest = counted(site).stages["import"].oldest_waiting

    assert oldest == Oldest(9, datetime.fromtimestamp(written, UTC))


def test_a_run_waits_for_its_migration_since_its_import(site: Site) -> None:
    site.record(7, age=7200)
    site.archive("import", 7)
    os.utime(site.tree.marker_path("import", 7), (NOW.timestamp(),) * 2)

    found = counted(site, NOW.timestamp() + 60)

    assert found.stages["migrate"].oldest_waiting == Oldest(7, NOW)
    assert found.oldest is not None
    assert found.oldest.age(found.at) == 60


def test_the_oldest_failure_counts_from_the_first_attempt(site: Site) -> None:
    site.record(1, 2)
    for run, first in ((1, "2026-11-20T00:00:00Z"), (2, "2026-11-19T00:00:00Z")):
        site.tree.write_failures([Failure(run, "import", "RecordError", "x", 2, first, "2026-11-23T00:00:00Z")])

    found = counted(site)

    assert found.stages["import"].oldest_failed == Oldest(2, datetime(2026, 11, 19, tzinfo=UTC))
    assert found.oldest == found.stages["import"].oldest_failed


def test_nothing_waits_in_an_empty_archive(site: Site) -> None:
    found = counted(site)

    assert (sum(found.numbers.values()), found.oldest, found.source_error) == (0, None, None)


def test_without_the_disk_imported_runs_are_counted(site: Site) -> None:
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.records.rmdir()

    found = counted(site)

    assert "cannot be read" in str(found.source_error)
    assert found.numbers == {"archived": 1, "waiting": 1, "failed": 0, "open": 0, "lost": 0}


def test_numbers_an_operator_wrote_are_shown(site: Site) -> None:
    edit_state(site, 100, 120)

    state = counted(site).stages["import"].derived.state

    assert (state.last_contiguous_run, state.last_attempted_run) == (100, 120)


@pytest.mark.parametrize(
    "module", ["rra_state.reporting.counts", "rra_state.reporting.assessment", "rra_state.reporting.text"]
)
def test_a_cycle_that_counts_does_not_load_pandas(module: str) -> None:
    code = f"import sys, {module}; sys.exit('pandas' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
