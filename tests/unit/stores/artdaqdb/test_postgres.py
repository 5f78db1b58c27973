"""What only a PostgreSQL can do to an archive: refuse content, stand still, be entered with an odd password."""

from __future__ import annotations

import os
import signal
import threading
import traceback
from collections.abc import Iterator

import pytest

from rra_state.base.errors import ConfigError, RecordError, StoreUnavailable
from rra_state.config.models import ArtdaqDBSection
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import postgres_session
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.artdaqdb.postgres import PostgresDB
from tests import servers
from tests.unit.stores.artdaqdb.artdaqdb_helpers import record, stage, store


@pytest.fixture
def uri(postgres: str) -> Iterator[str]:
    with servers.database(postgres) as address:
        yield address


@pytest.mark.parametrize(
    "uri",
    [
        "postgresql://archiver:s3%cret@127.0.0.1:1/db",
        "postgresql://archiver:s3 cret@127.0.0.1:1/db",
        "postgresql://archiver:s3@cret@127.0.0.1:1/db",
        "postgresql://archiver:s3/cret@127.0.0.1:1/db",
        "postgresql:archiver:s3cret@127.0.0.1",
    ],
    ids=["percent", "space", "at", "slash", "no slashes"],
)
def test_an_unescaped_password_is_refused_and_not_shown(uri: str) -> None:
    with pytest.raises(ConfigError, match="database_uri") as refused:
        artdaqdb.open_store(ArtdaqDBSection(database_uri=uri))

    assert "cret" not in "".join(traceback.format_exception(refused.value))


def test_case_d4_no_statement_is_prepared(uri: str) -> None:
    """A transaction pooler (PgBouncer) gives the next transaction another session, without our statements."""
    db = PostgresDB(uri)
    for run in range(1, 9):
        store(db, record(run))
        db.runs()

    [(prepared,)] = db._session.do(
        lambda connection: connection.execute("select count(*) from pg_prepared_statements").fetchall()
    )

    assert prepared == 0


def test_a_password_that_is_escaped_is_taken() -> None:
    db = PostgresDB("postgresql://archiver:s3%40c%2Fr%25t@127.0.0.1:1/db")

    assert db.describe() == "artdaqDB in PostgreSQL at 127.0.0.1:1, database db"


def test_a_run_that_the_server_refuses_fails_alone(uri: str) -> None:
    db = PostgresDB(uri)
    too_long_for_an_index = os.urandom(6000).hex()

    outcomes = db.stage([record(1), record(2, config=too_long_for_an_index), record(3)], {})

    assert isinstance(outcomes[1], RecordError)
    assert "run 2: PostgreSQL does not take its documents" in str(outcomes[1])
    db.publish([each for each in outcomes if isinstance(each, Staged)])
    assert PostgresDB(uri).runs() == {1, 3}


def test_what_another_archiver_staged_meanwhile_is_not_shown_as_ours(uri: str) -> None:
    db = PostgresDB(uri)
    ours = stage(db, record(1, {"a.fcl": b"x: 1\n"}))
    stage(PostgresDB(uri), record(1, {"a.fcl": b"x: 2\n"}))

    with pytest.raises(StoreUnavailable, match="another archiver stores run 1"):
        db.publish(ours)

    assert db.runs() == set()


def test_a_hanging_server_is_given_up(uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    db = PostgresDB(uri)
    store(db, record(1))
    monkeypatch.setattr(postgres_session, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(postgres_session, "RECONNECT_SECONDS", 0)
    session = _process(db)

    os.kill(session, signal.SIGSTOP)
    try:
        with pytest.raises(StoreUnavailable, match="is the server running"):
            db.runs()
    finally:
        os.kill(session, signal.SIGCONT)

    monkeypatch.undo()
    assert db.runs() == {1}


def test_the_time_limit_of_an_answer_leaves_no_thread_behind(uri: str) -> None:
    db = PostgresDB(uri)
    before = set(threading.enumerate())

    for _ in range(5):
        db.runs()

    assert set(threading.enumerate()) <= before  # one of another test may end meanwhile


def _process(db: PostgresDB) -> int:
    """The server's process that serves this archive's connection."""
    return db._session.do(lambda connection: connection.info.backend_pid)
