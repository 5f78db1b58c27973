"""artdaqDB in MongoDB: the documents of artdaq's own MongoDB provider. Experimental until run on a real server.

One MongoDB collection per artdaqDB collection. A standalone server has no transactions, so a version becomes visible
by one document in the collection `rra_versions`, whose field `visible` is set last. Documents of other programs have no
version there and are always visible. Source: docs/design/artdaqdb.md, MongoDB.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import bson
import pymongo
import pymongo.errors as faults
from bson import ObjectId
from bson.errors import InvalidDocument
from pymongo import ReadPreference, ReplaceOne
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from rra_state.base import run_numbers
from rra_state.base.errors import (
    AccessDenied,
    ArchiverError,
    ConfigError,
    RecordError,
    StoreError,
    StoreUnavailable,
    VerificationError,
)
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb.base import Export, Item, Location, Outline, Staged
from rra_state.stores.artdaqdb.document import RUN_HISTORY, SYSTEM_LAYOUT
from rra_state.stores.artdaqdb.index import ENTITY, RUN, Additions, Index
from rra_state.stores.artdaqdb.rebuild import entry, note

Tree: TypeAlias = dict[str, Any]

_COLLECTIONS = (SYSTEM_LAYOUT, RUN_HISTORY)
_VERSIONS = "rra_versions"
_OURS = "rra"
"""Top-level key of this archiver's documents; artdaq ignores unknown keys (docs/design/artdaqdb.md, Document)."""
_NAMES = {"entities": 1, "configurations": 1, "version": 1, "runs": 1, "aliases": 1}
INDEXES: Mapping[str, Sequence[tuple[str, int]]] = {
    SYSTEM_LAYOUT: [(_OURS, 1), ("runs.name", 1)],
    RUN_HISTORY: [(_OURS, 1), ("runs.name", 1)],
    _VERSIONS: [("visible", 1), ("run", 1)],
}
"""Indexes for our queries. MongoDB refuses a document in which two fields of an index are arrays (code 171)."""
OVER_TWO_ARRAYS = "configurations.name_1_entities.name_1", [("configurations.name", 1), ("entities.name", 1)]
"""Name and fields of an index that earlier versions made in RunHistory: with it no document can be added."""
_LIMITS = {"serverSelectionTimeoutMS": 10_000, "connectTimeoutMS": 10_000, "socketTimeoutMS": 60_000}
_REFUSED = {13, 18}
"""Codes: unauthorized, authentication failed."""
_NO_SUCH_INDEX = 27
_RUNS_A_QUERY = 500
LARGEST = 16 * 2**20
"""Bytes of a document that MongoDB holds. Source: MongoDB Limits and Thresholds, BSON Document Size."""


class MongoDB:
    """An artdaqDB archive in MongoDB; implements `base.ArtdaqDB`. One instance per process."""

    def __init__(self, uri: str, *, schema: bytes | None = None) -> None:
        """uri: `mongodb://user@host/database`. schema: schema.fcl, stored with each run. Raises ConfigError."""
        client, name = _client(uri)
        weakref.finalize(self, client.close)
        self._database: Database[Tree] = client.get_database(
            name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority", j=True),
        )
        hosts = uri.partition("://")[2].partition("/")[0].rpartition("@")[2]
        self._name = f"MongoDB at {hosts}, database {name}"
        self._schema = None if schema is None else versions.Schema(schema)
        self._prepared = False

    def describe(self) -> str:
        """The store in one phrase."""
        return f"artdaqDB in {self._name}"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError unless the server answers and takes a version without documents, which is removed again."""
        with self._faults():
            self._database.command("ping")
            own = self._database[_VERSIONS]
            own.delete_one({"_id": own.insert_one({"visible": False}).inserted_id})
        if self._schema is not None:
            self._schema.parsed()

    def stamp(self) -> str:
        """The number of visible versions, and of all documents, since other programs may add or remove some."""
        with self._faults():
            shown = self._database[_VERSIONS].count_documents({"visible": True})
            counts = [self._database[name].estimated_document_count() for name in _COLLECTIONS]
        return "-".join(map(str, (shown, *counts))) if shown or any(counts) else ""

    def runs(self) -> set[int]:
        """Every run with a visible version of this archiver or a document of another program."""
        others: Sequence[Tree] = [{"$match": {_OURS: None}}, {"$unwind": "$runs"}, {"$group": {"_id": "$runs.name"}}]
        with self._faults():
            ours = set(self._database[_VERSIONS].distinct("run", {"visible": True}))
            foreign = [each["_id"] for each in self._database[RUN_HISTORY].aggregate(others)]
        return ours | {run for name in foreign if (run := run_numbers.number(str(name))) is not None}

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest visible version of each of these runs, chosen by the same rules as in a directory (`lookup`)."""
        wanted = sorted(set(runs))
        listed = {name: Additions() for name in _COLLECTIONS}
        with self._faults():
            for first in range(0, len(wanted), _RUNS_A_QUERY):
                some = wanted[first : first + _RUNS_A_QUERY]
                self._list_ours(some, listed)
                self._list_foreign(some, listed)
        indexes = {name: Index.empty() for name in _COLLECTIONS}
        for name, additions in listed.items():
            indexes[name].add(additions)
        return lookup.locate(indexes, wanted)

    def outlines(self, runs: Iterable[int], needed: Collection[str]) -> Iterator[Outline]:
        """The same versions, each with whether it has the needed entities."""
        return lookup.outlines(self.locate, runs, needed)

    def _list_ours(self, runs: Sequence[int], listed: Mapping[str, Additions]) -> None:
        for version in self._database[_VERSIONS].find({"run": {"$in": list(runs)}, "visible": True}):
            configuration = version["configuration"]
            for collection, entity, oid in version["items"]:
                listed[collection].document(oid, version["_id"], [(configuration, version["assigned"])])
                listed[collection].name(ENTITY, entity, oid)
                listed[collection].name(RUN, str(version["run"]), oid)

    def _list_foreign(self, runs: Sequence[int], listed: Mapping[str, Additions]) -> None:
        wanted = {_OURS: None, "$or": [{"runs.name": str(run)} for run in runs]}
        for name, additions in listed.items():
            if self._database[name].find_one({_OURS: None}, {"_id": 1}) is None:
                continue  # the common case: no other program writes here
            for tree in self._database[name].find(wanted, _NAMES):
                note(additions, entry(str(tree["_id"]), tree))

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Store the documents of each run; its version is not visible yet."""
        self._prepare()
        now = documents.timestamp()
        known = self.locate(record.run for record in records)
        return versions.each_by_itself(records, lambda record: self._stage(record, known.get(record.run), now))

    def _stage(self, record: RunDocuments, known: Location | None, now: str) -> Staged:
        if known is not None and versions.holds(self.export(known), record):
            return Staged(known, changed=False, assigned=now)
        plan = versions.plan(record, known, now, self._schema)
        try:
            trees = [_stored(tree) for tree in plan.trees()]
        except InvalidDocument as error:
            raise RecordError(f"MongoDB does not take its documents: {error}", run=record.run) from error
        self._claim(plan.staged)
        with self._faults():
            for collection in _COLLECTIONS:
                own = [tree for tree in trees if tree["collection"] == collection]
                if own:
                    replaced = [ReplaceOne({"_id": tree["_id"]}, tree, upsert=True) for tree in own]
                    self._database[collection].bulk_write(replaced, ordered=False)
        return plan.staged

    def _claim(self, staged: Staged) -> None:
        """Register the version before its documents are written. Raises StoreUnavailable if it is visible already."""
        location = staged.location
        value = {
            "run": location.run,
            "configuration": location.configuration,
            "assigned": staged.assigned,
            "claim": _claim(staged),
            "visible": False,
            "items": [[item.collection, item.entity, item.oid] for item in location.items],
        }
        unseen = {"_id": location.version, "visible": False}
        try:
            with self._faults():
                self._database[_VERSIONS].update_one(unseen, {"$set": value}, upsert=True)
        except faults.DuplicateKeyError as error:
            raise self._another(location.run) from error

    def _prepare(self) -> None:
        if self._prepared:
            return
        with self._faults():
            self._drop_index_over_two_arrays()
            for collection, keys in INDEXES.items():
                self._database[collection].create_index(keys)
        self._prepared = True

    def _drop_index_over_two_arrays(self) -> None:
        """Drop the index if it exists with this name and these fields: with it artdaq cannot store either."""
        name, keys = OVER_TWO_ARRAYS
        history = self._database[RUN_HISTORY]
        if history.index_information().get(name, {}).get("key") != keys:
            return
        try:
            history.drop_index(name)
        except faults.OperationFailure as error:
            if error.code != _NO_SUCH_INDEX:  # not dropped by another archiver just now
                raise

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible, each by one update. Raises StoreUnavailable if another archiver replaced one."""
        for each in staged:
            if each.changed:
                claimed = {"_id": each.location.version, "claim": _claim(each)}
                with self._faults():
                    shown = self._database[_VERSIONS].update_one(claimed, {"$set": {"visible": True}})
                if not shown.matched_count:
                    raise self._another(each.location.run)

    def _another(self, run: int) -> StoreUnavailable:
        return StoreUnavailable(f"{self._name}: another archiver stores run {run}", hint="let it finish")

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a version by its object ids; every document is checked."""
        oids = [ObjectId(item.oid) for item in location.items if item.collection == RUN_HISTORY]
        with self._faults():
            found = {str(tree["_id"]): tree for tree in self._database[RUN_HISTORY].find({"_id": {"$in": oids}})}

        def read(item: Item) -> documents.Tree:
            if item.oid not in found:
                raise VerificationError(f"document {item.entity} is missing")
            return found[item.oid] | {"_id": {"$oid": item.oid}}

        return versions.export(location, read, lambda item: f"{item.collection}/{item.oid}")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Map errors of the driver to StoreError, with server and remedy. The only place that does."""
        try:
            yield
        except faults.DuplicateKeyError:
            raise
        except faults.ConnectionFailure as error:
            raise StoreUnavailable(
                f"{self._name}: it does not answer", hint="is the server running and reachable?"
            ) from error
        except faults.OperationFailure as error:
            if error.code in _REFUSED:
                raise AccessDenied(f"{self._name}: {_said(error)}", hint="check user, password and roles") from error
            raise StoreError(f"{self._name}: {_said(error)}") from error
        except faults.PyMongoError as error:
            raise StoreError(f"{self._name}: {_said(error)}") from error


def _client(uri: str) -> tuple[pymongo.MongoClient[Tree], str]:
    """A client that is not connected yet, and the name of the database. Raises ConfigError."""
    limits: dict[str, Any] = {name: value for name, value in _LIMITS.items() if name.lower() not in uri.lower()}
    try:
        name = pymongo.uri_parser.parse_uri(uri)["database"]
        if not name:
            raise ValueError("no database")
        return pymongo.MongoClient(uri, appname="run-record-archiver", **limits), name
    except (faults.PyMongoError, ValueError):
        raise ConfigError(  # without the driver's message, which may contain the password
            "artdaq_db.database_uri: not a MongoDB URI with a database",
            hint="mongodb://user@host:27017/database; @ : / and % in a user or password are written %40 %3A %2F %25",
        ) from None


def _stored(tree: documents.Tree) -> Tree:
    """A document as MongoDB holds it. Raises RecordError if artdaq could not read it or it is too large."""
    documents.encode(tree)
    stored = {**tree, "_id": ObjectId(tree["_id"]["$oid"]), _OURS: 1}
    size = len(bson.encode(stored))
    if size > LARGEST:
        entity = tree["entities"][0]["name"]
        raise RecordError(f"MongoDB does not take its documents: {entity} would be {size} bytes, {LARGEST} are allowed")
    return stored


def _claim(staged: Staged) -> str:
    """A text that differs between two tries to store the same version."""
    return f"{staged.location.version} at {staged.assigned}"


def _said(error: faults.PyMongoError) -> str:
    return str(error).partition(", full error")[0]
