"""An archive that goes on after an upgrade from 0.1.0, or in another kind of artdaqDB."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from rra_state.state.outcome import STAGES
from tests.acceptance.documented import commands
from tests.acceptance.guide import take
from tests.acceptance.test_verdict import report
from tests.paths import REPOSITORY
from tests.servers import new_database
from tests.site import Site

pytestmark = pytest.mark.in_process

_UNKNOWN_TO_0_1_0 = ("signature", "remarks", "foreign")
_MOVE = ["--recover-import-state --accept-loss", ""]
"""The options of the two commands of docs/stores.md, Move from a directory to PostgreSQL."""


def _as_0_1_0_left_it(work: Path) -> None:
    """Markers without the fields that came later; no watches, findings or notes. 0.1.0 left notes.txt out."""
    skipped = {"notes.txt": "is neither a .fcl file nor one of the seven texts"}
    for stage in STAGES:
        for path in (work / "markers" / stage).iterdir():
            values = json.loads(path.read_text())
            known = {key: values[key] for key in values if key not in _UNKNOWN_TO_0_1_0}
            path.write_text(json.dumps(known | {"kept": {}, "skipped": skipped}))
    for path in (*work.glob("watch/*"), *work.glob("state/*.json")):
        if path.stem not in STAGES:
            path.unlink()


def test_an_old_tree_is_compared_and_never_refreshed(site: Site) -> None:
    take(site, [1, 2, 3])
    site.archive_runs()
    _as_0_1_0_left_it(site.work)
    (site.records / "2").chmod(0o755)
    (site.records / "2" / "notes.txt").write_text("x\n")

    upgraded = report(site)["verdict"]
    site.archive_runs("--incremental", status=None)
    compared = report(site)["verdict"]
    site.archive_runs("--incremental")

    assert upgraded["level"] == "unsure"
    assert compared["level"] == "safe"
    assert site.versions() == 3
    assert not list(site.work.glob("markers/refresh/*"))
    assert "notes.txt" in str(site.marker("import", 2)["remarks"])


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
