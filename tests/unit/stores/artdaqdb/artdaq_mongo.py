"""What artdaq's MongoDB provider does to a database: its queries as it words them, its writes, and its backup.

Source: artdaq_database v1_10_00, StorageProviders/MongoDB; described in docs/design/artdaqdb.md, MongoDB.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pymongo
from bson import ObjectId, Regex
from pymongo.database import Database

from rra_state.records.model import Document
from rra_state.stores.artdaqdb import document as documents
from tests.unit.stores.artdaqdb.artdaqdb_helpers import TIME, record

Tree = dict[str, Any]
_NOT_SEARCHED = ("system.indexes", "SystemMetadata")


class ArtdaqMongo:
    """artdaq's tools at work on the database that a URI names."""

    def __init__(self, uri: str) -> None:
        self.client: pymongo.MongoClient[Tree] = pymongo.MongoClient(uri)
        self.database: Database[Tree] = self.client.get_default_database()

    def __enter__(self) -> ArtdaqMongo:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    # ---- writing -----------------------------------------------------------------------------------------------------

    def load(
        self,
        run: int,
        entities: Sequence[str] = ("component01",),
        *,
        configuration: str | None = None,
        of: int | None = None,
    ) -> None:
        """What bulkloader leaves: ids of its own, no raw data. of: the run whose files they are."""
        configuration = configuration or f"{run}/standard"
        version = documents.RunVersion(run, configuration, configuration, TIME, 1, "")
        [document] = [each for each in record(of or run).documents if each.entity == "component01"]
        trees = []
        for entity in entities:
            tree = documents.tree(document, version)
            tree["origin"] |= {"rawdata": [], "name": entity}
            tree["entities"][0]["name"] = entity
            trees.append({**tree, "_id": ObjectId()})
        self.database["RunHistory"].insert_many(trees)

    def write(self, run: int, entity: str, *, version: str, assigned: str, tree: Tree) -> None:
        """One document of the loader. tree: what it holds."""
        self.make_metadata()
        document = Document(f"{entity}.fcl", b"replaced: 1\n")
        named = documents.RunVersion(run, f"{run}/standard", version, assigned, 1, "")
        stored = documents.tree(document, named) | {"document": tree, "_id": ObjectId()}
        stored["origin"]["rawdata"] = []
        self.database["RunHistory"].insert_one(stored)

    def rewrite(self, found: Mapping[str, Any], **changes: Any) -> None:
        """What writeDocument does with a document that exists: a copy under a new id, then the old one deleted."""
        [tree] = self.database["RunHistory"].find(found)
        self.database["RunHistory"].insert_one({key: tree[key] for key in tree if key != "_id"} | changes)
        self.database["RunHistory"].delete_one({"_id": tree["_id"]})

    def assign(self, version: str, entity: str, configuration: str) -> None:
        """What assign_configuration does to one document."""
        found = {"version": version, "entities.name": entity}
        [tree] = self.database["RunHistory"].find(found)
        self.rewrite(found, configurations=[*tree["configurations"], {"name": configuration, "assigned": TIME}])

    def make_metadata(self) -> None:
        """What every connection does first: a read-only account fails here."""
        if self.database["SystemMetadata"].count_documents({}) == 0:
            self.database["SystemMetadata"].insert_one({"document": {"name": "artdaq"}})

    # ---- reading -----------------------------------------------------------------------------------------------------

    def find_entities(self) -> list[str]:
        """conftoolp.find_entities {}"""
        found = self._searched({}, {"_id": 0, "entities": "$entities.name"})
        return sorted({name for tree in found for name in tree["entities"]})

    def find_configurations(self) -> list[str]:
        """conftoolp.find_configurations with the filter `*`"""
        match = {"configurations.name": Regex("^")}
        found = self._searched(match, {"configurations": "$configurations"})
        return sorted({each["name"] for tree in found for each in tree["configurations"] if each["assigned"]})

    def composition(self, configuration: str) -> list[str]:
        """The entities of a configuration, one for each document."""
        fields = {"_id": 0, "configurations": "$configurations.name", "entities": "$entities.name"}
        found = self._searched({"configurations.name": configuration}, fields)
        return sorted(name for tree in found for name in tree["entities"] if configuration in tree["configurations"])

    def _searched(self, match: Tree, fields: Tree) -> Iterator[Tree]:
        for name in self.database.list_collection_names():
            if name not in _NOT_SEARCHED:
                yield from self.database[name].aggregate([{"$match": match}, {"$project": fields}])

    # ---- backup ------------------------------------------------------------------------------------------------------

    def export_database(self) -> dict[str, list[Tree]]:
        """conftool.py exportDatabase: each collection's documents. Fails as it does."""
        exported = {}
        for name in self.database.list_collection_names():
            if name in _NOT_SEARCHED:
                continue
            exported[name] = list(self.database[name].find())
            assert exported[name], f"export_database: nothing in {name}"
            assert all(isinstance(each["_id"], ObjectId) for each in exported[name]), f"export_database: ids of {name}"
        return exported

    def import_database(self, exported: Mapping[str, list[Tree]]) -> None:
        """import_collection for each: the documents come back under their ids."""
        for name, trees in exported.items():
            self.database[name].insert_many(trees)
