"""The process ends at step k of a refresh, for every k: a changed record is archived again, and once."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rra_state.markers import Tree
from rra_state.plan import Planner
from rra_state.records import blob
from rra_state.refresh import refresh_run
from rra_state.worker import Bench
from tests.reliability.counts import count
from tests.reliability.mortal import KILLED, DiesAt, life
from tests.reliability.scenarios import cycle
from tests.reliability.world import METADATA, World
from tests.servers import Folder

CHANGED, OTHER = 101, 100
_numbers = itertools.count(50_000)


@pytest.fixture
def place(ucondb: Folder) -> Iterator[tuple[Path, psycopg.Connection[tuple[object, ...]]]]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = Path(tempfile.mkdtemp(prefix="rra-refresh-", dir=memory))
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:
        yield root, connection
    shutil.rmtree(root)


def refresh(world: World) -> None:
    """What a cycle and the job of its rule do with changed records."""
    planner = Planner(world.settings)
    planner.watch.remember(planner.tree)
    for wanted in planner.watch.changed:
        outcome = refresh_run(wanted, Bench(world.settings), planner.tree)
        assert outcome.archived, outcome.error


def archived_before_its_stop_time(world: World) -> None:
    world.take(OTHER)
    world.take(CHANGED, ended=False)
    world.settle(CHANGED)
    assert life(cycle(world)) == 0
    world.end(CHANGED)


def assert_refreshed_once(world: World) -> None:
    located = world.archive.locate([OTHER, CHANGED])
    assert located[OTHER].version == located[OTHER].configuration
    assert located[CHANGED].version == f"{located[CHANGED].configuration}v1"
    export = world.archive.export(located[CHANGED])
    assert {each.name: each.data for each in export.sources} == {METADATA: world.records[CHANGED].files[METADATA]}
    assert world.stored() == [0, OTHER, CHANGED]  # 0: the version without a key, which was replaced
    [(content,)] = world.connection.execute(
        f"select d.data from {world.ucondb.folder}_versions v join {world.ucondb.folder}_data d"
        " on d.key = v.data_key::bigint where v.object = %s and v.key = %s",
        (world.object, str(CHANGED)),
    )
    assert blob.unpack(bytes(content)).files == export.files
    tree = Tree(world.work)
    assert {run: len(found) for run, found in tree.refreshed().items()} == {CHANGED: 1}
    assert tree.watched() == set()
    assert tree.failed_refreshes() == set()
    assert list(world.root.rglob(".*.tmp")) == []


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
        status = life(lambda world=world: refresh(world), DiesAt(step))  # type: ignore[misc]
        assert status in (0, KILLED)

        assert life(lambda world=world: refresh(world)) == 0  # type: ignore[misc]
        assert_refreshed_once(world)
        if status == 0:
            break
        points += 1

    count(request, "crash points", points)
    assert points >= 20
