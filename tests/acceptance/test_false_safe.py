"""No report says SAFE of a record that is not what the stores hold, or that was never compared with them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.guide import take
from tests.acceptance.test_verdict import follow_the_advice, report
from tests.site import Site

pytestmark = pytest.mark.in_process


@pytest.fixture
def archived(site: Site) -> Site:
    """Three small runs in both stores."""
    take(site, [1, 2, 3])
    site.archive_runs()
    return site


def late_file(site: Site, run: int) -> Path:
    """Have a file come to an archived record."""
    path = site.records / str(run) / "late.fcl"
    path.parent.chmod(0o755)
    path.write_text("late: 1\n")
    return path


def level(site: Site) -> str:
    found: str = report(site)["verdict"]["level"]
    return found


@pytest.mark.parametrize("command", ["--verify", "--migrate-only"])
def test_a_changed_record_is_not_taken_for_the_archived_one(archived: Site, command: str) -> None:
    (archived.work / "markers" / "migrate" / "2.json").unlink()
    archived.archive_runs("--recover-migrate-state")
    late_file(archived, 2)

    archived.archive_runs(command)
    between = report(archived)["verdict"]["text"]

    assert between == "NOT SAFE: 1 record changed on disk since the run was archived: 2"
    assert follow_the_advice(archived) == ["--incremental"]
    assert b"late: 1" in archived.blobs()["2"]
