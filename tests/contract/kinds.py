"""The kinds of artdaqDB that the contract is tried on: how an archive of each is made, and where it can be cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from rra_state.stores.artdaqdb.base import ArtdaqDB, Capabilities
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.index import Additions, Index
from rra_state.stores.artdaqdb.postgres import PostgresDB

SCHEMA = b'main: { collection: "RunHistory" }\n'
Opener = Callable[[str, bytes | None], ArtdaqDB]


@dataclass(frozen=True)
class Kind:
    """One kind of store. steps: what it does in the order in which it can be cut off, as (object, name of a method)."""

    name: str
    capabilities: Capabilities
    open: Opener
    make: Callable[[pytest.FixtureRequest, Path], AbstractContextManager[str]]
    fill: Callable[[str, int], None]
    steps: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Archive:
    """A fresh archive of one kind; every `open` is another program that uses it."""

    kind: Kind
    place: str

    def open(self, schema: bytes | None = SCHEMA) -> ArtdaqDB:
        return self.kind.open(self.place, schema)

    def fill(self, count: int) -> None:
        """Have the archive show this many runs, whatever their documents."""
        self.kind.fill(self.place, count)


# ---- a directory -----------------------------------------------------------------------------------------------------


def _open_directory(place: str, schema: bytes | None) -> ArtdaqDB:
    return FilesystemDB(Path(place), schema=schema)


@contextmanager
def _directory(_request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
    yield str(path / "archive")


def _fill_directory(place: str, count: int) -> None:
    additions = Additions()
    for run in range(1, count + 1):
        name, oid = f"{run}/standard", f"{run:024x}"
        additions.document(oid, name, [(name, "2024-11-23T20:20:41.006+0000")])
        additions.name("entities.name", "boot", oid)
        additions.name("runs.name", str(run), oid)
    index = Index.empty()
    index.add(additions)
    directory = Path(place) / "RunHistory"
    directory.mkdir(parents=True)
    (directory / "index.json").write_bytes(index.serialise())


# ---- PostgreSQL ------------------------------------------------------------------------------------------------------


def _open_postgres(place: str, schema: bytes | None) -> ArtdaqDB:
    return PostgresDB(place, schema=schema)


@contextmanager
def _database(request: pytest.FixtureRequest, _path: Path) -> Iterator[str]:
    """A database of its own on the session's server."""
    server, name = request.getfixturevalue("postgres"), f"c_{uuid4().hex}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield server.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


def _fill_postgres(place: str, count: int) -> None:
    PostgresDB(place).stage([], {})
    with psycopg.connect(place) as connection:
        connection.execute(
            "INSERT INTO artdaqdb.versions SELECT n || '/standard', n || '/standard', 0, n, now(), true"
            " FROM generate_series(1, %s) AS n",
            (count,),
        )


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "filesystemdb",
            FilesystemDB.capabilities,
            _open_directory,
            _directory,
            _fill_directory,
            (
                ("rra_state.fsio", "_write"),
                ("rra_state.fsio", "_sync_file_system"),
                ("rra_state.fsio", "sync_directory"),
                ("pathlib.Path", "replace"),
            ),
        ),
        Kind(
            "postgresql",
            PostgresDB.capabilities,
            _open_postgres,
            _database,
            _fill_postgres,
            (
                ("psycopg.Cursor", "execute"),
                ("psycopg.Cursor", "executemany"),
            ),
        ),
    )
}


def resolved(name: str) -> Any:
    """The module or class of a dotted name."""
    module, _, attribute = name.rpartition(".")
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        return getattr(__import__(module, fromlist=["_"]), attribute)
