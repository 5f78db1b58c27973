"""The connection to a MongoDB: errors, transactions, indexes, and what `--check` looks at. Knows no runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import Any

from bson.errors import InvalidDocument
from pymongo import ReadPreference
from pymongo import errors as driver
from pymongo.client_session import ClientSession
from pymongo.database import Database
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern

from rra_state.base.errors import AccessDenied, RecordError, StoreError, StoreUnavailable
from rra_state.stores.artdaqdb import mongo_uri, versions
from rra_state.stores.artdaqdb.base import COLLECTIONS, RUN_HISTORY, SYSTEM_LAYOUT, SYSTEM_METADATA
from rra_state.stores.artdaqdb.document import Tree

INDEXES: Mapping[str, Collection[str]] = {RUN_HISTORY: ("version", "runs.name"), SYSTEM_LAYOUT: ("version",)}
"""Fields with an index of their own. MongoDB refuses a document in which two fields of an index are arrays (171)."""
OVER_TWO_ARRAYS = "configurations.name_1_entities.name_1", [("configurations.name", 1), ("entities.name", 1)]
"""Name and fields of an index that earlier versions made in RunHistory: with it no document can be added."""
ARRAYS = ("configurations", "entities", "runs", "aliases", "comments", "attachments")
"""The keys of a document that hold arrays."""
EARLIER = "rra_versions"
"""Collection of an earlier version of the archiver. artdaq's tools fail at it; nothing here needs it."""
_TRIED = "rra:check"
"""Version of the document by which `check` tries to write."""
_WRITES = ("find", "insert", "update", "remove")
_DENIED = {13, 18}
"""Codes: unauthorized, authentication failed."""
_TRANSACTIONS, _MAKES_COLLECTIONS = 7, 9
"""Versions of the wire protocol: MongoDB 4.0 has transactions, 4.4 makes collections in them."""
_NO_SUCH_INDEX = 27
_PARALLEL_ARRAYS = 171
_ELECTION = {64, 91, 100, 189, 10107, 11600, 11602, 13435, 13436}
"""Codes: write concern not reached, shutdown, no such member, stepped down, not primary, interrupted, not primary."""
_OF_CONTENT = {2, 9, 14, 15, 22, 52, 54, 55, 56, 57, 121, 10334, 17280, 17419, 17420}
"""Codes by which MongoDB refuses a document for what is in it. Source: MongoDB, Error Codes."""
_OF_MESSAGE = {15, 22, 10334}
"""Those of them by which it refuses the message that has the document: nested too deeply, damaged, too large."""


class MongoSession:
    """One client of a MongoDB, and the database that the URI names."""

    def __init__(self, uri: str) -> None:
        """Raises ConfigError."""
        self._uri = uri
        self._client, name = mongo_uri.connect(uri)
        weakref.finalize(self, self._client.close)
        self.database: Database[Tree] = self._client.get_database(
            name,
            read_preference=ReadPreference.PRIMARY,
            read_concern=ReadConcern("majority"),
            write_concern=WriteConcern("majority", j=True),
        )
        hosts = mongo_uri.without_secrets(uri).partition("://")[2].partition("/")[0]
        self.name = f"MongoDB at {hosts}, database {name}"
        self._indexed: set[str] = set()

    # ---- transactions ------------------------------------------------------------------------------------------------

    @cached_property
    def _hello(self) -> Tree:
        """What the server says of itself. `isMaster` is known to every version, `hello` since 4.4."""
        return self.database.command("isMaster")

    @property
    def has_transactions(self) -> bool:
        """Whether the server is in a replica set of MongoDB 4.0 or newer; one by itself has none."""
        in_set = "setName" in self._hello or self._hello.get("msg") == "isdbgrid"
        return in_set and self._hello.get("maxWireVersion", 0) >= _TRANSACTIONS

    def at_once(self, change: Callable[[ClientSession | None], None]) -> None:
        """Make a change in one transaction, or step by step if the server has no transactions."""
        if not self.has_transactions:
            change(None)
            return
        with self._client.start_session() as session:
            session.with_transaction(
                change,
                read_concern=ReadConcern("snapshot"),
                write_concern=WriteConcern("majority", j=True),
                read_preference=ReadPreference.PRIMARY,
            )

    # ---- indexes and metadata ----------------------------------------------------------------------------------------

    def prepare(self) -> None:
        """Drop our old index, and leave the document in SystemMetadata that artdaq's provider leaves."""
        self._drop_index_over_two_arrays()
        metadata = self.database[SYSTEM_METADATA]
        if metadata.count_documents({}, limit=1) == 0:
            metadata.insert_one(versions.system_metadata(mongo_uri.without_secrets(self._uri)))

    def make_indexes(self, collection: str) -> None:
        """Make the indexes of a collection that has documents: one that is empty makes artdaq's export fail.

        Without the right to make them the archive works as well, only slower: `remarks` names them.
        """
        if collection in self._indexed:
            return
        try:
            for field in INDEXES[collection]:
                self.database[collection].create_index(field)
        except driver.OperationFailure as error:
            if error.code not in _DENIED:
                raise
        self._indexed.add(collection)

    def _drop_index_over_two_arrays(self) -> None:
        """Drop the index if it exists with this name and these fields: with it artdaq cannot store either."""
        name, keys = OVER_TWO_ARRAYS
        history = self.database[RUN_HISTORY]
        if history.index_information().get(name, {}).get("key") != keys:
            return
        try:
            history.drop_index(name)
        except driver.OperationFailure as error:
            if error.code != _NO_SUCH_INDEX:  # not dropped by another archiver just now
                raise

    # ---- checks ------------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Try to write, in a transaction that is rolled back, or by changing no document. Raises StoreError."""
        allowed = self._allowed()
        if allowed is not None and (lacking := [action for action in _WRITES if action not in allowed]):
            hint = "grant the archiver's user the role readWrite on the database"
            raise AccessDenied(f"{self.name}: the user may not {', '.join(lacking)} documents", hint=hint)
        if names := [name for name in self._over_two_arrays() if name != OVER_TWO_ARRAYS[0]]:
            message = f"{self.name}: index {names[0]} covers two arrays, so MongoDB refuses every document"
            raise StoreError(message, hint=f"drop it: {self._drop_index(names[0])}")
        history = self.database[RUN_HISTORY]
        exists = RUN_HISTORY in self.database.list_collection_names()
        if self.has_transactions and (exists or self._hello["maxWireVersion"] >= _MAKES_COLLECTIONS):
            with self._client.start_session() as session, session.start_transaction():
                made = history.insert_one({"version": _TRIED}, session=session).inserted_id
                history.delete_one({"_id": made}, session=session)
                session.abort_transaction()
        elif exists:
            history.update_one({"_id": _TRIED}, {"$set": {"version": _TRIED}})
            history.delete_one({"_id": _TRIED})

    def remarks(self) -> Iterator[str]:
        """What a person should know who sets the archiver up, a sentence each."""
        name = self._hello.get("setName")
        of_set = f"replica set {name}" if name else "a server by itself, without transactions"
        yield f"MongoDB {self._client.server_info().get('version', 'of unknown version')}, {of_set}"
        collections = self.database.list_collection_names()
        if EARLIER in collections:
            drop = self._mongosh(f"{EARLIER}.drop()")
            yield f"collection {EARLIER} of an earlier version makes artdaq's tools fail; drop it: {drop}"
        if OVER_TWO_ARRAYS[0] in self._over_two_arrays():
            drop = self._drop_index(OVER_TWO_ARRAYS[0])
            yield f"index {OVER_TWO_ARRAYS[0]} makes every write fail; the next cycle drops it, or you: {drop}"
        allowed = self._allowed()
        if allowed is not None and "createIndex" not in allowed:
            for collection in filter(collections.__contains__, COLLECTIONS):
                indexed = {fields["key"][0][0] for fields in self.database[collection].index_information().values()}
                for field in set(INDEXES[collection]) - indexed:
                    make = self._mongosh(f'{collection}.createIndex({{"{field}": 1}})')
                    yield f"listing is slow without an index, which this user may not make: {make}"
        archive = f"{self.database.name}_archive"
        if archive in self._client.list_database_names():
            yield f"is {archive} meant? It exists, and conftool keeps run records there"

    def _over_two_arrays(self) -> list[str]:
        """The indexes of RunHistory that make MongoDB refuse every document."""
        listed = self.database[RUN_HISTORY].index_information()
        return [
            name
            for name, index in listed.items()
            if len({field.partition(".")[0] for field, _ in index["key"]}.intersection(ARRAYS)) > 1
        ]

    def _allowed(self) -> set[str] | None:
        """What the user may do in the database; None if the server asks for no user."""
        found = self.database.command("connectionStatus", showPrivileges=True).get("authInfo", {})
        if not found.get("authenticatedUsers"):
            return None
        return {
            action
            for each in found.get("authenticatedUserPrivileges", ())
            if each["resource"].get("anyResource")
            or (each["resource"].get("db") in ("", self.database.name) and not each["resource"].get("collection"))
            or each["resource"] == {"db": self.database.name, "collection": RUN_HISTORY}
            for action in each["actions"]
        }

    def _drop_index(self, name: str) -> str:
        return self._mongosh(f'{RUN_HISTORY}.dropIndex("{name}")')

    def _mongosh(self, call: str) -> str:
        return f"mongosh '{mongo_uri.without_secrets(self._uri)}' --eval 'db.{call}'"

    # ---- errors ------------------------------------------------------------------------------------------------------

    @contextmanager
    def mapped_errors(self, run: int | None = None) -> Iterator[None]:
        """Map errors of the driver, with the server's reason and a remedy. The only place that does.

        Raises RecordError if a document is refused for what is in it, else StoreError. run: whose documents they are.
        """
        try:
            yield
        except (InvalidDocument, driver.DocumentTooLarge) as error:
            raise RecordError(f"MongoDB does not take its documents: {error}", run=run) from error
        except driver.ConnectionFailure as error:
            raise self._unavailable(error) from error
        except driver.OperationFailure as error:
            raise self._refused(error, run) from error
        except driver.PyMongoError as error:
            raise StoreError(f"{self.name}: {error}") from error

    def _refused(self, error: driver.OperationFailure, run: int | None) -> StoreError | RecordError:
        code, reason = _reason(error)
        said = f"{self.name}: {reason}"
        of_document = isinstance(error, driver.BulkWriteError) and bool((error.details or {}).get("writeErrors"))
        if code in (_OF_CONTENT if of_document else _OF_MESSAGE) and run is not None:
            return RecordError(f"MongoDB does not take its documents: {reason}", run=run)
        if code in _DENIED:
            return AccessDenied(said, hint="check user, password and roles")
        if code in _ELECTION or error.has_error_label("TransientTransactionError"):
            return StoreUnavailable(said, hint="the replica set had no primary; the next cycle goes on")
        hint = "--check names the index and how to drop it" if code == _PARALLEL_ARRAYS else None
        return StoreError(said, hint=hint)

    def _unavailable(self, error: driver.ConnectionFailure) -> StoreError:
        wanted = mongo_uri.set_name(self._uri)
        if isinstance(error, driver.ServerSelectionTimeoutError) and wanted is not None:
            for host, name in self._set_names():
                if name != wanted:
                    is_in = f"is in replica set {name}" if name else "is in no replica set"
                    message = f"{self.name}: {host} {is_in}, not in {wanted}"
                    return StoreError(message, hint="correct replicaSet in artdaq_db.database_uri")
        if isinstance(error, driver.NotPrimaryError):
            said = f"{self.name}: {_reason_of_text(error)}"
            return StoreUnavailable(said, hint="the replica set had no primary; the next cycle goes on")
        return StoreUnavailable(f"{self.name}: it does not answer", hint="is the server running and reachable?")

    def _set_names(self) -> Iterator[tuple[str, str | None]]:
        """The servers of the URI that answer, and the name of each one's replica set."""
        for client in mongo_uri.servers_of(self._uri):
            with client:
                try:
                    hello = client.admin.command("isMaster")
                except driver.PyMongoError:
                    continue  # this one is away
                yield "{}:{}".format(*(client.address or ("", ""))), hello.get("setName")


def _reason(error: driver.OperationFailure) -> tuple[int | None, str]:
    """The code and the words of the server; of a bulk write those of its first error."""
    details: Mapping[str, Any] = error.details or {}
    concern = details.get("writeConcernError")
    first = next(
        iter(
            [*details.get("writeErrors", ()), *details.get("writeConcernErrors", ()), *([concern] if concern else ())]
        ),
        details,
    )
    code = first.get("code", error.code)
    return code, f"{first.get('errmsg') or _reason_of_text(error)} (code {code})"


def _reason_of_text(error: driver.PyMongoError) -> str:
    return str(error).partition(", full error")[0]
