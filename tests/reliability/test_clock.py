"""A clock that is set back or forward, and time zones that change: what is archived does not depend on them."""

from __future__ import annotations

import subprocess

from tests.paths import REPOSITORY
from tests.programs import needed
from tests.site import Site, environment
from tests.waiting import scaled


def _at(offset: str, command: list[str]) -> list[str]:
    """The command as it goes while the clock is off by so much."""
    return [needed("faketime"), "-f", offset, *command]


def _archive(command: list[str], **variables: str) -> None:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
        env=environment() | variables,
    )
    assert done.returncode == 0, done.stderr


def test_a_clock_a_day_off_costs_no_run(site: Site) -> None:
    cycles = (("+0", "--incremental"), ("-1d", "--incremental"), ("+1d", "--import-only"), ("+0", "--incremental"))
    for number, (offset, option) in enumerate(cycles):
        site.make(2, first_run=1 + 2 * number)
        _archive(_at(offset, site.command(option)))

    site.assert_archived_once(range(1, 9))
    assert site.failures("import") == site.failures("migrate") == []
    assert site.state("migrate") == {"last_contiguous_run": 8, "last_attempted_run": 8}
    site.archive_runs("--verify")


def test_another_time_zone_between_two_cycles_makes_no_other_blob(site: Site) -> None:
    """A blob is packed again after a crash, in another zone: it is the same, or it would be a conflict."""
    site.make(6)
    _archive(site.command("--import-only"), TZ="America/Chicago")
    _archive(site.command("--migrate-only"), TZ="Asia/Tokyo")
    before = site.blobs()
    for marker in (site.work / "markers" / "migrate").iterdir():
        marker.unlink()

    _archive(site.command(), TZ="Europe/Berlin")

    assert site.blobs() == before
    site.assert_archived_once(range(1, 7))
    assert site.failures("migrate") == []
