"""The MongoDB store by itself, on the test server: 500 runs stored and read back, 20,000 listed.

The server (tests/mongodb_server.py) is written in Python: the figures say what the archiver adds, not what a MongoDB
does.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any
from uuid import uuid4

import pymongo
from bson import ObjectId
from pymongo.database import Database

from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import document, versions
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.artdaqdb.mongo import MongoDB
from tests import servers
from tests.bench.floors import CHUNK
from tests.bench.measure import repeated, timed
from tests.bench.rows import Measured
from tests.bench.sites import Hall


def mongodb(hall: Hall) -> Iterator[Measured]:
    """Runs a second into an empty database and out of it, each beside the driver alone; seconds of a listing."""
    site = hall.site()
    records = site.documents(site.take_runs(hall.size(500)))
    with servers.running_mongodb() as (server, _), pymongo.MongoClient[dict[str, Any]](server) as client:
        db, floor = MongoDB(f"{server}/b_{uuid4().hex}"), client[f"b_{uuid4().hex}"]
        stored = timed(lambda: _store(db, records)), timed(lambda: _insert(floor, records))
        yield Measured("mongodb-store", [len(records) / stored[0]], [len(records) / stored[1]])
        read = timed(lambda: _read(db)), timed(lambda: list(floor["RunHistory"].find()))
        yield Measured("mongodb-read", [len(records) / read[0]], [len(records) / read[1]])
        many = f"{server}/b_{uuid4().hex}"
        _fill(client[many.rpartition("/")[2]], hall.size(20_000))
        yield Measured("mongodb-list", repeated(lambda: timed(lambda: MongoDB(many).runs())))
        yield Measured("mongodb-find", repeated(lambda: timed(lambda: MongoDB(many).locate([7]))))


def _store(db: MongoDB, records: Sequence[RunDocuments]) -> None:
    for first in range(0, len(records), CHUNK):
        outcomes = db.stage(records[first : first + CHUNK], {})
        db.publish([each for each in outcomes if isinstance(each, Staged)])


def _insert(database: Database[dict[str, Any]], records: Sequence[RunDocuments]) -> None:
    now = document.timestamp()
    for record in records:
        trees = versions.plan(record, None, now, None).trees()
        database["RunHistory"].insert_many({**tree, "_id": ObjectId(tree["_id"]["$oid"])} for tree in trees)


def _read(db: MongoDB) -> None:
    for location in db.locate(db.runs()).values():
        assert db.export(location).exact


def _fill(database: Database[dict[str, Any]], runs: int) -> None:
    """Two documents a run, without their content, which listing does not read."""
    history = database["RunHistory"]
    for field in ("version", "runs.name"):
        history.create_index(field)
    for some in range(0, runs, 1000):
        history.insert_many(
            {"version": f"{run}/standard", "runs": [{"name": str(run)}], "entities": [{"name": entity}]}
            for run in range(some + 1, min(some + 1000, runs) + 1)
            for entity in ("boot", "metadata")
        )
