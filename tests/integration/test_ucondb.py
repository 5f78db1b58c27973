"""The client against the development server: a real PostgreSQL, real sockets, and what goes wrong between them."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from pydantic import SecretStr

from rra_state.errors import AccessDenied, ArchiverError, Conflict, StoreUnavailable, VerificationError
from rra_state.stores.ucondb import UconDB
from tests.servers import DevServer, Folder, Line, temporary_directory

BLOB = b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n" + b"a: 1\n" * 4000


def settings(ucondb: Folder, **changes: object) -> SimpleNamespace:
    values = {
        "server_url": ucondb.url,
        "folder_name": ucondb.folder,
        "object_name": "configuration",
        "timeout_seconds": 10.0,
        "writer_user": ucondb.user,
        "writer_password": SecretStr(ucondb.password),
        "verify_tls": True,
        "ca_bundle": None,
    }
    return SimpleNamespace(**(values | changes))


@pytest.fixture
def store(ucondb: Folder) -> UconDB:
    return UconDB(settings(ucondb))


# ---- the good days ---------------------------------------------------------------------------------------------------


def test_an_empty_folder_is_ready_for_its_first_cycle(ucondb: Folder, store: UconDB) -> None:
    assert store.runs() == set()
    assert store.lookup([1, 2, 3]) == {}
    assert store.get(1) is None

    stored = store.put(1, BLOB)

    assert not stored.already
    assert store.runs() == {1}


def test_what_was_put_is_read_back_with_its_description(ucondb: Folder, store: UconDB) -> None:
    stored = store.put(7, BLOB)

    content, version = store.get(7)
    assert content == stored.content == BLOB
    assert version == stored.version == store.versions()[7] == store.lookup([7])[7]
    assert (version.run, version.size, version.adler32) == (7, len(BLOB), zlib.adler32(BLOB))
    assert abs(version.tr - time.time()) < 60


def test_key_and_tag_are_the_run_number(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    assert ucondb.execute(
        "select key, object, tag_name from {folder}_versions join {folder}_tags on version_id = id"
    ) == [("7", "configuration", "7")]


def test_a_first_put_costs_one_upload(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    assert ucondb.stats() == {"puts": 1, "gets": 1, "other": 0}


@pytest.mark.parametrize(
    "blob", [b"", b"\x00\xff\r\n\r" * 50, "é µ 中".encode(), bytes(range(256)), b"x", os.urandom(3_000_000)], ids=len
)
def test_bytes_are_kept_exactly(store: UconDB, blob: bytes) -> None:
    store.put(7, blob)

    assert store.get(7)[0] == blob


def test_the_same_blob_again_is_there_already_and_changes_nothing(ucondb: Folder, store: UconDB) -> None:
    first = store.put(7, BLOB)

    again = store.put(7, BLOB)

    assert again.already
    assert again.version == first.version
    assert ucondb.execute("select count(*) from {folder}_versions") == [(1,)]


def test_other_content_is_a_conflict_and_changes_nothing(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    with pytest.raises(Conflict, match=r"run 7: UconDB at .*other content") as caught:
        store.put(7, b"other")

    assert f"{len(BLOB)} bytes" in str(caught.value)
    assert "5 bytes" in str(caught.value)
    assert "--recover-migrate-state" in str(caught.value)
    assert not caught.value.stops_cycle
    assert store.get(7)[0] == BLOB
    assert ucondb.execute("select count(*) from {folder}_versions") == [(1,)]


def test_content_that_differs_only_as_far_as_allowed_is_there_already(ucondb: Folder) -> None:
    store = UconDB(settings(ucondb), same=lambda old, new: old.replace(b"Oct 17", b"Oct 18") == new)
    store.put(7, BLOB)

    again = store.put(7, BLOB.replace(b"Oct 17", b"Oct 18"))

    assert again.already
    assert again.content == BLOB


def test_keys_that_are_no_runs_are_left_out_of_the_listing(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)
    for key in (None, None, "", "007", "latest", "1e3", "٣"):
        ucondb.execute(
            "insert into {folder}_versions (key, object, tv, data_size, data_key, adler32) "
            "values (%s, 'configuration', 0, 1, '1', 1)",
            key,
        )

    assert store.runs() == {7}


def test_another_object_of_the_folder_is_another_store(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    assert UconDB(settings(ucondb, object_name="other")).runs() == set()


def test_more_keys_than_one_lookup_holds_are_all_looked_up(ucondb: Folder, store: UconDB) -> None:
    store.put(1, BLOB)
    ucondb.execute(
        "insert into {folder}_versions (key, object, tv, data_size, data_key, adler32) "
        "select n::text, 'configuration', 0, 1, '1', 1 from generate_series(2, 1200) n"
    )

    assert set(store.lookup(range(1, 3000))) == set(range(1, 1201))
    assert store.runs() == set(range(1, 1201))


def test_looking_up_nothing_asks_nothing(ucondb: Folder, store: UconDB) -> None:
    assert store.lookup([]) == {}

    assert ucondb.stats() == {"puts": 0, "gets": 0, "other": 0}


def test_check_tells_version_and_folder_and_writes_nothing(ucondb: Folder, store: UconDB) -> None:
    assert store.check() == f"UconDB at {ucondb.url}: version 3.9.7, folder {ucondb.folder}"

    assert ucondb.stats()["puts"] == 0


# ---- replacing, on condition -----------------------------------------------------------------------------------------


def test_a_version_is_replaced_while_it_is_the_current_one(ucondb: Folder, store: UconDB) -> None:
    old = store.put(7, BLOB).version

    new = store.put(7, b"new", override_of=old)

    assert not new.already
    assert store.get(7) == (b"new", new.version)
    assert store.runs() == {7}
    assert ucondb.execute("select key from {folder}_versions order by id") == [(None,), ("7",)]


def test_a_version_that_is_no_longer_current_is_not_replaced(ucondb: Folder, store: UconDB) -> None:
    old = store.put(7, BLOB).version
    current = store.put(7, b"second", override_of=old).version

    with pytest.raises(Conflict):
        store.put(7, b"third", override_of=old)

    assert store.get(7) == (b"second", current)


def test_a_version_that_is_gone_is_not_replaced(ucondb: Folder, store: UconDB) -> None:
    old = store.put(7, BLOB).version
    ucondb.execute("update {folder}_versions set key = null")

    with pytest.raises(Conflict, match="gone"):
        store.put(7, b"new", override_of=old)


def test_a_replacement_that_was_made_already_is_found_done(store: UconDB) -> None:
    old = store.put(7, BLOB).version
    new = store.put(7, b"new", override_of=old)

    again = store.put(7, b"new", override_of=old)

    assert again.already
    assert again.version == new.version


# ---- answers that get lost -------------------------------------------------------------------------------------------


def lose_the_first_put(left: int = 0) -> object:
    """Spoils the answer of the first upload only: the server has stored, nobody hears of it."""
    spoilt: list[bytes] = []

    def spoil(asked: bytes, answer: bytes) -> bytes:
        if asked.startswith(b"POST /ucondb/data") and not spoilt:
            spoilt.append(asked)
            return answer[:left]
        return answer

    return spoil


@pytest.mark.parametrize("left", [0, 40, -30], ids=["nothing", "half a header", "half the metadata"])
def test_a_lost_answer_after_commit_is_found_done(ucondb: Folder, left: int) -> None:
    with Line(ucondb.url, lose_the_first_put(left)) as line:
        stored = UconDB(settings(ucondb, server_url=line.url)).put(7, BLOB)

    assert stored.already
    assert stored.content == BLOB
    assert ucondb.execute("select count(*) from {folder}_versions") == [(1,)]


def test_a_lost_answer_to_a_replacement_is_found_done(ucondb: Folder, store: UconDB) -> None:
    old = store.put(7, BLOB).version

    with Line(ucondb.url, lose_the_first_put()) as line:
        stored = UconDB(settings(ucondb, server_url=line.url)).put(7, b"new", override_of=old)

    assert stored.content == b"new"
    assert stored.version.id != old.id
    assert ucondb.execute("select count(*) from {folder}_versions") == [(2,)]


def test_a_put_that_never_arrived_may_be_tried_again(ucondb: Folder, store: UconDB) -> None:
    def refuse(asked: bytes, answer: bytes) -> bytes:
        return b"HTTP/1.1 503 Service unavailable\n\n" if asked.startswith(b"POST") else answer

    wrong = settings(ucondb, writer_password=SecretStr("wrong"))  # so that the server behind stores nothing
    with Line(ucondb.url, refuse) as line:
        wrong.server_url = line.url
        with pytest.raises(StoreUnavailable) as caught:
            UconDB(wrong).put(7, BLOB)

    assert caught.value.transient
    assert not store.put(7, BLOB).already


def test_an_answer_nobody_waited_for_is_found_by_the_next_put(ucondb: Folder, store: UconDB) -> None:
    def slow(asked: bytes, answer: bytes) -> bytes:
        time.sleep(1)
        return answer

    with Line(ucondb.url, slow) as line, pytest.raises(StoreUnavailable, match="no answer"):
        UconDB(settings(ucondb, server_url=line.url, timeout_seconds=0.3)).put(7, BLOB)

    assert store.put(7, BLOB).already


def test_a_blob_that_was_cut_on_its_way_is_never_taken_for_whole(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    with Line(ucondb.url, lambda _, answer: answer[:-1000]) as line, pytest.raises(StoreUnavailable, match="cut off"):
        UconDB(settings(ucondb, server_url=line.url)).get(7)


def test_a_put_is_not_done_before_it_was_read_back(ucondb: Folder, store: UconDB) -> None:
    def damage(asked: bytes, answer: bytes) -> bytes:
        return answer.replace(b"a: 1", b"a: 2", 1) if asked.startswith(b"GET") else answer

    with Line(ucondb.url, damage) as line, pytest.raises(VerificationError, match="run 7"):
        UconDB(settings(ucondb, server_url=line.url)).put(7, BLOB)

    assert store.put(7, BLOB).already


def test_damage_in_the_database_is_that_runs_fault(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)
    store.put(8, b"sound")
    ucondb.execute("update {folder}_data set data = overlay(data placing '\\x00'::bytea from 100) where size > 100")

    with pytest.raises(VerificationError, match=r"run 7: .*damaged"):
        store.put(7, BLOB)

    assert store.get(8)[0] == b"sound"


def break_the_tags_of_run_5(ucondb: Folder) -> None:
    """Let the database fail at one row of 3000, when most of the others are on their way."""
    ucondb.execute(
        "insert into {folder}_versions (key, object, tv, tr, data_size, data_key, adler32) "
        "select n::text, 'configuration', 0, now() - interval '1 h' + n * interval '1 s', 1, '1', 1 "
        "from generate_series(1, 3000) n"
    )
    ucondb.execute("alter table {folder}_tags rename to {folder}_true_tags")
    ucondb.execute(  # random: a volatile column is worked out row by row, after the sorting
        "create view {folder}_tags as select id as version_id, "
        "(1 / (case key when '5' then 0 else 1 + (random() * 0)::int end))::text as tag_name from {folder}_versions"
    )


def test_a_listing_the_database_did_not_finish_is_no_listing(ucondb: Folder, store: UconDB) -> None:
    break_the_tags_of_run_5(ucondb)

    answer = requests.get(f"{ucondb.url}/versions?folder={ucondb.folder}&object=configuration", timeout=10)
    with pytest.raises(StoreUnavailable, match="listing came back cut off"):
        store.runs()

    assert answer.status_code == 200
    assert answer.text.count('"key"') > 1000


def test_a_lookup_that_was_cut_short_doubles_nothing(ucondb: Folder, store: UconDB) -> None:
    break_the_tags_of_run_5(ucondb)

    found = store.lookup([5, *range(1000, 3000)])

    assert 2999 in found
    assert 5 not in found  # the answer ended early, cleanly, and nobody can tell
    with pytest.raises(ArchiverError):
        store.put(5, BLOB)
    assert ucondb.execute("select count(*) from {folder}_versions") == [(3000,)]


# ---- places that are not as they should be ---------------------------------------------------------------------------


def test_a_wrong_password_is_told_with_its_remedy_and_never_shown(ucondb: Folder) -> None:
    store = UconDB(settings(ucondb, writer_password=SecretStr("unguessable")))

    with pytest.raises(AccessDenied) as caught:
        store.put(7, BLOB)

    assert str(caught.value) == (
        f"UconDB at {ucondb.url}: wrong user or password for folder {ucondb.folder} (401). "
        "Set UCONDB_PASSWORD or ucon_db.writer_password."
    )
    assert ucondb.stats() == {"puts": 1, "gets": 0, "other": 0}


def test_an_unknown_user_is_refused(ucondb: Folder) -> None:
    with pytest.raises(AccessDenied):
        UconDB(settings(ucondb, writer_user="nobody")).put(7, BLOB)


@pytest.mark.parametrize("ask", ["check", "runs", "lookup", "get", "put"])
def test_an_unknown_folder_is_told_whatever_is_asked(ucondb: Folder, ask: str) -> None:
    store = UconDB(settings(ucondb, folder_name="no_such_folder"))
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
    store = UconDB(settings(own_server))
    store.put(1, BLOB)
    postmaster = int((own_server.server.directory / "postgres" / "postmaster.pid").read_text().split()[0])

    os.kill(postmaster, signal.SIGKILL)
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


def test_a_server_that_went_away_is_unavailable_until_it_is_back(ucondb: Folder, store: UconDB) -> None:
    store.put(1, BLOB)
    ucondb.stop()

    for ask in (store.check, store.runs, lambda: store.lookup([1]), lambda: store.get(1), lambda: store.put(2, BLOB)):
        with pytest.raises(StoreUnavailable, match="connection refused"):
            ask()
    ucondb.start()

    assert not store.put(2, BLOB).already


def test_a_server_killed_among_puts_leaves_each_run_whole_or_absent(ucondb: Folder, store: UconDB) -> None:
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
    runs, values = list(range(1, 61)), vars(settings(ucondb))

    with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as processes:
        first, second = processes.map(put_all, [values, values], [runs, runs[::-1]])

    assert sum(not already for already in first + second) == len(runs)
    assert store.runs() == set(runs)
    assert ucondb.execute("select count(*) from {folder}_versions") == [(60,)]


def test_two_servers_on_one_database_store_every_run_once(ucondb: Folder, store: UconDB) -> None:
    runs, values = list(range(1, 41)), vars(settings(ucondb))
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
        "from rra_state.stores.ucondb import UconDB\n"
        "store = UconDB(SimpleNamespace(server_url=sys.argv[1], folder_name=sys.argv[2], object_name='o', "
        "timeout_seconds=9, writer_user='archiver', writer_password=SecretStr(sys.stdin.read()), "
        "verify_tls=True, ca_bundle=None))\n"
        "mine = store._http._mine(); store.put(1, b'1')\n"
        "child = os.fork()\n"
        "if child == 0:\n"
        "    store.put(2, b'2'); os._exit(store._http._mine() is mine)\n"
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
