from __future__ import annotations

from pathlib import Path

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
