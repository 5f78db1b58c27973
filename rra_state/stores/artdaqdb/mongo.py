"""artdaqDB in MongoDB: the documents of artdaq's own MongoDB provider, one collection per artdaqDB collection.

A run's documents are staged so that nothing finds them, and shown in one transaction. A server by itself has none:
there they are shown one after the other, and the documents tell whether a version is whole. Nothing else is stored.
Source: docs/design/artdaqdb.md, MongoDB.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import pymongo.errors as driver
from bson import ObjectId
from pymongo import UpdateOne
from pymongo.client_session import ClientSession
from pymongo.collection import Collection as MongoCollection

from rra_state.base import files, run_numbers
from rra_state.base.errors import ArchiverError, RecordError, StoreUnavailable
from rra_state.records.model import KEPT, Remark, RunDocuments
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb import mongo_layout as layout
from rra_state.stores.artdaqdb.base import COLLECTIONS, RUN_HISTORY, ArtdaqDB, Export, Location, Staged
from rra_state.stores.artdaqdb.document import Tree
from rra_state.stores.artdaqdb.mongo_session import MongoSession

Heads: TypeAlias = dict[str, list[Tree]]

_FEW = 50
"""Runs whose versions are looked up one by one; for more of them the names of all versions are read."""
_VERSIONS_A_QUERY = 500
_NAMED = {"$match": {"version": {"$gte": ""}}}
"""Stage of an aggregation that takes the documents whose version is a text."""
_NEWEST = 20
_DAY = 86_400
_DUPLICATE_KEY = 11000


class MongoDB(ArtdaqDB):
    """An artdaqDB archive in MongoDB; implements `base.ArtdaqDB`. One instance per process."""

    def __init__(self, uri: str, *, schema: bytes | None = None) -> None:
        """uri: `mongodb://user@host/database`. schema: schema.fcl, stored with each run. Raises ConfigError."""
        self._session = MongoSession(uri)
        self._schema = None if schema is None else versions.Schema(schema)
        self._prepared = False

    def describe(self) -> str:
        """The store in one phrase."""
        return f"artdaqDB in {self._session.name}"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError unless the server answers, takes this archiver's writes and would take a run."""
        with self._session.mapped_errors():
            self._session.check()
        if self._schema is not None:
            self._schema.parsed()

    def remarks(self) -> list[str]:
        """What `--check` says beside OK."""
        with self._session.mapped_errors():
            return list(self._session.remarks())

    def stamp(self) -> str:
        """The number of documents, of those not shown yet, and the newest object ids.

        artdaq's tools rewrite a document by adding a copy under an id of the time, and deleting the old one: the number
        stays the same. Ids of other kinds (random, or derived) are few among the newest.
        """
        until = ObjectId.from_datetime(datetime.fromtimestamp(time.time() + _DAY, UTC))
        with self._session.mapped_errors():
            counts = [self._collection(name).estimated_document_count() for name in COLLECTIONS]
            if not any(counts):
                return ""
            counts += [self._collection(name).count_documents(layout.NOT_SHOWN) for name in COLLECTIONS]
            newest = self._collection(RUN_HISTORY).find({"_id": {"$lte": until}}, {"_id": 1}).sort("_id", -1)
            return "-".join(map(str, (*counts, *(each["_id"] for each in newest.limit(_NEWEST)))))

    def runs(self) -> set[int]:
        """Every run with a visible version. The documents are read only of runs that lack some, or have too many."""
        history = self._collection(RUN_HISTORY)
        with self._session.mapped_errors():
            found = self._all_versions()
            named = {run for version in found if (run := layout.run_of(version)) is not None}
            if others := [version for version in found if layout.run_of(version) is None]:
                named |= run_numbers.numbers(map(str, history.distinct("runs.name", {"version": {"$in": others}})))
            unsure = {run for version in self._miscounted(found) if (run := layout.run_of(version)) is not None}
        return (named - unsure) | self.locate(unsure).keys()

    def _miscounted(self, numbers: Mapping[str, int]) -> Iterator[str]:
        """The versions of this archiver that have not as many documents as the first of them says.

        numbers: of documents, by version. MongoDB reads one document of each version, by the index on `version`.
        """
        first = {"_id": "$version", "origin": {"$first": layout.ORIGIN}}
        stages: list[dict[str, Any]] = [_NAMED, {"$sort": {"version": 1}}, {"$group": first}]
        for each in self._collection(RUN_HISTORY).aggregate(stages, allowDiskUse=True):
            manifest = layout.manifest_of({"version": each["_id"], "origin": each["origin"]})
            if manifest is not None and manifest.number != numbers.get(manifest.version):
                yield manifest.version

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest visible version of each of these runs, chosen by the same rules as in a directory (`lookup`)."""
        wanted = set(runs)
        if not wanted:
            return {}
        with self._session.mapped_errors():
            heads = self._heads(wanted)
        return layout.locate(heads, sorted(wanted))

    def _heads(self, runs: set[int]) -> Heads:
        """What is needed of every document of these runs that is shown."""
        few = len(runs) <= _FEW
        found = [name for run in runs for name in self._versions_of(run)] if few else self._all_versions()
        named = [version for version in found if layout.run_of(version) in runs]
        others = [version for version in found if layout.run_of(version) is None]
        heads: Heads = {}
        for collection in COLLECTIONS:
            heads[collection] = [
                tree
                for first in range(0, len(named), _VERSIONS_A_QUERY)
                for tree in self._collection(collection).find(
                    {"version": {"$in": named[first : first + _VERSIONS_A_QUERY]}}, layout.HEAD
                )
            ]
            if few or others:
                # versions that are not named after the run, as people may name them by hand
                otherwise: Tree = {"$in": others} if others else {"$nin": named}
                of_runs = {"runs.name": {"$in": [str(run) for run in runs]}, "version": otherwise}
                heads[collection] += self._collection(collection).find(of_runs, layout.HEAD)
        return heads

    def _versions_of(self, run: int) -> list[str]:
        """The versions named after a run: from `7/` to below `70`, since `0` follows `/`."""
        named = {"version": {"$gte": f"{run}/", "$lt": f"{run}0"}}
        return self._collection(RUN_HISTORY).distinct("version", named)

    def _all_versions(self) -> dict[str, int]:
        """The names of all versions that are shown, and how many documents each has; read from the index alone."""
        found = self._collection(RUN_HISTORY).aggregate(
            [_NAMED, {"$group": {"_id": "$version", "number": {"$sum": 1}}}]
        )
        return {each["_id"]: each["number"] for each in found if not each["_id"].startswith(layout.STAGED)}

    def _collection(self, name: str) -> MongoCollection[Tree]:
        return self._session.database[name]

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(
        self,
        records: Sequence[RunDocuments],
        known: Mapping[int, Location],  # noqa: ARG002 - asked anew, by one query
    ) -> list[Staged | ArchiverError]:
        """Store the documents of each run, which nothing finds yet. What is left of broken tries is removed before."""
        if not records:
            return []
        self._prepare()
        outcomes, plans = versions.plan_each(self, records, self._schema)
        self._remove_broken_tries([plan.staged.location for plan in plans.values()])
        to_store = [plan.record for plan in plans.values()]
        stored = versions.each_by_itself(to_store, lambda record: self._store(plans[record.run]))
        by_run = dict(zip(plans, stored, strict=True))
        return [by_run.get(record.run, outcome) for record, outcome in zip(records, outcomes, strict=True)]

    def _prepare(self) -> None:
        if not self._prepared:
            with self._session.mapped_errors():
                self._session.prepare()
            self._prepared = True

    def _remove_broken_tries(self, locations: Sequence[Location]) -> None:
        """Remove the documents that earlier tries to store these versions left, shown or not.

        Raises StoreUnavailable if another archiver has shown one of them since it was looked for.
        """
        wanted = {location.version: location.run for location in locations}
        ids = [ObjectId(item.oid) for location in locations for item in location.items]
        ours = {"version": {"$in": list(wanted)}, "$or": [layout.OURS, {"_id": {"$in": ids}}]}
        with self._session.mapped_errors():
            for collection in reversed(COLLECTIONS) if wanted else ():
                left = list(self._collection(collection).find(ours, layout.HEAD))
                if collection == RUN_HISTORY and (shown := layout.whole(left)):
                    raise self._another(wanted[min(shown)])
                staged = self._collection(collection).distinct("version", layout.NOT_SHOWN)
                broken = [version for version in staged if layout.version_of(version) in wanted]
                if left or broken:
                    either = [{"_id": {"$in": [tree["_id"] for tree in left]}}, {"version": {"$in": broken}}]
                    self._collection(collection).delete_many({"$or": either})

    def _store(self, plan: versions.PlannedVersion) -> Staged:
        """Raises RecordError if a document is refused for what is in it; then none of the run is left."""
        plan, trees, remarks = _within_depth(plan)
        hidden = [layout.hidden(tree) for tree in trees]
        run = plan.record.run
        try:
            with self._session.mapped_errors(run):
                for collection in COLLECTIONS:
                    if own := [tree for tree in hidden if tree["collection"] == collection]:
                        self._insert(collection, own, run)
        except RecordError:
            self._remove_broken_tries([plan.staged.location])
            raise
        return replace(plan.staged, remarks=remarks)

    def _insert(self, collection: str, trees: Sequence[Tree], run: int) -> None:
        files.announce("insert", collection)
        try:
            self._collection(collection).insert_many(trees, ordered=False)
        except driver.BulkWriteError as error:
            if any(each["code"] == _DUPLICATE_KEY for each in error.details.get("writeErrors", ())):
                raise self._another(run) from error
            raise
        self._session.make_indexes(collection)

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible, each in one transaction. Raises StoreUnavailable if another archiver took one."""
        for each in staged:
            if each.changed:
                files.announce("publish", each.location.version)
                with self._session.mapped_errors():
                    self._session.at_once(partial(self._show, each))

    def _show(self, staged: Staged, session: ClientSession | None) -> None:
        version = layout.staged_version(staged.location.version, staged.assigned)
        items = {name: [item for item in staged.location.items if item.collection == name] for name in COLLECTIONS}
        held = {name: self._collection(name).count_documents({"version": version}, session=session) for name in items}
        if not any(held.values()) and self._is_shown(staged):
            return
        if any(held[name] != len(items[name]) for name in items):
            raise self._another(staged.location.run)
        for name, some in items.items():
            if some:
                files.announce("show", name)
                updates = [UpdateOne(*layout.shown(staged, item)) for item in some]
                self._collection(name).bulk_write(updates, ordered=False, session=session)

    def _is_shown(self, staged: Staged) -> bool:
        shown = {"version": staged.location.version, "configurations.assigned": staged.assigned}
        return self._collection(RUN_HISTORY).find_one(shown, {"_id": 1}) is not None

    def _another(self, run: int) -> StoreUnavailable:
        return StoreUnavailable(f"{self._session.name}: another archiver stores run {run}", hint="let it finish")

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a version by collection, version and entity, whatever the ids; every document is checked."""
        ids = [ObjectId(item.oid) for item in location.items if item.collection == RUN_HISTORY]
        with self._session.mapped_errors():
            # two queries, each by its index
            history = list(self._collection(RUN_HISTORY).find({"version": location.version}))
            if not lookup.is_all_ours(location):
                history += self._collection(RUN_HISTORY).find(
                    {"_id": {"$in": ids}, "version": {"$ne": location.version}}
                )
        found = layout.documents_of(location, history)
        return versions.export(location, found.get, lambda item: f"{item.collection}/{item.oid}")


def _within_depth(
    plan: versions.PlannedVersion,
) -> tuple[versions.PlannedVersion, list[Tree], tuple[Remark, ...]]:
    """The plan, its documents, and a remark for each file that is kept as text since MongoDB takes no such depth."""
    trees = list(plan.trees())
    deep = {
        tree["entities"][0]["name"] for tree in trees if tree["collection"] == RUN_HISTORY and layout.too_deep(tree)
    }
    if not deep:
        return plan, trees, ()
    kept = tuple(
        replace(each, kept=layout.TOO_DEEP, snippet=None) if each.entity in deep else each
        for each in plan.record.documents
    )
    plan = replace(plan, record=replace(plan.record, documents=kept))
    names = sorted(each.name for each in kept if each.entity in deep)
    return plan, list(plan.trees()), tuple(Remark(name, None, f"{layout.TOO_DEEP}; {KEPT}") for name in names)
