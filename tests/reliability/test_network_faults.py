"""Every fault of the network at every step of both stores' protocols: each run is stored whole, once, and said so."""

from __future__ import annotations

import gc
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rra_state.base.errors import ArchiverError, StoreError
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import postgres_session
from tests.faults.proxy import KINDS, Fault, Kind, Proxy
from tests.reliability.counts import count
from tests.reliability.deeds import DEEDS, Deed
from tests.reliability.world import World
from tests.servers import Folder
from tests.waiting import scaled, slowness

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
STRIDE = 1 if LONG else 4
"""`make test` lets each kind strike at every fourth step of PostgreSQL's protocol, another kind at each."""
PATIENCE = 0.5
"""Seconds until an answer counts as lost, on a quiet machine."""

ATTEMPTS = 3
"""An answer that no fault delayed may be late by itself: then the place is tried again."""

_numbers = itertools.count(200_001)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_on_the_way_to_ucondb_costs_no_run(
    kind: Kind, deed: Deed, ucondb: Folder, memory: Path, request: pytest.FixtureRequest
) -> None:
    address = urlsplit(ucondb.url)
    with (
        Proxy((str(address.hostname), int(address.port or 0))) as proxy,
        psycopg.connect(ucondb.server.pg(), autocommit=True) as connection,
    ):
        direct = ucondb.url

        def make() -> World:
            world = _world(memory, ucondb, connection)
            section = world.settings.ucon_db.model_copy(
                update={
                    "server_url": direct.replace(address.netloc, f"127.0.0.1:{proxy.address[1]}"),
                    "timeout_seconds": PATIENCE * slowness(),
                }
            )
            return _with(world, ucon_db=section)

        messages = _strike(kind, deed, proxy, make, itertools.count())

    _count(request, messages)
    assert all(not text or f"UconDB at http://127.0.0.1:{proxy.address[1]}" in text for text in messages), messages


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.name)
@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_on_the_way_to_postgresql_costs_no_run(  # noqa: PLR0917 - fixtures
    kind: Kind,
    deed: Deed,
    ucondb: Folder,
    postgres: str,
    memory: Path,
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(postgres_session, "RECONNECT_SECONDS", 1)
    monkeypatch.setattr(postgres_session, "CONNECT_SECONDS", 2)
    monkeypatch.setattr(postgres_session, "_NETWORK", {"tcp_user_timeout": 1000})
    monkeypatch.setattr(postgres_session, "ANSWER_SECONDS", PATIENCE * slowness())
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
            return _world(memory, ucondb, connection, here)

        messages = _strike(kind, deed, proxy, make, itertools.count(KINDS.index(kind) % STRIDE, STRIDE))
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")

    _count(request, messages)
    assert all(not text or f"PostgreSQL at 127.0.0.1:{proxy.address[1]}" in text for text in messages), messages


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("deed", DEEDS if LONG else DEEDS[:1], ids=lambda deed: deed.name)
@pytest.mark.parametrize("kind", KINDS if LONG else ("reset", "lost answer"))
def test_a_fault_on_the_way_to_mongodb_costs_no_run(  # noqa: PLR0917 - fixtures
    kind: Kind, deed: Deed, ucondb: Folder, mongodb: str, memory: Path, request: pytest.FixtureRequest
) -> None:
    """The driver watches the server over connections of its own; some of the faults hit one of these.

    The server is written in Python: beside other tests it may be slow to answer what no fault hit.
    """
    host, port = mongodb.removeprefix("mongodb://").split(":")
    answer, selection = int(1000 * scaled(PATIENCE)), int(1000 * scaled(2))
    waits = f"directConnection=true&socketTimeoutMS={answer}&serverSelectionTimeoutMS={selection}"
    with (
        _collected_by_hand(),
        Proxy((host, int(port))) as proxy,
        psycopg.connect(ucondb.server.pg(), autocommit=True) as connection,
    ):

        def make() -> World:
            gc.collect()  # closes the last store, whose driver would go on asking the proxy
            uri = f"mongodb://127.0.0.1:{proxy.address[1]}/net_{uuid4().hex}?{waits}"
            return _world(memory, ucondb, connection, uri)

        messages = _strike(kind, deed, proxy, make, range(KINDS.index(kind), 80, 1 if LONG else 13))
        gc.collect()

    _count(request, messages)
    assert all(not text or f"MongoDB at 127.0.0.1:{proxy.address[1]}" in text for text in messages), messages


@contextmanager
def _collected_by_hand() -> Iterator[None]:
    """No garbage is collected by itself: a driver that is collected in the proxy's thread waits for the proxy there."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _world(root: Path, ucondb: Folder, connection: psycopg.Connection[Any], uri: str | None = None) -> World:
    number = next(_numbers)
    return World(root / str(number), ucondb, connection, number, database_uri=uri)


def _with(world: World, **sections: object) -> World:
    changed = world.settings.model_copy(update=sections)
    changed._path = world.settings.path
    world.settings = changed
    return world


def _strike(kind: Kind, deed: Deed, proxy: Proxy, make: Callable[[], World], places: Iterable[int]) -> list[str]:
    """Do a deed once per place, with the fault at that protocol step; return the error message of each.

    The message is empty where the deed succeeded in spite of the fault. Ends at the first place that is never reached.
    """
    messages: list[str] = []
    for at in places:
        for _ in range(ATTEMPTS):
            world = make()
            proxy.set(None)
            with _patient():
                deed.prepare(world)
            proxy.set(Fault(kind, at))
            error = deed.do(world)
            struck = proxy.struck
            proxy.set(None)
            if struck or error is None:
                break
        world.archive = artdaqdb.open_store(world.settings.artdaq_db)
        if not struck:
            assert error is None, repr(error.__cause__)
            break
        # The process of a window prints the error of a store; here it comes back without its class.
        of_ucondb = isinstance(error, ArchiverError) and str(error).startswith("UconDB at ")
        assert error is None or isinstance(error, StoreError) or of_ucondb, repr(error)
        messages.append("" if error is None else str(error))
        with _patient():
            deed.check(world)
    return messages


@contextmanager
def _patient() -> Iterator[None]:
    """What no fault hits gets its time: beside other tests an answer may take longer than PATIENCE."""
    with mock.patch.object(postgres_session, "ANSWER_SECONDS", scaled(10)):
        yield


def _count(request: pytest.FixtureRequest, messages: list[str]) -> None:
    outcomes = Counter("done all the same" if text == "" else "named as the store's fault" for text in messages)
    for outcome, number in outcomes.items():
        count(request, f"pairs of network fault and protocol step, {outcome}", number)
