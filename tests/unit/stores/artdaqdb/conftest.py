from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pymongo
import pytest

from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from tests.unit.stores.artdaqdb.artdaqdb_helpers import SCHEMA, Artdaq


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "archive"


@pytest.fixture
def db(path: Path) -> FilesystemDB:
    return FilesystemDB(path, schema=SCHEMA)


@pytest.fixture
def artdaq(path: Path) -> Artdaq:
    return Artdaq(path)


@pytest.fixture
def uri(mongodb: str) -> Iterator[str]:
    """A database of its own on the MongoDB that is a replica set."""
    name = f"u_{uuid4().hex}"
    yield f"{mongodb}/{name}"
    with pymongo.MongoClient(mongodb) as client:
        client.drop_database(name)
