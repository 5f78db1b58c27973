"""A cycle over artdaqDB in what speaks MongoDB's protocol."""

from __future__ import annotations

from uuid import uuid4

import pymongo

from tests.site import Site


def test_a_whole_cycle_over_mongodb_and_what_an_operator_does_with_it(site: Site, mongodb: str) -> None:
    uri = f"{mongodb}/a_{uuid4().hex}"
    site.configure(artdaq_db={"database_uri": uri})
    site.make(6)

    assert "artdaqDB: OK (artdaqDB in MongoDB" in site.archive_runs("--check").stdout
    site.archive_runs()

    assert site.markers("import") == site.markers("migrate") == set(range(1, 7))
    assert "consistent" in site.archive_runs("--report-status", "--compare-state").stdout
    for path in (site.work / "markers" / "import").iterdir():
        path.unlink()
    assert "Found 6 runs in artdaqDB" in site.archive_runs("--recover-import-state").stdout
    with pymongo.MongoClient(uri) as client:
        client.get_default_database()["rra_versions"].delete_one({"_id": {"$regex": "^2/"}})
    assert "LostFromIndex: runs 2 were in artdaqDB" in site.archive_runs("--incremental").stderr
    assert site.markers("import") == site.markers("migrate") == set(range(1, 7))
