"""Every fault of the network at every step of both stores' protocols: each run is stored whole, once, and said so."""

from __future__ import annotations

import gc
import itertools
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from rra_state.base.errors import ArchiverError, StoreError
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import postgres_session
from tests.faults.mongo_proxy import collected_by_hand
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
"""Seconds until an answer counts as lost, on a quiet machine, while a fault may have kept it back.

An answer that no fault hit may take as long on a busy machine: it is waited for.
"""
SILENT: tuple[Kind, ...] = ("timeout", "garbage")
"""After these a client may wait for the rest of an answer for ever."""

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
            through = direct.replace(address.netloc, f"127.0.0.1:{proxy.address[1]}")
            return _with_ucondb(world, server_url=through, timeout_seconds=scaled(2))

        @contextmanager
        def hurried(world: World) -> Iterator[None]:
            patient = world.settings
            _with_ucondb(world, timeout_seconds=PATIENCE * slowness())
            yield
            world.settings = patient

        messages = _strike(kind, deed, proxy, make, itertools.count(), hurried)

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
    monkeypatch.setattr(postgres_session, "_NETWORK", {"tcp_user_timeout": 1000})
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

        @contextmanager
        def hurried(_world: World) -> Iterator[None]:
            with monkeypatch.context() as patched:
                patched.setattr(postgres_session, "CONNECT_SECONDS", round(2 * slowness()))
                patched.setattr(postgres_session, "ANSWER_SECONDS", PATIENCE * slowness())
                yield

        messages = _strike(kind, deed, proxy, make, itertools.count(KINDS.index(kind) % STRIDE, STRIDE), hurried)
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
        collected_by_hand(),
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


def _world(root: Path, ucondb: Folder, connection: psycopg.Connection[Any], uri: str | None = None) -> World:
    number = next(_numbers)
    return World(root / str(number), ucondb, connection, number, database_uri=uri)


def _with_ucondb(world: World, **keys: object) -> World:
    section = world.settings.ucon_db.model_copy(update=keys)
    changed = world.settings.model_copy(update={"ucon_db": section})
    changed._path = world.settings.path
    world.settings = changed
    return world


def _strike(  # noqa: PLR0917
    kind: Kind,
    deed: Deed,
    proxy: Proxy,
    make: Callable[[], World],
    places: Iterable[int],
    hurried: Callable[[World], AbstractContextManager[None]] = nullcontext,
) -> list[str]:
    """Do a deed once per place, with the fault at that protocol step; return the error message of each.

    The message is empty where the deed succeeded in spite of the fault. Ends at the first place that is never reached.
    hurried: within it answers are not waited for as long as ever.
    """
    messages: list[str] = []
    for at in places:
        world = make()
        proxy.set(None)
        deed.prepare(world)
        proxy.set(Fault(kind, at))
        with hurried(world) if kind in SILENT else nullcontext():
            error = deed.do(world)
        struck = proxy.struck
        proxy.set(None)
        world.archive = artdaqdb.open_store(world.settings.artdaq_db)
        if not struck:
            assert error is None, repr(error.__cause__)
            break
        # The process of a window prints the error of a store; here it comes back without its class.
        of_ucondb = isinstance(error, ArchiverError) and str(error).startswith("UconDB at ")
        assert error is None or isinstance(error, StoreError) or of_ucondb, repr(error)
        messages.append("" if error is None else str(error))
        deed.check(world)
    return messages


def _count(request: pytest.FixtureRequest, messages: list[str]) -> None:
    outcomes = Counter("done all the same" if text == "" else "named as the store's fault" for text in messages)
    for outcome, number in outcomes.items():
        count(request, f"pairs of network fault and protocol step, {outcome}", number)
