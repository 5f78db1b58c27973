"""A cycle over artdaqDB in what speaks MongoDB's protocol."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.site import Site
from tests.unit.stores.artdaqdb.artdaq_mongo import ArtdaqMongo

pytestmark = pytest.mark.in_process


def test_a_cycle_over_mongodb_and_an_operators_commands(site: Site, mongodb: str) -> None:
    uri = f"{mongodb}/a_{uuid4().hex}"
    site.configure(artdaq_db={"database_uri": uri})
    site.make(6)

    assert "replica set secantus" in site.archive_runs("--check").stdout
    site.archive_runs()

    assert site.markers("import") == site.markers("migrate") == set(range(1, 7))
    assert "consistent" in site.archive_runs("--report-status", "--compare-state").stdout
    for path in (site.work / "markers" / "import").iterdir():
        path.unlink()
    assert "Found 6 runs in artdaqDB" in site.archive_runs("--recover-import-state").stdout
    with ArtdaqMongo(uri) as artdaq:
        artdaq.database["RunHistory"].delete_many({"runs.name": "2"})
    assert "LostFromIndex: runs 2 were in artdaqDB" in site.archive_runs("--incremental").stderr
    assert site.markers("import") == site.markers("migrate") == set(range(1, 7))


def test_case_g3_and_g4_what_artdaqs_tools_did_to_archived_runs(site: Site, mongodb: str) -> None:
    uri = f"{mongodb}/a_{uuid4().hex}"
    site.configure(artdaq_db={"database_uri": uri})
    site.make(2)
    (site.records / "2" / "deep.fcl").write_bytes(b"a: " + b"[" * 120 + b"]" * 120 + b"\n")
    site.archive_runs("--import-only")
    with ArtdaqMongo(uri) as artdaq:
        [version] = artdaq.database["RunHistory"].distinct("version", {"runs.name": "1"})
        artdaq.assign(version, "boot", "1/golden")

        site.archive_runs()
        assert site.markers("migrate") == {1, 2}
        assert "it is nested more deeply" in (site.work / "markers" / "import" / "2.json").read_text()
        assert "documents of it are assigned to 1/golden as well" in site.archive_runs("--verify").stdout

        artdaq.load(1, configuration=version)
        verified = site.archive_runs("--verify", status=1).stdout
        assert "run 1: artdaqDB: 1 document of another program" in verified
        assert "NOT SAFE" in site.archive_runs("--report-status", status=1).stdout

        artdaq.database["RunHistory"].delete_many({"version": version, "origin.rawdata": []})
        assert "2 equal" in site.archive_runs("--verify").stdout
