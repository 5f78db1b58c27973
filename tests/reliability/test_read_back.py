"""Archived means read back: a store that takes a blob and keeps another one is never believed."""

from __future__ import annotations

import zlib
from pathlib import Path

import psycopg
import pytest

from tests.servers import Folder
from tests.site import Site


@pytest.fixture
def forger(ucondb: Folder) -> Folder:
    """A UconDB whose database keeps something else of every 3rd run than it was given, checksums and all."""
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:
        name = ucondb.folder
        forged = b"forged"
        connection.execute(
            f"CREATE FUNCTION {name}_forge() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
            f" IF NEW.key ~ '^[0-9]*[369]$' THEN"
            f" UPDATE {name}_data SET data = 'forged', size = {len(forged)} WHERE key = NEW.data_key::bigint;"
            f" NEW.data_size := {len(forged)}; NEW.adler32 := {zlib.adler32(forged)};"
            " END IF; RETURN NEW; END $$"
        )
        connection.execute(
            f"CREATE TRIGGER forge BEFORE INSERT ON {name}_versions FOR EACH ROW EXECUTE FUNCTION {name}_forge()"
        )
    return ucondb


def test_a_store_that_keeps_other_bytes_is_never_believed(forger: Folder, tmp_path: Path) -> None:
    site = Site(tmp_path, forger)
    site.make(9)

    site.archive_runs(status=1)

    assert site.markers("import") == set(range(1, 10))
    assert site.markers("migrate") == {1, 2, 4, 5, 7, 8}
    assert site.failures("migrate") == [3, 6, 9]
