"""Listing and verification straight from UconDB's tables: what it finds and never does, how its faults are told."""

from __future__ import annotations

import traceback

import psycopg
import pytest
from pydantic import SecretStr

from rra_state.base.errors import AccessDenied, ArchiverError, ConfigError, StoreUnavailable, VerificationError
from rra_state.stores.ucondb.client import UconDB
from rra_state.stores.ucondb.sql import Tables
from scripts.ucondb_dev.storage import Storage
from tests.servers import Folder, database, running
from tests.waiting import scaled

BLOB = b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n" + b"a: 1\n" * 4000
READER = "rra_reader"


@pytest.fixture
def direct(ucondb: Folder) -> UconDB:
    return UconDB(ucondb.settings(database_uri=SecretStr(ucondb.server.pg())))


def test_the_listing_by_sql_equals_the_servers(ucondb: Folder, direct: UconDB) -> None:
    store = UconDB(ucondb.settings())
    first = store.put(7, BLOB).version
    store.put(7, b"new", override_of=first)  # the old version's key is now null
    store.put(8, BLOB)
    for key, column in (("9", "deleted"), ("10", "tv"), ("latest", "id"), (None, "id")):
        ucondb.execute(
            "insert into {folder}_versions (key, object, tv, deleted, data_size, data_key, adler32) "
            "values (%s, 'configuration', %s, %s, 1, '1', 1)",
            key,
            4e9 if column == "tv" else 0,
            column == "deleted",
        )
    direct.runs()  # compares the server's folder with the one of the tables, once
    expected, before = store.versions(), ucondb.stats()

    found = direct.versions()

    assert found == expected
    assert set(found) == {7, 8}
    assert ucondb.stats() == before


def test_an_object_without_a_version_is_an_empty_listing(direct: UconDB) -> None:
    assert direct.runs() == set()
    assert direct.read(7) is None


def test_a_blob_read_by_sql_equals_the_servers(ucondb: Folder, direct: UconDB) -> None:
    store = UconDB(ucondb.settings())
    store.put(7, BLOB)
    before = ucondb.stats()

    assert direct.read(7) == store.get(7)
    assert ucondb.stats()["gets"] == before["gets"] + 1


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        ("update {folder}_data set data = overlay(data placing '\\x00'::bytea from 100)", "came back damaged"),
        ("update {folder}_data set data = substr(data, 1, 100)", "gives 100 bytes, too few"),
        ("delete from {folder}_data", "cannot give its content"),
        ("update {folder}_versions set data_key = 'x'", "cannot give its content"),
    ],
)
def test_damage_in_the_tables_is_that_runs_fault(ucondb: Folder, direct: UconDB, damage: str, words: str) -> None:
    UconDB(ucondb.settings()).put(7, BLOB)
    ucondb.execute(damage)

    with pytest.raises(VerificationError, match=f"run 7: .*{words}") as caught:
        direct.read(7)

    assert not caught.value.stops_cycle


def test_case_d3_contents_of_another_database_are_read_by_rest(postgres: str) -> None:
    with database(postgres) as other, running(pg_uri=postgres, data_uri=other) as folder:
        UconDB(folder.settings()).put(7, BLOB)
        direct = UconDB(folder.settings(database_uri=SecretStr(postgres)))

        assert direct.runs() == {7}
        assert direct.read(7) == direct.read(7) == direct.get(7)
        assert direct.check().endswith("1 keys by SQL")


@pytest.mark.parametrize(("there", "here"), [(True, False), (False, True), (True, True)])
def test_case_d2_a_copy_of_the_database_is_refused(postgres: str, ucondb: Folder, *, there: bool, here: bool) -> None:
    """A folder of the same name in another database: a copy that was restored, or a test's."""
    with database(postgres) as other:
        copy = Storage(other)
        copy.create_folder(ucondb.folder)
        if there:
            copy.put(ucondb.folder, "configuration", "6", ["6"], b"other", override=False)
        if here:
            UconDB(ucondb.settings()).put(7, BLOB)
        direct = UconDB(ucondb.settings(database_uri=SecretStr(other)))

        with pytest.raises(AccessDenied, match=r"is not the one that ucon_db\.database_uri reads"):
            direct.runs()
        copy.close()


def test_check_counts_the_keys_of_the_tables(ucondb: Folder, direct: UconDB) -> None:
    UconDB(ucondb.settings()).put(7, BLOB)

    assert direct.check() == f"UconDB at {ucondb.url}: version 3.9.7, folder {ucondb.folder}, 1 keys by SQL"


def test_postgresql_itself_holds_the_session_to_reading(ucondb: Folder) -> None:
    tables = Tables(ucondb.server.pg(), ucondb.folder, "configuration", 10)
    tables.listing()

    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction), tables._connection.transaction():
        tables._connection.execute(f"delete from {ucondb.folder}_versions")


def test_case_d4_no_statement_is_prepared(ucondb: Folder) -> None:
    """A transaction pooler (PgBouncer) gives the next transaction another session, without our statements."""
    tables = Tables(ucondb.server.pg(), ucondb.folder, "configuration", 10)
    for _ in range(9):
        tables.listing()

    [(prepared,)] = tables._connection.execute("select count(*) from pg_prepared_statements").fetchall()

    assert prepared == 0


def test_a_role_that_may_only_select_is_enough(ucondb: Folder) -> None:
    UconDB(ucondb.settings()).put(7, BLOB)
    ucondb.execute(f"do $$ begin create role {READER} login; exception when duplicate_object then null; end $$")
    ucondb.execute(f"grant select on {{folder}}_versions, {{folder}}_data to {READER}")

    store = UconDB(ucondb.settings(database_uri=SecretStr(ucondb.server.pg().replace("postgres@", f"{READER}@"))))

    assert store.runs() == {7}
    assert store.read(7)[0] == BLOB


def test_a_role_without_select_gets_a_hint(ucondb: Folder) -> None:
    ucondb.execute(f"do $$ begin create role {READER} login; exception when duplicate_object then null; end $$")
    store = UconDB(ucondb.settings(database_uri=SecretStr(ucondb.server.pg().replace("postgres@", f"{READER}@"))))

    with pytest.raises(AccessDenied, match=r"permission denied .*grant its role SELECT"):
        store.runs()


def test_a_folder_without_tables_is_reported(ucondb: Folder) -> None:
    uri = SecretStr(ucondb.server.pg())

    with pytest.raises(AccessDenied, match=r"no_such_folder_versions.*ucon_db\.folder_name"):
        UconDB(ucondb.settings(database_uri=uri, folder_name="no_such_folder")).runs()


@pytest.mark.parametrize("folder", ['x"; drop table y; --', "a b", "a.b.c", "", "é"])
def test_a_folder_name_that_is_no_table_is_refused(ucondb: Folder, folder: str) -> None:
    with pytest.raises(ConfigError, match=r"ucon_db\.folder_name"):
        UconDB(ucondb.settings(database_uri=SecretStr(ucondb.server.pg()), folder_name=folder))


def test_an_object_name_with_quotes_is_only_a_value(ucondb: Folder) -> None:
    assert Tables(ucondb.server.pg(), ucondb.folder, "o'; drop table x; --", 10).listing() == []


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://reader:hush-4711@127.0.0.1:1/x",
        "postgresql://reader:hush-4711@no-such-host.invalid/x?connect_timeout=2",
        "postgresql://reader:hush-4711@127.0.0.1:1/x?nonsense=1",
        "mysql://reader:hush-4711@127.0.0.1/x",
        "postgresql://reader:hush@4711@127.0.0.1/x",
        "postgresql://reader:4711/hush@127.0.0.1/x",
        "postgresql://reader:hush%zz@127.0.0.1/x",
    ],
)
def test_no_message_shows_the_password_of_the_database(ucondb: Folder, uri: str) -> None:
    with pytest.raises(ArchiverError) as caught:
        UconDB(ucondb.settings(database_uri=SecretStr(uri))).runs()

    assert "hush" not in "".join(traceback.format_exception(caught.value))
    assert "hush" not in repr(ucondb.settings(database_uri=SecretStr(uri)))
    assert "ucon_db.database_uri" in str(caught.value)


def test_a_broken_connection_is_opened_again(ucondb: Folder, direct: UconDB) -> None:
    direct.runs()
    ucondb.execute("select pg_terminate_backend(%s)", direct._tables._connection.info.backend_pid)

    with pytest.raises(StoreUnavailable):
        direct.runs()

    assert direct.runs() == set()


def test_a_slow_database_is_given_up_after_the_configured_time(ucondb: Folder) -> None:
    store = UconDB(ucondb.settings(database_uri=SecretStr(ucondb.server.pg()), timeout_seconds=scaled(0.1)))

    with psycopg.connect(ucondb.server.pg()) as other:
        other.execute(f"lock table {ucondb.folder}_versions in access exclusive mode")
        with pytest.raises(StoreUnavailable, match="statement timeout"):
            store.runs()
