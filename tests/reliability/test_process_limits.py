"""A process that may not have what it needs, open files and memory: it says so, and no run is to blame."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.paths import REPOSITORY
from tests.reliability.counts import count
from tests.site import Site, environment
from tests.waiting import scaled

pytestmark = pytest.mark.in_process

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
RUNS = 30
FILES = range(8, 40) if LONG else (10, 17, 21)
"""Limits of open files; a little above the largest nothing is amiss."""
MEGABYTES = range(40, 240, 10) if LONG else (60, 100, 115)
"""Limits of address space, likewise."""


@pytest.mark.timeout(3600)
@pytest.mark.parametrize(
    ("option", "sizes", "remedies"),
    [
        ("nofile", FILES, ("ulimit -n 1024",)),
        ("as", [size * 2**20 for size in MEGABYTES], ("ulimit -v", "ulimit -u and -v")),
    ],
    ids=["open files", "memory"],
)
def test_a_limit_of_the_process_is_named(
    site: Site, option: str, sizes: list[int], remedies: tuple[str, ...], request: pytest.FixtureRequest
) -> None:
    site.make(RUNS)
    refused = 0

    for size in sizes:
        done = _limited(site, f"--{option}={size}")
        assert done.returncode in (0, 1), done.stderr
        assert not list(site.work.glob("failures/*/*.json"))
        assert site.markers("import") <= site.archive.runs()
        if done.returncode:
            refused += 1
            assert any(remedy in done.stderr.splitlines()[-1] for remedy in remedies), (size, done.stderr)
            assert "Traceback" not in done.stderr

    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, RUNS + 1))
    assert site.failures("import") == site.failures("migrate") == []
    assert refused >= 3
    count(request, "limits of a process", refused)


def _limited(site: Site, limit: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["prlimit", limit, *site.command("--incremental", "-q")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
        env=environment(),
    )
