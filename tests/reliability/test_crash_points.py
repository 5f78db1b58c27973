"""The process ends at step k, for k = 1, 2, 3 and so on until it lives: what is done again afterwards puts all right.

A step is everything that changes a disk or a store (`announce` in `rra_state/base/files.py`). `make test` takes points
spread over the whole; `make test-long` takes every one.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from tests.reliability.counts import count
from tests.reliability.mortal import KILLED, DiesAt, life, steps_of
from tests.reliability.scenarios import SCENARIOS, Scenario, all_is_well_at_last, both, markers_tell_the_truth
from tests.reliability.world import World
from tests.servers import Folder

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
RUNS = range(1, 21 if LONG else 9)
POINTS = 10
"""Crash points per scenario in `make test`."""

_numbers = itertools.count(1)


def _pairs() -> Iterator[object]:
    """Each database with each scenario; in `make test` the slow test server of MongoDB with a whole cycle only."""
    for database in ("filesystemdb", "postgresql", "mongodb", "mongodb_alone"):
        for scenario in SCENARIOS if LONG or not database.startswith("mongodb") else (both,):
            yield pytest.param(database, scenario, id=f"{database}-{scenario.__name__}")


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[Callable[[], str | None]]:
    """Gives the address of a fresh artdaqDB, as often as it is asked; None for a directory."""
    if request.param == "filesystemdb":
        yield lambda: None
        return
    if request.param.startswith("mongodb"):
        at = request.getfixturevalue(request.param)
        yield lambda: f"{at}/crash_{uuid4().hex}"
        return
    name = f"crash_{uuid4().hex}"
    server = request.getfixturevalue("postgres")
    place = str(server.replace("/postgres?", f"/{name}?"))

    def fresh() -> str:
        with psycopg.connect(place) as inside:
            inside.execute("DROP SCHEMA IF EXISTS artdaqdb CASCADE")
        return place

    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield fresh
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def make_world(ucondb: Folder, database: Callable[[], str | None], memory: Path) -> Iterator[Callable[[], World]]:
    """Makes worlds with good records."""
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:

        def make() -> World:
            number = next(_numbers)
            world = World(memory / str(number), ucondb, connection, number, database_uri=database())
            for run in RUNS:
                world.take(run)
            return world

        yield make


@pytest.mark.timeout(4 * 3600)
@pytest.mark.parametrize(("database", "scenario"), [*_pairs()], indirect=["database"])
def test_a_process_that_ends_anywhere_costs_only_time(
    scenario: Scenario, make_world: Callable[[], World], request: pytest.FixtureRequest
) -> None:
    points = 0

    for step in _steps(scenario, make_world):
        world = make_world()
        action = scenario(world)
        status = life(action, DiesAt(step))
        if status == 0:
            break
        assert status == KILLED
        points += 1
        markers_tell_the_truth(world)

        assert life(action) == 0
        all_is_well_at_last(world)

    count(request, "crash points", points)
    # a slow life publishes in more pieces, so the one that was counted may have more steps than the last
    assert points >= (POINTS - 1 if not LONG else 20)


def _steps(scenario: Scenario, make_world: Callable[[], World]) -> Iterator[int]:
    if LONG:
        return itertools.count(1)
    total = steps_of(scenario(make_world()))
    return iter(sorted({1 + round(place * (total - 1) / (POINTS - 1)) for place in range(POINTS)}))
