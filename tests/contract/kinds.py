"""The kinds of artdaqDB that the contract is tried on: how an archive of each is made, and where it can be cut off."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pymongo
import pytest

from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.index import Additions, Index
from rra_state.stores.artdaqdb.mongo import MongoDB
from rra_state.stores.artdaqdb.postgres import PostgresDB
from rra_state.stores.artdaqdb.tool_runner import LocalTools
from rra_state.stores.artdaqdb.tools import ToolsDB
from tests.artdaq_tools import Tools
from tests.servers import database

SCHEMA = b'main: { collection: "RunHistory" }\n'
Opener = Callable[[str, bytes | None], ArtdaqDB]


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a store promises. docs/stores.md shows the same.

    byte_identical: export returns exactly the bytes that were stored.
    atomic: a run becomes visible whole or not at all.
    concurrent_readers: a reader never sees a damaged store while a writer is at work.
    """

    byte_identical: bool
    atomic: bool
    concurrent_readers: bool


ALL = Capabilities(byte_identical=True, atomic=True, concurrent_readers=True)
NONE = Capabilities(byte_identical=False, atomic=False, concurrent_readers=False)


@dataclass(frozen=True)
class Kind:
    """One kind of store. steps: what it does in the order in which it can be cut off, as (object, name of a method)."""

    name: str
    capabilities: Capabilities
    open: Opener
    make: Callable[[pytest.FixtureRequest, Path], AbstractContextManager[str]]
    fill: Callable[[str, int], None]
    steps: tuple[tuple[str, str], ...]
    keeps_text: bool = True
    """Whether it takes a file that is no FHiCL."""
    runs: int = 59
    """How many runs are stored beside other programs: fewer where the server is slow."""
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Cases that it does not pass, by name, and why not. Whatever is not here it passes."""


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
    with database(request.getfixturevalue("postgres")) as uri:
        yield uri


def _fill_postgres(place: str, count: int) -> None:
    PostgresDB(place).stage([], {})
    with psycopg.connect(place) as connection:
        connection.execute(
            "INSERT INTO artdaqdb.versions SELECT n || '/standard', n || '/standard', 0, n, now(), true"
            " FROM generate_series(1, %s) AS n",
            (count,),
        )


# ---- a directory that artdaq's tools write ---------------------------------------------------------------------------


def _open_tools(place: str, schema: bytes | None) -> ArtdaqDB:
    programs = LocalTools(f"filesystemdb://{place}/archive", Path(place) / "tools", limit=60)
    return ToolsDB(FilesystemDB(Path(place) / "archive"), programs, Path(place) / "state", schema=schema)


@contextmanager
def _tools(_request: pytest.FixtureRequest, path: Path) -> Iterator[str]:
    Tools(path / "tools")
    yield str(path)


def _fill_tools(place: str, count: int) -> None:
    _fill_directory(f"{place}/archive", count)


_AT_ONCE = "what the tools load is shown at once"
_NAMES = "a version is a configuration of its own"
_FHICL_ONLY = "the tools take FHiCL only, and give back what means the same"
_LACKS = {
    "test_staged_runs_are_not_visible": _AT_ONCE,
    "test_staged_but_unpublished_documents_are_replaced": _AT_ONCE,
    "test_the_next_version_stays_unseen_until_it_is_published": _AT_ONCE,
    "test_a_crash_between_steps_leaves_whole_runs": _AT_ONCE,
    "test_a_reader_beside_the_writer_sees_whole_runs_only": "the tools rewrite the index in place",
    "test_other_content_becomes_the_next_version": _NAMES,
    "test_version_10_comes_after_version_9_and_none_is_deleted": _NAMES,
    "test_a_run_whose_configuration_changed_keeps_its_first_name": _NAMES,
    "test_files_and_sources_are_read_back_byte_for_byte": _FHICL_ONLY,
    "test_a_large_file_comes_back_whole": _FHICL_ONLY,
    "test_a_version_without_a_document_is_not_whole": "the tools keep no count of a version's documents",
    "test_two_archivers_that_store_different_runs_at_once_lose_nothing": "minutes; see test_tools_site.py",
}


# ---- MongoDB ---------------------------------------------------------------------------------------------------------


def _open_mongodb(place: str, schema: bytes | None) -> ArtdaqDB:
    return MongoDB(place, schema=schema)


@contextmanager
def _mongodb(request: pytest.FixtureRequest, _path: Path) -> Iterator[str]:
    with _database_of(request.getfixturevalue("mongodb")) as place:
        yield place


@contextmanager
def _mongodb_alone(request: pytest.FixtureRequest, _path: Path) -> Iterator[str]:
    with _database_of(request.getfixturevalue("mongodb_alone")) as place:
        yield place


@contextmanager
def _database_of(server: str) -> Iterator[str]:
    name = f"c_{uuid4().hex}"
    yield f"{server}/{name}"
    with pymongo.MongoClient(server) as client:
        client.drop_database(name)


def _fill_mongodb(place: str, count: int) -> None:
    with pymongo.MongoClient(place) as client:
        history = client.get_default_database()["RunHistory"]
        history.insert_many({"version": f"{run}/standard"} for run in range(1, count + 1))


_SLOW = {
    "test_one_hundred_thousand_runs_are_listed": "minutes to fill the test server; 1,000 in test_mongo.py",
    "test_a_large_file_comes_back_whole": "20 s on the test server; a smaller one in test_mongo.py",
}
_MONGODB_STEPS = (
    *(
        ("pymongo.collection.Collection", name)
        for name in ("insert_many", "insert_one", "bulk_write", "delete_many", "create_index", "count_documents")
    ),
    ("pymongo.client_session.ClientSession", "commit_transaction"),
)


KINDS: Mapping[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "filesystemdb",
            ALL,
            _open_directory,
            _directory,
            _fill_directory,
            (
                ("rra_state.base.files", "_write"),
                ("rra_state.base.files", "_sync_file_system"),
                ("rra_state.base.files", "sync_directory"),
                ("os", "replace"),
            ),
        ),
        Kind(
            "postgresql",
            ALL,
            _open_postgres,
            _database,
            _fill_postgres,
            (
                ("psycopg.Cursor", "execute"),
                ("psycopg.Cursor", "executemany"),
            ),
        ),
        Kind("use_tools", NONE, _open_tools, _tools, _fill_tools, (), False, lacks=_LACKS),
        Kind(
            "mongodb",
            ALL,
            _open_mongodb,
            _mongodb,
            _fill_mongodb,
            _MONGODB_STEPS,
            runs=19,
            lacks=_SLOW,
        ),
    )
}

ALONE = Kind("mongodb alone", ALL, _open_mongodb, _mongodb_alone, _fill_mongodb, _MONGODB_STEPS)
"""A MongoDB that is in no replica set: it has no transactions, so it is cut off in its own places."""
EVERY_KIND: Mapping[str, Kind] = {**KINDS, ALONE.name: ALONE}


def resolved(name: str) -> Any:
    """The module or class of a dotted name."""
    module, _, attribute = name.rpartition(".")
    try:
        return __import__(name, fromlist=["_"])
    except ImportError:
        return getattr(__import__(module, fromlist=["_"]), attribute)
