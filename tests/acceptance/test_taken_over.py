"""An archive that goes on in another kind of artdaqDB."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.acceptance.documented import commands
from tests.acceptance.guide import take
from tests.acceptance.test_verdict import report
from tests.paths import REPOSITORY
from tests.servers import new_database
from tests.site import Site

pytestmark = pytest.mark.in_process

_MOVE = ["--recover-import-state --accept-loss", ""]
"""The options of the two commands of docs/stores.md, Move from a directory to PostgreSQL."""


def test_the_documented_move_to_postgresql_ends_in_safe(site: Site, postgres: str) -> None:
    take(site, range(1, 7))
    site.archive_runs()
    blobs = site.blobs()
    site.database = new_database(postgres, f"moved_{uuid4().hex}")
    site.configure()

    refused = site.archive_runs("--incremental", status=1)
    for options in _MOVE:
        site.archive_runs(*options.split(), status=None)

    assert "has lost 6 of 6 runs that were archived there" in refused.stderr
    documented = commands(REPOSITORY / "docs" / "stores.md")
    assert [f"./run_archiver.sh CONFIG {options}".strip() in documented for options in _MOVE] == [True, True]
    site.assert_archived_once(range(1, 7))
    assert report(site)["verdict"]["level"] == "safe"
    assert site.blobs() == blobs
