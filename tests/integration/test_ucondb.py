"""The client against the development server: a real PostgreSQL, real sockets, and what goes wrong between them."""

from __future__ import annotations

import os
import threading
import time
import zlib

import pytest
import requests
from pydantic import SecretStr

from rra_state.base.errors import ArchiverError, Conflict, NotListed, StoreUnavailable, VerificationError
from rra_state.records import blob
from rra_state.stores.ucondb.client import UconDB
from tests.servers import Folder, Line
from tests.waiting import scaled

BLOB = b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n" + b"a: 1\n" * 4000


@pytest.fixture
def store(ucondb: Folder) -> UconDB:
    return UconDB(ucondb.settings())


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

    assert ucondb.stats() == {"puts": 1, "gets": 1, "other": 1}  # without a blob, for the challenge


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

    assert f"{len(BLOB)} bytes, adler32 {zlib.adler32(BLOB)}," in str(caught.value)
    assert f"5 bytes, adler32 {zlib.adler32(b'other')})" in str(caught.value)
    assert "--show" in str(caught.value)
    assert not caught.value.stops_cycle
    assert store.get(7)[0] == BLOB
    assert ucondb.execute("select count(*) from {folder}_versions") == [(1,)]


def test_content_that_differs_only_in_packed_on_is_stored_already(store: UconDB) -> None:
    first = blob.pack(7, {"a.fcl": b"a: 1\n"})
    store.put(7, first)

    again = store.put(7, first.replace(b"Packed on Jan 01", b"Packed on Oct 18"))

    assert again.already
    assert again.content == first


def test_keys_that_are_not_runs_are_not_listed(ucondb: Folder, store: UconDB) -> None:
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

    assert UconDB(ucondb.settings(object_name="other")).runs() == set()


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


def test_check_returns_version_and_folder_and_writes_nothing(ucondb: Folder, store: UconDB) -> None:
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
        if asked.startswith(b"POST /ucondb/data") and b"key=" in asked and not spoilt:
            spoilt.append(asked)
            return answer[:left]
        return answer

    return spoil


@pytest.mark.parametrize("left", [0, 40, -30], ids=["nothing", "half a header", "half the metadata"])
def test_a_lost_answer_after_commit_is_found_done(ucondb: Folder, left: int) -> None:
    with Line(ucondb.url, lose_the_first_put(left)) as line:
        stored = UconDB(ucondb.settings(server_url=line.url)).put(7, BLOB)

    assert stored.already
    assert stored.content == BLOB
    assert ucondb.execute("select count(*) from {folder}_versions") == [(1,)]


def test_a_lost_answer_to_a_replacement_is_found_done(ucondb: Folder, store: UconDB) -> None:
    old = store.put(7, BLOB).version

    with Line(ucondb.url, lose_the_first_put()) as line:
        stored = UconDB(ucondb.settings(server_url=line.url)).put(7, b"new", override_of=old)

    assert stored.content == b"new"
    assert stored.version.id != old.id
    assert ucondb.execute("select count(*) from {folder}_versions") == [(2,)]


def test_a_put_that_never_arrived_may_be_tried_again(ucondb: Folder, store: UconDB) -> None:
    def refuse(asked: bytes, answer: bytes) -> bytes:
        return b"HTTP/1.1 503 Service unavailable\n\n" if asked.startswith(b"POST") else answer

    wrong = ucondb.settings(writer_password=SecretStr("wrong"))  # so that the server behind stores nothing
    with Line(ucondb.url, refuse) as line:
        wrong.server_url = line.url
        with pytest.raises(StoreUnavailable) as caught:
            UconDB(wrong).put(7, BLOB)

    assert caught.value.transient
    assert not store.put(7, BLOB).already


def test_case_d10_a_key_whose_only_row_is_deleted_fails_alone(ucondb: Folder, store: UconDB) -> None:
    """The object is then not found, and still a put of the key is refused."""
    store.put(7, BLOB)
    ucondb.execute("update {folder}_versions set deleted = true")

    with pytest.raises(NotListed, match="run 7: UconDB: held but not listed") as caught:
        store.put(7, BLOB)

    assert not caught.value.stops_cycle
    assert not store.put(8, BLOB).already


def test_a_put_that_timed_out_is_found_by_the_next(ucondb: Folder, store: UconDB) -> None:
    given_up = threading.Event()

    def slow(asked: bytes, answer: bytes) -> bytes:
        if b"key=7" in asked:
            given_up.wait(scaled(10))
        return answer

    with Line(ucondb.url, slow) as line, pytest.raises(StoreUnavailable, match="no answer"):
        UconDB(ucondb.settings(server_url=line.url, timeout_seconds=scaled(0.1))).put(7, BLOB)
    given_up.set()

    assert store.put(7, BLOB).already


def test_a_blob_cut_in_transit_is_never_accepted(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    with Line(ucondb.url, lambda _, answer: answer[:-1000]) as line, pytest.raises(StoreUnavailable, match="cut off"):
        UconDB(ucondb.settings(server_url=line.url)).get(7)


def test_a_put_is_not_done_before_it_was_read_back(ucondb: Folder, store: UconDB) -> None:
    def damage(asked: bytes, answer: bytes) -> bytes:
        return answer.replace(b"a: 1", b"a: 2", 1) if asked.startswith(b"GET") else answer

    with Line(ucondb.url, damage) as line, pytest.raises(VerificationError, match="run 7"):
        UconDB(ucondb.settings(server_url=line.url)).put(7, BLOB)

    assert store.put(7, BLOB).already


def test_damage_in_the_database_is_that_runs_fault(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)
    store.put(8, b"sound")
    ucondb.execute("update {folder}_data set data = overlay(data placing '\\x00'::bytea from 100) where size > 100")

    with pytest.raises(VerificationError, match=r"run 7: .*damaged"):
        store.put(7, BLOB)

    assert store.get(8)[0] == b"sound"


@pytest.mark.parametrize(
    "damage",
    [
        "update {folder}_data set data = substr(data, 1, 100)",
        "update {folder}_data set data = ''",
        "delete from {folder}_data",
        "update {folder}_versions set data_key = 'x'",
    ],
    ids=["cut", "emptied", "deleted", "not to be found"],
)
def test_content_the_database_lost_is_that_runs_fault(ucondb: Folder, store: UconDB, damage: str) -> None:
    store.put(7, BLOB)
    ucondb.execute(damage)

    for ask in (lambda: store.put(7, BLOB), lambda: store.get(7)):
        with pytest.raises(VerificationError, match="lists this run but cannot give its content") as caught:
            ask()
        assert (caught.value.run, caught.value.transient, caught.value.stops_cycle) == (7, True, False)
        assert caught.value.hint

    assert not store.put(8, b"sound").already


def test_a_run_found_only_by_put_fails_alone(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)

    def deny(asked: bytes, answer: bytes) -> bytes:
        return b"HTTP/1.1 404 Not Found\r\n\r\nVersion not found" if asked.startswith(b"GET") else answer

    with Line(ucondb.url, deny) as line, pytest.raises(VerificationError, match=r"run 7: .*answers that there is none"):
        UconDB(ucondb.settings(server_url=line.url)).put(7, BLOB)


def test_a_blob_cut_once_is_an_error_of_the_connection(ucondb: Folder, store: UconDB) -> None:
    store.put(7, BLOB)
    cut: list[bytes] = []

    def cut_once(asked: bytes, answer: bytes) -> bytes:
        if asked.startswith(b"GET") and not cut:
            cut.append(asked)
            return answer[:-1000]
        return answer

    with Line(ucondb.url, cut_once) as line, pytest.raises(StoreUnavailable, match="cut off"):
        UconDB(ucondb.settings(server_url=line.url)).get(7)


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

    answer = requests.get(f"{ucondb.url}/versions?folder={ucondb.folder}&object=configuration", timeout=scaled(10))
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
