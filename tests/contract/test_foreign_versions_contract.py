"""What another program stores is dated and noticed in the kinds of artdaqDB that artdaq's own programs write."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pymongo
import pytest
from bson import ObjectId

from rra_state.state import newer_versions
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Marker
from rra_state.stores.artdaqdb.document import timestamp
from rra_state.stores.artdaqdb.lookup import last_assigned
from tests.contract.kinds import KINDS
from tests.unit.stores.artdaqdb.artdaqdb_helpers import Artdaq, files_of, record, store


@pytest.mark.parametrize("name", ["filesystemdb", "mongodb"])
def test_case_a16_a_later_version_is_dated_and_noticed(
    name: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    kind, tree = KINDS[name], Tree(tmp_path / "work")
    tree.prepare()
    tree.write_markers([Marker.of("migrate", run, Facts(True, version=f"{run}/standard")) for run in (1, 2)], [1, 2])
    with kind.make(request, tmp_path) as place:
        db = kind.open(place, None)
        store(db, record(1), record(2))  # type: ignore[arg-type]
        newer_versions.look(tree, db)
        before = newer_versions.noted(tree)

        artdaq = Artdaq(tmp_path / "archive")
        artdaq.write(2, "RunHistory2", version="2/standardv1", assigned=timestamp())
        if name == "mongodb":
            for text in files_of(artdaq.path).values():
                document = json.loads(text)
                document["_id"] = ObjectId(document["_id"]["$oid"])
                with pymongo.MongoClient(place) as client:  # type: ignore[var-annotated]
                    client.get_default_database()["RunHistory"].insert_one(document)
        newer_versions.look(tree, db)

        assert before == {}
        assert newer_versions.noted(tree) == {2: "2/standardv1"}
        assert abs(time.time() - last_assigned(db.locate([2])[2])) < 60
