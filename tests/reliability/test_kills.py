"""Real processes, really killed: `kill -9` of everything at random moments, again and again."""

from __future__ import annotations

import os
import random
import signal
import subprocess

import pytest

from tests.site import Site

RUNS = 300
KILLS = 10
LIFE = (0.2, 1.4)
"""Seconds that a cycle lives: from its start to the middle of its work, and all of them too few for 300 runs."""


@pytest.mark.timeout(600)
def test_kill_9_at_random_moments_costs_nothing_but_time(site: Site) -> None:
    """The process group of the command line is killed; what it started has to notice and end by itself."""
    site.make(RUNS)
    chance = random.Random(20261123)
    killed = 0

    for _ in range(KILLS):
        cycle = site.start(site.command("--incremental"))
        try:
            cycle.communicate(timeout=chance.uniform(*LIFE))
        except subprocess.TimeoutExpired:
            os.killpg(cycle.pid, signal.SIGKILL)
            killed += 1
            cycle.communicate()

    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, RUNS + 1))
    assert killed >= KILLS // 2
    assert site.failures("import") == site.failures("migrate") == []
    for stage in ("import", "migrate"):
        assert site.state(stage) == {"last_contiguous_run": RUNS, "last_attempted_run": RUNS}
    assert not list(site.root.rglob(".*.tmp"))
