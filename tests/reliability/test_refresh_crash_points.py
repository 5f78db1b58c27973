"""The process ends at step k of a refresh, for every k: a changed record is archived again, and once."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.reliability.counts import count
from tests.reliability.mortal import KILLED, DiesAt, life
from tests.reliability.refreshing import archived_before_its_stop_time, assert_refreshed_once, refresh
from tests.reliability.world import World
from tests.servers import Folder

_numbers = itertools.count(50_000)


@pytest.fixture
def place(ucondb: Folder, memory: Path) -> Iterator[tuple[Path, psycopg.Connection[tuple[object, ...]]]]:
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:
        yield memory, connection


def refreshed(world: World) -> None:
    error = refresh(world)
    assert error is None, error


@pytest.mark.timeout(600)
def test_a_refresh_that_ends_at_any_step_is_completed_once(
    ucondb: Folder, place: tuple[Path, psycopg.Connection[tuple[object, ...]]], request: pytest.FixtureRequest
) -> None:
    root, connection = place
    points = 0

    for step in itertools.count(1):
        number = next(_numbers)
        world = World(root / str(number), ucondb, connection, number)
        archived_before_its_stop_time(world)
        status = life(lambda world=world: refreshed(world), DiesAt(step))  # type: ignore[misc]
        assert status in (0, KILLED)

        assert life(lambda world=world: refreshed(world)) == 0  # type: ignore[misc]
        assert_refreshed_once(world)
        if status == 0:
            break
        points += 1

    count(request, "crash points", points)
    assert points >= 20
