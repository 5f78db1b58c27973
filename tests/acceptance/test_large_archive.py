"""The made-up archives of large_archive.py are what the archiver itself would have left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rra_state.config import loading
from rra_state.state.outcome import STAGES
from tests.in_process import InProcessSite
from tests.large_archive import SHAPES, grow, shapes
from tests.servers import Folder, new_database
from tests.site import Site

KINDS = ("filesystemdb", "postgresql")
_ITS_OWN = ("archived", "ucondb_id", "ucondb_data_key")
"""What of a marker depends on the moment, and on the order in which blobs came."""


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path, ucondb: Folder, postgres: str) -> tuple[Site, Site]:
    """Two new sites with the same kind of artdaqDB."""
    return tuple(  # type: ignore[return-value]
        _site(tmp_path / name, Folder.fresh(ucondb.server, request.node.nodeid + name), request.param, postgres)
        for name in ("real", "grown")
    )


def _site(root: Path, folder: Folder, kind: str, postgres: str) -> Site:
    root.mkdir()
    database = new_database(postgres, f"artdaqdb_{folder.folder}") if kind == "postgresql" else ""
    return InProcessSite(root, folder, database)


def test_a_grown_archive_is_the_one_that_cycles_make(pair: tuple[Site, Site]) -> None:
    real, grown = pair
    real.make(SHAPES)
    real.real_archive_runs()
    assert "nothing to do" in real.archive_runs("--incremental").stderr  # it looks at the watched runs

    grow(grown.config, grown.ucondb, SHAPES)

    assert _markers(grown) == _markers(real)
    assert _stored(grown) == _stored(real)
    assert _sizes_of_indexes(grown) == _sizes_of_indexes(real)
    assert _rows(grown) == _rows(real)
    for stage in STAGES:
        assert grown.state(stage) == real.state(stage)
        assert grown.failures(stage) == real.failures(stage)
    assert _files(grown) == _files(real)


def test_a_grown_archive_takes_new_runs_only(pair: tuple[Site, Site]) -> None:
    _, site = pair
    grow(site.config, site.ucondb, 300)

    compared = site.archive_runs("--compare-state")
    idle = site.archive_runs("--incremental")
    site.make(1, 301)
    site.archive_runs("--incremental")

    assert "consistent: " in compared.stdout
    assert "nothing to do" in idle.stderr
    assert site.markers("import") == site.markers("migrate") == set(range(1, 302))
    assert site.state("migrate") == {"last_contiguous_run": 301, "last_attempted_run": 301}
    assert site.blobs()["301"].startswith(b"Start of Record\n")


def test_every_run_has_one_of_the_shapes(pair: tuple[Site, Site]) -> None:
    _, site = pair

    grow(site.config, site.ucondb, 3 * SHAPES)

    for run, shape in zip(range(SHAPES + 1, 2 * SHAPES + 1), shapes(), strict=True):
        marker = site.marker("migrate", run)
        assert marker["version"] == f"{run}/{shape.name}"
        assert (marker["size"], marker["ucondb_id"]) == (shape.facts["migrate"].size, run)


def _markers(site: Site) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in site.marker(stage, run).items() if key not in _ITS_OWN}
        for stage in STAGES
        for run in sorted(site.markers(stage))
    ]


def _stored(site: Site) -> object:
    """What artdaqDB says of itself, without the times."""
    uri = _uri(site)
    if not uri.startswith("postgresql"):
        found = {
            path.parent.name: json.loads(path.read_text()) for path in (site.root / "artdaqdb").glob("*/index.json")
        }
        for index in found.values():
            index["configurations.assigned"] = sorted(index["configurations.assigned"])
        return found
    with psycopg.connect(uri) as connection:
        columns = "configuration, version, number, run, visible"
        versions = connection.execute(f"select {columns} from artdaqdb.versions order by 1").fetchall()
        columns = "collection, oid, entity, configuration, version"
        return versions, connection.execute(f"select {columns} from artdaqdb.documents order by 2").fetchall()


def _sizes_of_indexes(site: Site) -> dict[str, int]:
    """Bytes of each index file: the white space is the same. The order of keys is that of arrival."""
    return {path.parent.name: path.stat().st_size for path in (site.root / "artdaqdb").glob("*/index.json")}


def _uri(site: Site) -> str:
    return loading.load(site.config).artdaq_db.database_uri


def _rows(site: Site) -> list[tuple[Any, ...]]:
    """UconDB's rows, without what depends on the order in which they came."""
    return site.ucondb.execute(
        "select v.key, object, tv, tv_end, deleted, data_size, adler32, tag_name, d.hash, d.size"
        " from {folder}_versions v join {folder}_tags on version_id = id"
        " join {folder}_data d on d.key = data_key::bigint order by v.key"
    )


def _files(site: Site) -> set[str]:
    """Names of the files that the archiver keeps; not Snakemake's, locks, and what is of the last cycle at work."""
    found = (path.relative_to(site.work) for path in site.work.rglob("*") if path.is_file())
    return {str(path) for path in found if not any(part.startswith(".") for part in path.parts)} - {
        "state/running.json"
    }
