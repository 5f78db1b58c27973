"""The connection to artdaqDB's PostgreSQL: opened, opened again after a restart; its tables; its errors.

Only `_mapped_errors` maps errors of the driver to StoreError. A process works on one chunk at a time, so it needs one
connection and no pool; the errors of a pool would also hide why no connection can be opened.
"""

from __future__ import annotations

import os
import re
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from importlib import resources
from typing import Any, TypeAlias, TypeVar

import psycopg
import tenacity
from psycopg.conninfo import conninfo_to_dict

from rra_state.base import files, host_limits
from rra_state.base.errors import AccessDenied, StoreError, StoreUnavailable
from rra_state.stores import postgres_uri

CONNECT_SECONDS = 10
STATEMENT_SECONDS = 60
RECONNECT_SECONDS = 30
"""Seconds to try to open a lost connection again, so that a cycle survives a restart of the server."""
ANSWER_SECONDS = 300
"""Seconds that an action may take in all. The server's own limits do not apply if the server itself hangs."""

_SESSION = f"""
    SET statement_timeout = '{STATEMENT_SECONDS}s';
    SET lock_timeout = '{STATEMENT_SECONDS // 2}s';
    SET idle_in_transaction_session_timeout = '{STATEMENT_SECONDS}s';
    SET synchronous_commit = 'on';
    SET client_encoding = 'UTF8';
    SET timezone = 'UTC'
"""
_NETWORK = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 30_000}
_REFUSED = (
    "authentication failed", "no pg_hba.conf entry", "does not exist", "no password supplied", "permission denied"
)  # fmt: skip
_LATER = {"57P01", "57P02", "57P03", "53300", "53400", "57014", "55P03", "40001", "40P01"}
"""SQLSTATEs of temporary errors: shutdown, startup, too many connections, time limits, locks."""
_HINTS = {
    "53100": "free space on the server's disk; nothing half stored is visible",
    "53200": "the server is out of memory",
    "25006": "the server takes no writes: is it a standby, or set to read only?",
    "3F000": "its tables are gone; restore the database, or recover the state to store all again",
    "42P01": "its tables are not the ones this version makes",
    "42703": "its tables are not the ones this version makes",
}

OF_CONTENT = (psycopg.DataError, psycopg.errors.ProgramLimitExceeded, psycopg.errors.StatementTooComplex)
"""Errors of one run's content: the server refuses it, but may take other runs."""

T = TypeVar("T")
Connection: TypeAlias = "psycopg.Connection[tuple[Any, ...]]"


@cache
def queries() -> Mapping[str, str]:
    """The statements of sql/queries.sql by name; `-- after: NAME` is replaced by the text of that statement."""
    text = resources.files(__package__).joinpath("sql/queries.sql").read_text(encoding="utf-8")
    parts = re.split(r"^-- name: (\w+)\n", text, flags=re.MULTILINE)[1:]
    bodies = dict(zip(parts[::2], (body.strip() for body in parts[1::2]), strict=True))
    return {name: re.sub(r"-- after: (\w+)", lambda match: bodies[match[1]], body) for name, body in bodies.items()}


class PostgresSession:
    """A connection that is opened on first use, and again after it was lost. One per process; not for threads."""

    def __init__(self, uri: str) -> None:
        """uri: in libpq's format. Raises ConfigError, without the URI in the message: it may hold a password."""
        parts = postgres_uri.parts(uri, "artdaq_db.database_uri")
        self._uri = uri
        self._connection: Connection | None = None
        host, port = parts.get("host") or "localhost", parts.get("port")
        where = f"{host}:{port}" if port else str(host)
        self.name = f"PostgreSQL at {where}, database {parts.get('dbname') or 'of the user'}"

    def do(self, action: Callable[[Connection], T]) -> T:
        """Call `action` with the connection, and again if the connection was lost during the call. Raises StoreError.

        So `action` must have the same effect when it runs twice.
        """
        policy = tenacity.Retrying(
            stop=tenacity.stop_after_delay(RECONNECT_SECONDS),
            wait=tenacity.wait_exponential(0.1, max=2),
            retry=tenacity.retry_if_exception(self._worth_another),
            sleep=time.sleep,
            reraise=True,
        )
        self._was_open = self._connection is not None
        result: T = policy(self._once, action)
        return result

    def _worth_another(self, error: BaseException) -> bool:
        """Whether to try again: only after a connection that had been open was lost."""
        return isinstance(error, StoreUnavailable) and self._was_open and self._connection is None

    def _once(self, action: Callable[[Connection], T]) -> T:
        with self._mapped_errors():
            if self._connection is None:
                self._connection = self._connect()
            self._was_open = True
            try:
                files.announce("query")
                with _time_limit(self._connection):
                    result = action(self._connection)
                files.announce("queried")
                return result
            except psycopg.Error:
                with suppress(psycopg.Error):  # the connection may be lost
                    self._connection.rollback()
                raise

    def _connect(self) -> Connection:
        settings: dict[str, Any] = {"connect_timeout": CONNECT_SECONDS, "application_name": "run-record-archiver"}
        given = conninfo_to_dict(self._uri)
        settings = {name: value for name, value in (settings | _NETWORK).items() if name not in given}
        # A transaction pooler gives each transaction another session, without the statements prepared before.
        connection = psycopg.connect(self._uri, autocommit=True, prepare_threshold=None, **settings)
        weakref.finalize(self, connection.close)
        with _time_limit(connection):
            connection.execute(_SESSION)
        return connection

    @contextmanager
    def _mapped_errors(self) -> Iterator[None]:
        """Map errors of the driver to StoreError, with server and remedy but never the password."""
        try:
            yield
        except (*OF_CONTENT, psycopg.IntegrityError):
            raise
        except psycopg.Error as error:
            # psycopg.Error itself is raised for an answer that is not of PostgreSQL's protocol.
            if self._connection is not None and (self._connection.closed or self._connection.broken):
                self._connection.close()
                self._connection = None
            raise self._store_error(error) from error

    def _store_error(self, error: psycopg.Error) -> StoreError:
        reason = postgres_uri.reason(error)
        state, message = error.sqlstate or "", f"{self.name}: {reason}"
        if state == "42501":
            return AccessDenied(message, hint="grant the archiver's role what docs/stores.md says")
        if state.startswith("28") or (not state and any(words in reason for words in _REFUSED)):
            return AccessDenied(message, hint="check user, password (~/.pgpass) and database")
        if state in _LATER or not state or state.startswith("08"):
            return StoreUnavailable(message, hint=host_limits.remedy(message) or "is the server running and reachable?")
        return StoreError(message, hint=_HINTS.get(state))


@contextmanager
def _time_limit(connection: Connection) -> Iterator[None]:
    """Shut the socket down after ANSWER_SECONDS: the driver then raises as for a lost connection."""
    with socket.socket(fileno=os.dup(connection.fileno())) as line:
        limit = threading.Timer(ANSWER_SECONDS, _cut, [line])
        limit.daemon = True
        limit.start()
        try:
            yield
        finally:
            limit.cancel()
            limit.join()


def _cut(line: socket.socket) -> None:
    with suppress(OSError):
        line.shutdown(socket.SHUT_RDWR)


def migrate(connection: Connection) -> None:
    """Apply the files sql/NNN_*.sql that were not applied yet, in order, in one transaction."""
    named = queries()
    found = connection.execute(named["has_history"]).fetchone()
    if found == (True,) and {number for number, _ in _steps()} <= _applied(connection):
        return
    with connection.transaction():
        connection.execute(named["lock_schema"])
        if connection.execute(named["has_schema"]).fetchone() != (True,):
            connection.execute(named["make_schema"])
        connection.execute(named["make_history"])
        applied = _applied(connection)
        for number, text in _steps():
            if number not in applied:
                connection.execute(text)
                connection.execute(named["note_applied"], {"number": number})


def _applied(connection: Connection) -> set[int]:
    return {number for (number,) in connection.execute(queries()["applied"])}


@cache
def _steps() -> tuple[tuple[int, str], ...]:
    """Number and text of the files sql/NNN_*.sql, in order."""
    texts = resources.files(__package__).joinpath("sql").iterdir()
    steps = [(each.name.partition("_")[0], each) for each in texts]
    return tuple(sorted((int(number), each.read_text(encoding="utf-8")) for number, each in steps if number.isdigit()))
