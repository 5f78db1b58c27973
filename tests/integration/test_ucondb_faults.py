"""The client against places that are not as they should be, and many clients at once."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from pydantic import SecretStr

from rra_state.base.errors import AccessDenied, ArchiverError, StoreUnavailable
from rra_state.stores.ucondb.client import UconDB
from tests.servers import DevServer, Folder, temporary_directory

BLOB = b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n" + b"a: 1\n" * 4000


@pytest.fixture
def store(ucondb: Folder) -> UconDB:
    return UconDB(ucondb.settings())


# ---- places that are not as they should be ---------------------------------------------------------------------------


def test_a_wrong_password_is_reported_and_never_shown(ucondb: Folder) -> None:
    store = UconDB(ucondb.settings(writer_password=SecretStr("unguessable")))

    with pytest.raises(AccessDenied) as caught:
        store.put(7, BLOB)

    assert str(caught.value) == (
        f"UconDB at {ucondb.url}: wrong user or password for folder {ucondb.folder} (401). "
        "Set UCONDB_PASSWORD or ucon_db.writer_password."
    )
    assert ucondb.stats() == {"puts": 1, "gets": 0, "other": 1}


def test_an_unknown_user_is_refused(ucondb: Folder) -> None:
    with pytest.raises(AccessDenied):
        UconDB(ucondb.settings(writer_user="nobody")).put(7, BLOB)


@pytest.mark.parametrize("ask", ["check", "runs", "lookup", "get", "put"])
def test_an_unknown_folder_is_reported_by_every_call(ucondb: Folder, ask: str) -> None:
    store = UconDB(ucondb.settings(folder_name="no_such_folder"))
    arguments = {"lookup": ([7],), "get": (7,), "put": (7, BLOB)}.get(ask, ())

    with pytest.raises(AccessDenied, match=r"has no folder no_such_folder\. Correct ucon_db\.folder_name"):
        getattr(store, ask)(*arguments)


@pytest.fixture
def own_server(postgres: str) -> Iterator[Folder]:
    """A server with a PostgreSQL of its own, to be maltreated."""
    with temporary_directory() as directory:
        server = DevServer(directory)
        server.start()
        try:
            yield Folder.fresh(server, "own")
        finally:
            server.stop()
            subprocess.run(server.command("--stop"), check=True, capture_output=True)


def test_a_database_killed_under_the_server_costs_nothing_but_time(own_server: Folder) -> None:
    store = UconDB(own_server.settings())
    store.put(1, BLOB)
    postmaster = int((own_server.server.directory / "postgres" / "postmaster.pid").read_text().split()[0])

    sessions = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text().split()
    os.kill(postmaster, signal.SIGKILL)
    while any(Path(f"/proc/{each}").exists() for each in sessions):  # they outlive it for a moment, and answer
        time.sleep(0.01)
    faults = []
    for ask in (store.check, store.runs, lambda: store.lookup([1]), lambda: store.get(1), lambda: store.put(2, BLOB)):
        with pytest.raises(StoreUnavailable) as caught:
            ask()
        faults.append(str(caught.value))
    own_server.stop()
    own_server.start()

    assert all(own_server.url in fault for fault in faults)
    assert store.get(1)[0] == BLOB
    assert not store.put(2, BLOB).already
    assert store.runs() == {1, 2}


def test_a_stopped_server_is_unavailable_until_restarted(ucondb: Folder, store: UconDB) -> None:
    store.put(1, BLOB)
    ucondb.stop()

    for ask in (store.check, store.runs, lambda: store.lookup([1]), lambda: store.get(1), lambda: store.put(2, BLOB)):
        with pytest.raises(StoreUnavailable, match="connection refused"):
            ask()
    ucondb.start()

    assert not store.put(2, BLOB).already


def test_a_killed_server_leaves_each_run_whole_or_absent(ucondb: Folder, store: UconDB) -> None:
    blobs = {run: b"%d\n" % run * 5000 for run in range(1, 200)}
    outcomes: dict[int, object] = {}

    def put(run: int) -> None:
        try:
            outcomes[run] = store.put(run, blobs[run])
        except ArchiverError as error:
            outcomes[run] = error

    with ThreadPoolExecutor(4) as threads:
        for run in blobs:
            threads.submit(put, run)
        while len(outcomes) < 20:
            time.sleep(0.01)
        ucondb.server.stop(signal.SIGKILL)
    ucondb.start()

    held = store.runs()
    assert {type(outcome) for outcome in outcomes.values() if isinstance(outcome, Exception)} == {StoreUnavailable}
    assert {run for run, outcome in outcomes.items() if not isinstance(outcome, Exception)} <= held
    for run, blob in blobs.items():
        store.put(run, blob)
    assert ucondb.execute("select count(*), count(distinct key) from {folder}_versions") == [(199, 199)]
    assert all(store.get(run)[0] == blob for run, blob in blobs.items())


# ---- many at once ----------------------------------------------------------------------------------------------------


def put_all(values: dict[str, object], runs: list[int]) -> list[bool]:
    """Ten threads put these runs; runs in another process."""
    store = UconDB(SimpleNamespace(**values))
    with ThreadPoolExecutor(10) as threads:
        return list(threads.map(lambda run: store.put(run, b"%d" % run * 1000).already, runs))


def test_twenty_putters_in_two_processes_store_every_run_once(ucondb: Folder, store: UconDB) -> None:
    runs, values = list(range(1, 61)), vars(ucondb.settings())

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        first, second = processes.map(put_all, [values, values], [runs, runs[::-1]])

    assert sum(not already for already in first + second) == len(runs)
    assert store.runs() == set(runs)
    assert ucondb.execute("select count(*) from {folder}_versions") == [(60,)]


def test_two_servers_on_one_database_store_every_run_once(ucondb: Folder, store: UconDB) -> None:
    runs, values = list(range(1, 41)), vars(ucondb.settings())
    with temporary_directory() as directory:
        other = DevServer(directory, ucondb.server.pg_uri)
        other.start()
        with ThreadPoolExecutor(2) as threads:
            outcomes = threads.map(put_all, [values, values | {"server_url": other.url}], [runs, runs])
            first, second = outcomes
        other.stop()

    assert sum(not already for already in first + second) == len(runs)
    assert ucondb.execute("select count(*) from {folder}_versions") == [(40,)]


def test_a_forked_worker_uses_a_connection_of_its_own(ucondb: Folder) -> None:
    code = (
        "import os, sys; from types import SimpleNamespace; from pydantic import SecretStr\n"
        "from rra_state.stores.ucondb.client import UconDB\n"
        "store = UconDB(SimpleNamespace(server_url=sys.argv[1], folder_name=sys.argv[2], object_name='o', "
        "timeout_seconds=9, writer_user='archiver', writer_password=SecretStr(sys.stdin.read()), "
        "verify_tls=True, ca_bundle=None, database_uri=None))\n"
        "mine = store._http._session(); store.put(1, b'1')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    store.put(2, b'2'); os._exit(store._http._session() is mine)\n"
        "sys.exit(os.waitpid(child, 0)[1] != 0 or len(store.runs()) != 2)\n"
    )

    done = subprocess.run(
        [sys.executable, "-c", code, ucondb.url, ucondb.folder],
        input=ucondb.password,
        text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"PYTHONUTF8": "1"},
        check=False,
    )

    assert done.returncode == 0
