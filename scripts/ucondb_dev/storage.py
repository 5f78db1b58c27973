"""UconDB's tables in PostgreSQL, with its schema and order of statements; no HTTP.

A folder is a group of tables in a namespace, which is a PostgreSQL schema: NAMESPACE.FOLDER, or FOLDER for one in the
server's own. Source: docs/design/ucondb.md, Tables. Values are bound, table names are quoted identifiers.
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import sql

NAME = re.compile(r"[a-z_][a-z0-9_]*")

_DATA_SCHEMA: LiteralString = """
create table {data} (key bigserial primary key, hash bigint, hash_type text default 'adler32', size bigint, data bytea);
create index {data_hash_size_key} on {data} (hash, size, key);
"""
_SCHEMA: LiteralString = """
create table {versions} (id serial primary key, key text, object text, tv float8, tv_end float8,
    tr timestamptz default now(), deleted boolean default false, data_size bigint, data_key text, adler32 bigint);
create unique index {object_key_inx} on {versions} (object, key);
create index {versions_inx} on {versions} (object, tv, tr);
create table {tags} (version_id int references {versions} (id) on delete cascade, tag_name text,
    primary key (version_id, tag_name));
create table {salt} (salt text primary key, time_used timestamptz default now());
"""
_TABLES = ("data", "versions", "tags", "salt")
_INDEXES = ("data_hash_size_key", "object_key_inx", "versions_inx")
_COLUMNS: LiteralString = """
v.id, v.key, v.object, v.tv, extract(epoch from v.tr)::float8, v.data_size, v.data_key, v.adler32,
array(select t.tag_name from {tags} t where t.version_id = v.id order by t.tag_name)
"""
_NEWEST: LiteralString = " order by v.tr desc, v.tv"


class KeyExists(Exception):
    """the object has a version with this key; the message is the server's own"""


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the versions table with its tags. folder: with its namespace."""

    folder: str
    id: int
    key: str | None
    object: str
    tv: float
    tr: float
    data_size: int
    data_key: str
    adler32: int
    tags: list[str] = field(default_factory=list)

    def metadata(self) -> dict[str, Any]:
        """The version in the protocol's format."""
        return {
            "object": self.object,
            "folder": self.folder,
            "tv": self.tv,
            "tr": self.tr,
            "tags": self.tags,
            "adler32": self.adler32,
            "uadler32": self.adler32,
            "data_size": self.data_size,
            "data_key": self.data_key,
            "id": self.id,
            "key": self.key,
        }


class Storage:
    """The tables of one UconDB. Puts and gets share two connections: the caller must serialise them."""

    def __init__(self, uri: str, namespace: str = "public", data_uri: str | None = None) -> None:
        """namespace: of folders whose name has none. data_uri: the database of the contents, if it is another one."""
        self._uri, self.namespace, self._data_uri = uri, namespace, data_uri or uri
        self._sessions: dict[str, psycopg.Connection[Any]] = {}
        self._idle = deque[psycopg.Connection[Any]]()

    def close(self) -> None:
        """Close the kept connections."""
        for session in (*self._sessions.values(), *self._idle):
            session.close()

    def create_namespace(self) -> None:
        """Create the server's own namespace unless it exists. Raises psycopg.Error, ValueError (name)."""
        if not NAME.fullmatch(self.namespace):
            raise ValueError(f"{self.namespace} can not be the name of a namespace")
        schema = sql.Identifier(self.namespace)
        for name in ("metadata", "data"):
            self._session(name).execute(sql.SQL("create schema if not exists {}").format(schema))

    def qualified(self, folder: str) -> str:
        """The folder's name with its namespace."""
        return folder if "." in folder else f"{self.namespace}.{folder}"

    def create_folder(self, folder: str) -> None:
        """Create the tables of a folder unless they exist. Raises psycopg.Error, ValueError (name)."""
        namespace, _, name = self.qualified(folder).partition(".")
        if not NAME.fullmatch(namespace) or not NAME.fullmatch(name):
            raise ValueError(f"{folder} can not be the name of a folder")
        if self.has_folder(folder):
            return
        indexes = {each: sql.Identifier(f"{name}_{each}") for each in _INDEXES}  # in the schema of their table
        for session, schema in (("data", _DATA_SCHEMA), ("metadata", _SCHEMA)):
            with self._session(session).transaction():
                self._session(session).execute(sql.SQL(schema).format(**self._names(folder), **indexes))

    def has_folder(self, folder: str) -> bool:
        """Whether the folder's tables exist."""
        namespace, _, name = self.qualified(folder).partition(".")
        return name in self._folders(namespace)

    def folders(self, namespace: str | None = None) -> list[str]:
        """Names of all folders of a namespace, with the namespace in front unless it is the server's own."""
        other = namespace is not None and namespace != self.namespace
        return [f"{namespace}.{name}" if other else name for name in self._folders(namespace or self.namespace)]

    def _folders(self, namespace: str) -> list[str]:
        """Uses a separate connection: it is called outside the lock too."""
        query = (
            "select left(relname, -9) from pg_class where relkind = 'r' and relname like '%%\\_versions'"
            " and relnamespace = (select oid from pg_namespace where nspname = %s) order by 1"
        )
        return [name for (name,) in self._session("catalogue").execute(query, (namespace,))]

    def put(
        self, folder: str, object_: str, key: str | None, tags: Sequence[str], blob: bytes, *, override: bool
    ) -> Row:
        """Store a blob: a data transaction inside a metadata transaction, as the server does.

        Raises KeyExists and psycopg.Error; a crash between the two leaves a data row nobody refers to.
        """
        names = self._names(folder)
        checksum = zlib.adler32(blob)
        with self._session("metadata").transaction():
            if key is not None:
                self._free_key(names, object_, key, override=override)
            data_key = self._put_data(names, blob, checksum)
            insert = sql.SQL(
                "insert into {versions} (key, tv, object, data_key, data_size, adler32)"
                " values (%s, 0.0, %s, %s, %s, %s) returning id, extract(epoch from tr)::float8"
            ).format(**names)
            values = (key, object_, str(data_key), len(blob), checksum)
            row = _only(self._session("metadata").execute(insert, values))
            for tag in tags:
                self._add_tag(names, row[0], tag)
        return Row(
            self.qualified(folder), row[0], key, object_, 0.0, row[1], len(blob), str(data_key), checksum, list(tags)
        )

    def add_tag(self, folder: str, version: int, tag: str) -> None:
        """Tag a version, unless it has the tag."""
        with self._session("metadata").transaction():
            self._add_tag(self._names(folder), version, tag)

    def version(self, folder: str, object_: str | None = None, **wanted: str | int) -> Row | None:
        """The newest version with this key, tag or id, or the newest of all; None if there is none."""
        conditions: dict[str, LiteralString] = {
            "key": "v.key = %(key)s",
            "id": "v.id = %(id)s",
            "tag": "exists (select 1 from {tags} t where t.version_id = v.id and t.tag_name = %(tag)s)",
        }
        where = [conditions[name] for name in wanted] + ["v.object = %(object)s"] * (object_ is not None)
        query = "".join(("select", _COLUMNS, "from {versions} v where ", " and ".join(where), _NEWEST, " limit 1"))
        with self._session("metadata").transaction():
            found = self._session("metadata").execute(
                sql.SQL(query).format(**self._names(folder)), {"object": object_, **wanted}
            )
            row = found.fetchone()
        return None if row is None else Row(self.qualified(folder), *row)

    def data(self, folder: str, data_key: int) -> bytes | None:
        """Content by its own key."""
        with self._session("data").transaction():
            query = sql.SQL("select data from {data} where key = %s").format(**self._names(folder))
            row = self._session("data").execute(query, (data_key,)).fetchone()
        return None if row is None else row[0]

    def objects(self, folder: str) -> list[str]:
        """Objects that have a version."""
        with psycopg.connect(self._uri) as connection:
            query = sql.SQL("select distinct object from {versions} order by 1").format(**self._names(folder))
            return [name for (name,) in connection.execute(query)]

    def has_object(self, folder: str, object_: str) -> bool:
        """Whether the object has a version that is not deleted."""
        text: LiteralString = "select from {versions} where object = %s and not deleted limit 1"
        query = sql.SQL(text).format(**self._names(folder))
        return self._session("catalogue").execute(query, (object_,)).fetchone() is not None

    def tags(self, folder: str) -> list[str]:
        """Every tag of every version, with repeats."""
        with psycopg.connect(self._uri) as connection:
            query = sql.SQL("select tag_name from {tags} order by version_id, 1").format(**self._names(folder))
            return [name for (name,) in connection.execute(query)]

    def listing(self, folder: str, object_: str) -> Iterator[Row]:
        """All versions, newest first, streamed from a separate connection."""
        where: LiteralString = "v.object = %(object)s and not v.deleted and v.tv <= extract(epoch from now())"
        return self._stream(folder, where, {"object": object_})

    def lookup(self, folder: str, object_: str, wanted: dict[str, Any]) -> Iterator[Row]:
        """Versions by `keys`, `ids` or `key_min`/`key_max` (compared as text), unsorted."""
        where: LiteralString = "v.object = %(object)s"
        if "keys" in wanted:
            where += " and v.key = any(%(keys)s)"
        elif "ids" in wanted:
            where += " and v.id = any(%(ids)s)"
        else:
            where += " and v.key >= coalesce(%(key_min)s, v.key) and (%(key_max)s::text is null or v.key < %(key_max)s)"
        return self._stream(folder, where, {"key_min": None, "key_max": None, **wanted, "object": object_})

    def _stream(self, folder: str, where: LiteralString, values: dict[str, Any]) -> Iterator[Row]:
        query = "".join(("select", _COLUMNS, "from {versions} v where ", where, _NEWEST))
        with self._stream_session() as session, session.transaction(), session.cursor(name="rows") as cursor:
            cursor.itersize = 500
            cursor.execute(sql.SQL(query).format(**self._names(folder)), values)
            for row in cursor:
                yield Row(self.qualified(folder), *row)

    @contextmanager
    def _stream_session(self) -> Iterator[psycopg.Connection[Any]]:
        """A connection for one listing: several may be sent at a time. Kept for the next one if nothing went wrong."""
        try:
            session = self._usable(self._idle.pop()) or self._connected()
        except IndexError:
            session = self._connected()
        try:
            yield session
        except BaseException:
            session.close()
            raise
        self._idle.append(session)

    def _free_key(self, names: dict[str, sql.Composable], object_: str, key: str, *, override: bool) -> None:
        session = self._session("metadata")
        query = sql.SQL("select id from {versions} where object = %s and key = %s").format(**names)
        old = session.execute(query, (object_, key)).fetchone()
        if old is not None and not override:
            raise KeyExists(f"Version of object {object_} with key {key} already exists")
        if old is not None:
            session.execute(sql.SQL("update {versions} set key = null where id = %s").format(**names), old)

    def _put_data(self, names: dict[str, sql.Composable], blob: bytes, checksum: int) -> int:
        """Identical bytes in the folder are stored once. No index enforces that: two servers may store them twice."""
        session = self._session("data")
        with session.transaction():
            query = sql.SQL("select key, data from {data} where hash = %s and size = %s").format(**names)
            for key, data in session.execute(query, (checksum, len(blob))):
                if data == blob:
                    return int(key)
            insert = sql.SQL("insert into {data} (size, hash, data) values (%s, %s, %s) returning key").format(**names)
            return int(_only(session.execute(insert, (len(blob), checksum, blob)))[0])

    def _add_tag(self, names: dict[str, sql.Composable], version: int, tag: str) -> None:
        insert = sql.SQL("insert into {tags} (version_id, tag_name) values (%s, %s) on conflict do nothing")
        self._session("metadata").execute(insert.format(**names), (version, tag))

    def _names(self, folder: str) -> dict[str, sql.Composable]:
        namespace, _, name = self.qualified(folder).partition(".")
        return {table: sql.Identifier(namespace, f"{name}_{table}") for table in _TABLES}

    def _session(self, name: str) -> psycopg.Connection[Any]:
        """A kept connection, opened again if the database went away; not tested inside a transaction."""
        session = self._sessions.get(name)
        if session is not None and session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            session = self._usable(session)
        if session is None or session.closed:
            session = self._sessions[name] = self._connected(self._data_uri if name == "data" else self._uri)
        return session

    def _connected(self, uri: str | None = None) -> psycopg.Connection[Any]:
        return psycopg.connect(uri or self._uri, autocommit=True)

    def _usable(self, session: psycopg.Connection[Any]) -> psycopg.Connection[Any] | None:
        """The connection; None if the database went away since."""
        try:
            session.execute("select 1")
        except psycopg.OperationalError:
            return None
        return session


def _only(cursor: psycopg.Cursor[Any]) -> tuple[Any, ...]:
    """The row that an insert with `returning` gives."""
    row: tuple[Any, ...] | None = cursor.fetchone()
    if row is None:
        raise psycopg.DataError("an insert returned no row")
    return row
