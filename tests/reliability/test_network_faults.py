"""Every fault of the network at every step of the protocols of both stores: each run is told right, once, and whole."""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rra_state.plan import Selection
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import postgres_session
from tests.faults.proxy import KINDS, Fault, Kind, Proxy
from tests.reliability import archiver
from tests.reliability.counts import count
from tests.reliability.faults import Course
from tests.reliability.scenarios import all_is_well_at_last, markers_tell_the_truth
from tests.reliability.world import World
from tests.servers import Folder

RUNS = range(1, 4)
STEPS = 4 if os.environ.get("HYPOTHESIS_PROFILE") != "long" else 60
"""Steps that each fault strikes at; the long profile goes on until none is left."""
PATIENCE = 1.0
"""Seconds until an answer counts as lost."""

_numbers = itertools.count(200_001)


@pytest.fixture
def root() -> Iterator[Path]:
    memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    root = Path(tempfile.mkdtemp(prefix="rra-net-", dir=memory))
    yield root
    shutil.rmtree(root)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_on_the_way_to_ucondb_costs_no_run(
    kind: Kind, ucondb: Folder, root: Path, request: pytest.FixtureRequest
) -> None:
    address = urlsplit(ucondb.url)
    with (
        Proxy((str(address.hostname), int(address.port or 0))) as proxy,
        psycopg.connect(ucondb.server.pg(), autocommit=True) as connection,
    ):
        direct = ucondb.url

        def make() -> World:
            world = _world(root, ucondb, connection)
            section = world.settings.ucon_db.model_copy(
                update={
                    "server_url": direct.replace(address.netloc, f"127.0.0.1:{proxy.address[1]}"),
                    "timeout_seconds": PATIENCE,
                }
            )
            return _with(world, ucon_db=section)

        pairs = _strike(kind, proxy, make)

    count(request, "pairs of network fault and protocol step", pairs)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_on_the_way_to_postgresql_costs_no_run(  # noqa: PLR0917 - fixtures
    kind: Kind,
    ucondb: Folder,
    postgres: str,
    root: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_session, "RECONNECT_SECONDS", 1)
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(postgres_session, "_NETWORK", {"tcp_user_timeout": 1000})
    monkeypatch.setattr(postgres_session, "ANSWER_SECONDS", PATIENCE)
    name, parts = f"net_{uuid4().hex}", conninfo_to_dict(postgres)
    with (
        Proxy(f"{parts['host']}/.s.PGSQL.{parts['port']}") as proxy,
        psycopg.connect(postgres, autocommit=True) as server,
        psycopg.connect(ucondb.server.pg(), autocommit=True) as connection,
    ):
        server.execute(f"CREATE DATABASE {name}")
        here = f"postgresql://{parts['user']}@127.0.0.1:{proxy.address[1]}/{name}?sslmode=disable"

        def make() -> World:
            with psycopg.connect(make_conninfo(postgres, dbname=name)) as inside:
                inside.execute("DROP SCHEMA IF EXISTS artdaqdb CASCADE")
            return _world(root, ucondb, connection, here)

        pairs = _strike(kind, proxy, make)
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    count(request, "pairs of network fault and protocol step", pairs)


def _world(root: Path, ucondb: Folder, connection: psycopg.Connection[Any], uri: str | None = None) -> World:
    number = next(_numbers)
    world = World(root / str(number), ucondb, connection, number, database_uri=uri)
    for run in RUNS:
        world.take(run)
    return world


def _with(world: World, **sections: object) -> World:
    changed = world.settings.model_copy(update=sections)
    changed._path = world.settings.path
    world.settings = changed
    return world


def _strike(kind: Kind, proxy: Proxy, make: Callable[[], World]) -> int:
    """Let the fault strike at step after step of a cycle, until it comes too late; how many it struck."""
    for at in range(STEPS):
        world = make()
        proxy.set(Fault(kind, at))
        archiver.run(world.settings, Selection(), Course(None), lambda _report: None)
        struck = proxy.struck
        proxy.set(None)
        if not struck:
            return at
        world.archive = artdaqdb.open_store(world.settings.artdaq_db)
        markers_tell_the_truth(world)
        all_is_well_at_last(world)
    return STEPS
