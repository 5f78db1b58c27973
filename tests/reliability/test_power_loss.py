"""The power goes at any step, and the disk loses any part of what was not synced: nothing archived is lost."""

from __future__ import annotations

import itertools
import os
from functools import cache
from pathlib import Path

import psycopg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_state.stores import artdaqdb
from tests.reliability.counts import count
from tests.reliability.mortal import KILLED, life, steps_of
from tests.reliability.power import Disk, Recorder, recorded
from tests.reliability.scenarios import SCENARIOS, Scenario, all_is_well_at_last, markers_tell_the_truth
from tests.reliability.world import World
from tests.servers import Folder

RUNS = range(1, 7)
EXAMPLES = 25 if os.environ.get("HYPOTHESIS_PROFILE") != "long" else 3000

_numbers = itertools.count(100_001)


@pytest.mark.timeout(3 * 3600)
def test_a_power_loss_costs_no_run_whatever_the_disk_forgets(
    ucondb: Folder, memory: Path, request: pytest.FixtureRequest
) -> None:
    lost = 0

    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:

        def make() -> World:
            number = next(_numbers)
            world = World(memory / str(number), ucondb, connection, number)
            for run in RUNS:
                world.take(run)
            return world

        @cache
        def total(scenario: Scenario) -> int:
            return steps_of(scenario(make()))

        @settings(max_examples=EXAMPLES, deadline=None, derandomize=EXAMPLES < 100, database=None)
        @given(
            scenario=st.sampled_from(SCENARIOS),
            place=st.floats(0, 1, exclude_max=True),
            keeps=st.sampled_from([0.0, 0.2, 0.5, 0.8, 1.0]),
            chance=st.randoms(use_true_random=False),
        )
        def lose_power(scenario: Scenario, place: float, keeps: float, chance: object) -> None:
            nonlocal lost
            world = make()
            action = scenario(world)
            disk, log = Disk(world.root), memory / "steps"
            log.unlink(missing_ok=True)
            status = life(action, Recorder(log, 2 + int(place * (total(scenario) - 1))))
            assert status in (0, KILLED)
            for step, details in recorded(log):
                disk.follow(step, details)
            disk.lose_power(lambda: chance.random() < keeps)
            lost += 1
            world.archive = artdaqdb.open_store(world.settings.artdaq_db)
            markers_tell_the_truth(world)

            assert life(action) == 0
            all_is_well_at_last(world)

        lose_power()
    count(request, "power losses, each with another part of what was not synced", lost)
