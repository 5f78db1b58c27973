"""Read UconDB's own tables by SQL: a listing of 50,000 runs takes 0.04 s, by the server 10 s. Loads psycopg.

Only reads, in read-only transactions. Writing this way would pass by the server's locks and checks.
Source: docs/design/ucondb.md, Tables.
"""

from __future__ import annotations

import os
import re
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

import psycopg
from psycopg import rows, sql

from rra_state.base.errors import AccessDenied, ConfigError, StoreError, StoreUnavailable
from rra_state.stores import postgres_uri

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_KEY = "ucon_db.database_uri"
_VERSIONS: LiteralString = (
    "SELECT id, key, data_key, adler32, data_size, extract(epoch from tr)::float8 AS tr"
    " FROM {versions} WHERE object = %(object)s"
)
# As the server lists: without deleted versions and without versions of a future time.
_LISTING: LiteralString = _VERSIONS + " AND key IS NOT NULL AND NOT deleted AND tv <= extract(epoch from now())"
_NEWEST: LiteralString = _LISTING + " ORDER BY id DESC LIMIT 1"
_ONE: LiteralString = _VERSIONS + " AND key = %(key)s"
_DATA: LiteralString = "SELECT data FROM {data} WHERE key = %(data_key)s"
_REFUSED = ("authentication failed", "no pg_hba.conf entry", "does not exist", "no password supplied")
_NO_TABLE, _NO_PERMISSION = "42P01", "42501"


class NoTable(AccessDenied):
    """the database of UconDB has no such table"""


class Tables:
    """The tables of one folder. One connection per process, opened on first use and again after it was lost."""

    def __init__(self, uri: str, folder: str, object_: str, timeout_seconds: float) -> None:
        """folder: with or without its namespace (then `public`). Raises ConfigError; never shows the URI."""
        parts = postgres_uri.parts(uri, _KEY)
        namespace, _, name = folder.rpartition(".") if "." in folder else ("public", ".", folder)
        if not _NAME.fullmatch(name) or not _NAME.fullmatch(namespace):
            raise ConfigError(
                f"ucon_db.folder_name: {folder} cannot be a folder with tables of its own",
                hint="write FOLDER or NAMESPACE.FOLDER: letters, digits and _",
            )
        self.folder = f"{namespace}.{name}"
        self._tables = {table: sql.Identifier(namespace, f"{name}_{table}") for table in ("versions", "data")}
        self._uri, self._object, self._timeout = uri, object_, timeout_seconds
        self._connection: psycopg.Connection[Any] | None = None
        self._process = 0
        self._has_contents = True
        self.name = f"UconDB's PostgreSQL at {parts.get('host') or 'localhost'}"

    def listing(self) -> list[dict[str, Any]]:
        """Every version that has a key. Raises StoreError."""
        return self._rows(_LISTING)

    def newest(self) -> dict[str, Any] | None:
        """The version with the highest id of those that `listing` gives. Raises StoreError."""
        return next(iter(self._rows(_NEWEST)), None)

    def one(self, key: str) -> tuple[dict[str, Any], bytes | None] | None:
        """The version with this key and its content; None if there is none. Raises StoreError.

        The content is None if this database does not have it: UconDB may keep contents in another one.
        """
        found = next(iter(self._rows(_ONE, key=key)), None)
        return None if found is None else (found, self._content(str(found["data_key"])))

    def _content(self, data_key: str) -> bytes | None:
        if not self._has_contents or not (data_key.isascii() and data_key.isdigit()):
            return None
        try:
            found = self._rows(_DATA, data_key=int(data_key))
        except NoTable:
            self._has_contents = False
            return None
        return bytes(found[0]["data"]) if found else None

    def _rows(self, query: LiteralString, **arguments: object) -> list[dict[str, Any]]:
        with self._session() as connection, connection.transaction():
            # Only for this transaction: a connection pooler gives the connection to other clients.
            connection.execute(sql.SQL("SET LOCAL statement_timeout = {}").format(int(self._timeout * 1000)))
            cursor = connection.cursor(row_factory=rows.dict_row)
            statement = sql.SQL(query).format(**self._tables)
            return cursor.execute(statement, {"object": self._object, **arguments}).fetchall()

    @contextmanager
    def _session(self) -> Iterator[psycopg.Connection[Any]]:
        """The connection of this process. Only here errors of the driver are mapped to StoreError."""
        try:
            if self._connection is None or self._connection.closed or self._process != os.getpid():
                self._connection = psycopg.connect(
                    self._uri,
                    application_name="run-record-archiver",
                    connect_timeout=max(2, int(self._timeout)),
                    prepare_threshold=None,  # a transaction pooler loses prepared statements
                )
                self._connection.read_only = True
                self._process = os.getpid()
                weakref.finalize(self, _close, self._connection, self._process)
            yield self._connection
        except psycopg.Error as error:
            self.close()
            raise self._store_error(error) from error

    def close(self) -> None:
        """Close the connection; the next call opens another."""
        if self._connection is not None:
            _close(self._connection, self._process)
        self._connection = None

    def _store_error(self, error: psycopg.Error) -> StoreError:
        reason = postgres_uri.reason(error)
        state, message = error.sqlstate or "", f"{self.name}: {reason}"
        if state == _NO_TABLE:
            return NoTable(
                message,
                hint=f"see that {_KEY} is UconDB's own database, and ucon_db.folder_name right"
                ", as NAMESPACE.FOLDER if the namespace is not public",
            )
        if state == _NO_PERMISSION:
            return AccessDenied(message, hint="grant its role SELECT on the folder's tables _versions and _data")
        if state.startswith("28") or (not state and any(words in reason for words in _REFUSED)):
            return AccessDenied(message, hint="check user, password (~/.pgpass) and database")
        return StoreUnavailable(message, hint=f"without {_KEY} the server itself is asked")


def _close(connection: psycopg.Connection[Any], process: int) -> None:
    """Close the connection unless it belongs to the parent process, which still uses the socket."""
    if process == os.getpid():
        connection.close()
