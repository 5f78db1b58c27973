"""The client against the same server behind another front end: gunicorn, with keep-alive and two processes."""

from __future__ import annotations

import dataclasses
import os
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from pydantic import SecretStr

from rra_state.base.errors import AccessDenied, ArchiverError, Conflict, StoreUnavailable
from rra_state.stores.ucondb.client import UconDB
from tests import front_end
from tests.servers import DevServer, Folder

BLOB = b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n" + b"a: 1\n" * 4000


@pytest.fixture(scope="module")
def behind_gunicorn(postgres: str) -> Iterator[str]:
    with front_end.gunicorn(postgres) as url:
        yield url


@pytest.fixture
def folder(behind_gunicorn: str, ucondb: Folder) -> Folder:
    """The test's folder, reached through gunicorn."""

    class Behind(DevServer):
        url = behind_gunicorn

    server = Behind(ucondb.server.directory, ucondb.server.pg_uri)
    return dataclasses.replace(ucondb, server=server)


@pytest.fixture
def store(folder: Folder) -> UconDB:
    return UconDB(folder.settings())


def test_this_front_end_keeps_connections_and_sends_blobs_in_chunks(folder: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    answer = requests.get(f"{folder.url}/data/{folder.folder}/configuration?key=7", timeout=10)

    assert answer.headers["Connection"] == "keep-alive"
    assert answer.headers["Transfer-Encoding"] == "chunked"
    assert "Content-Length" not in answer.headers


def test_every_request_of_the_client_works_there_too(folder: Folder, store: UconDB) -> None:
    assert store.runs() == set()
    assert store.get(7) is None

    first = store.put(7, BLOB)
    replaced = store.put(7, b"new", override_of=first.version)

    assert store.get(7) == (b"new", replaced.version)
    assert store.versions() == store.lookup([7]) == {7: replaced.version}
    assert store.put(7, b"new").already
    with pytest.raises(Conflict):
        store.put(7, BLOB)
    assert store.check().endswith(f"folder {folder.folder}")


@pytest.mark.parametrize("blob", [b"", b"\x00\xff\r\n" * 50, os.urandom(2_000_000)], ids=len)
def test_bytes_are_kept_exactly_there_too(store: UconDB, blob: bytes) -> None:
    store.put(7, blob)

    assert store.get(7)[0] == blob


def test_a_connection_the_server_gave_up_meanwhile_is_made_anew(store: UconDB) -> None:
    store.put(7, BLOB)

    time.sleep(front_end.KEEP_ALIVE_SECONDS + 0.5)

    assert not store.put(8, BLOB).already
    assert store.get(7)[0] == BLOB


def test_a_wrong_password_is_reported_through_the_front_end(folder: Folder) -> None:
    with pytest.raises(AccessDenied, match=r"wrong user or password .*\(401\)"):
        UconDB(folder.settings(writer_password=SecretStr("wrong"))).put(7, BLOB)


def test_an_unknown_folder_is_reported_through_the_front_end(folder: Folder) -> None:
    with pytest.raises(AccessDenied, match="has no folder nowhere"):
        UconDB(folder.settings(folder_name="nowhere")).runs()


def test_an_answer_cut_by_the_front_end_is_never_accepted(folder: Folder, store: UconDB) -> None:
    folder.execute(
        "insert into {folder}_versions (key, object, tv, data_size, data_key, adler32) "
        "select n::text, 'configuration', 0, 1, '1', 1 from generate_series(1, 3000) n"
    )
    folder.execute("alter table {folder}_tags rename to {folder}_true_tags")
    folder.execute(
        "create view {folder}_tags as select id as version_id, "
        "(1 / (case key when '5' then 0 else 1 + (random() * 0)::int end))::text as tag_name from {folder}_versions"
    )

    for ask in (store.runs, lambda: store.lookup(range(1, 3000))):
        with pytest.raises(StoreUnavailable):
            ask()


def test_two_processes_behind_one_address_store_every_run_once(folder: Folder, store: UconDB) -> None:
    runs = list(range(1, 41))
    start = threading.Barrier(8)

    def put_all(_: int) -> list[bool | ArchiverError]:
        start.wait()
        return [store.put(run, b"%d" % run * 500).already for run in runs]

    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(put_all, range(8)))

    assert sum(not already for each in outcomes for already in each) == len(runs)
    assert folder.execute("select count(*) from {folder}_versions") == [(len(runs),)]
