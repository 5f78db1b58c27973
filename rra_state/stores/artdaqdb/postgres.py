"""artdaqDB in PostgreSQL: the same documents as in a directory, for more than 20,000 runs.

A run's documents and its version are staged in one transaction; publishing makes the version visible.
Tables: sql/001_*.sql.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import starmap
from typing import Any, TypeAlias

import psycopg

from rra_state.base import files
from rra_state.base.errors import AccessDenied, ArchiverError, RecordError, StoreUnavailable
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb.base import RUN_HISTORY, RUNS_AT_ONCE, ArtdaqDB, Export, Item, Location, Outline, Staged
from rra_state.stores.artdaqdb.postgres_session import OF_CONTENT, Connection, PostgresSession, migrate, queries

Row: TypeAlias = tuple[Any, ...]


class PostgresDB(ArtdaqDB):
    """An artdaqDB archive in PostgreSQL; implements `base.ArtdaqDB`. One instance per process; not for threads."""

    def __init__(self, uri: str, *, schema: bytes | None = None) -> None:
        """uri: `postgresql://user@host/database`. schema: schema.fcl, stored with each run. Raises ConfigError."""
        self._session = PostgresSession(uri)
        self._schema = None if schema is None else versions.Schema(schema)
        self._prepared = False

    def describe(self) -> str:
        """The store in one phrase."""
        return f"artdaqDB in {self._session.name}"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError unless the tables can be read and written, or created if missing. All is rolled back."""
        exists = self._exists()
        [(allowed, user)] = self._rows("may_write" if exists else "may_make_schema")
        if not allowed:
            wanted = "write its tables" if exists else "make its tables"
            raise AccessDenied(
                f"{self._session.name}: role {user} may not {wanted}",
                hint="grant the archiver's role what docs/stores.md says",
            )
        self._session.do(_try_writing)
        if self._schema is not None:
            self._schema.parsed()

    def stamp(self) -> str:
        """A text that changes with every change of the visible versions; empty if there are no tables yet."""
        return str(self._rows("stamp")[0][0]) if self._exists() else ""

    def runs(self) -> set[int]:
        """Every run with a visible version."""
        return {run for (run,) in self._rows("runs")} if self._exists() else set()

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The newest visible version of each of these runs; runs without one are left out."""
        wanted = sorted(set(runs))
        if not wanted or not self._exists():
            return {}
        return {
            run: Location(run, configuration, version, tuple(Item(*item) for item in items))
            for run, configuration, version, items in self._rows("locate", {"runs": wanted})
        }

    def outlines(self, runs: Iterable[int], needed: Collection[str]) -> Iterator[Outline]:
        """The same versions, each with whether it has the needed entities, counted by the server."""
        wanted = sorted(set(runs))
        for first in range(0, len(wanted) if self._exists() else 0, RUNS_AT_ONCE):
            some = {"runs": wanted[first : first + RUNS_AT_ONCE], "needed": sorted(set(needed))}
            yield from starmap(Outline, self._rows("outlines", some))

    def _exists(self) -> bool:
        return self._prepared or bool(self._rows("has_history")[0][0])

    def _rows(self, name: str, arguments: Mapping[str, Any] | None = None) -> list[Row]:
        return self._session.do(lambda connection: connection.execute(queries()[name], arguments).fetchall())

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(
        self,
        records: Sequence[RunDocuments],
        known: Mapping[int, Location],  # noqa: ARG002 - asked anew, by one query
    ) -> list[Staged | ArchiverError]:
        """Store documents, not yet visible: one transaction per run, all runs of a call in one pipeline."""
        self._prepare()
        outcomes, plans = versions.plan_each(self, records, self._schema)
        errors = self._store(list(plans.values()))
        return [errors.get(record.run, outcome) for record, outcome in zip(records, outcomes, strict=True)]

    def _prepare(self) -> None:
        if not self._prepared:
            self._session.do(migrate)
            self._prepared = True

    def _store(self, plans: Sequence[versions.PlannedVersion]) -> dict[int, ArchiverError]:
        """Stage these versions. Returns the errors of single runs: if the pipeline fails, each run is tried alone."""
        try:
            return self._session.do(partial(_pipelined, plans=plans))
        except (*OF_CONTENT, psycopg.IntegrityError):
            pass  # one of the runs is refused: try each alone to find out which
        errors: dict[int, ArchiverError] = {}
        for plan in plans:
            try:
                errors |= self._session.do(partial(_pipelined, plans=[plan]))
            except psycopg.IntegrityError as error:
                raise StoreUnavailable(
                    f"{self._session.name}: another archiver stores run {plan.record.run}", hint="let it finish"
                ) from error
            except OF_CONTENT as error:
                message = f"PostgreSQL does not take its documents: {error.diag.message_primary or error}"
                errors[plan.record.run] = RecordError(message, run=plan.record.run)
        return errors

    def publish(self, staged: Sequence[Staged]) -> None:
        """Make staged runs visible, each in its own transaction."""
        changed = [each for each in staged if each.changed]
        if changed:
            self._session.do(partial(_publish, staged=changed, name=self._session.name))

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a version by its object ids; every document is checked."""
        return next(self.exports([location]))

    def exports(self, locations: Sequence[Location]) -> Iterator[Export]:
        """Read these versions by one query."""
        oids = [item.oid for location in locations for item in location.items if item.collection == RUN_HISTORY]
        found: dict[str, documents.Tree] = dict(self._rows("documents", {"oids": oids}))
        for each in locations:
            yield versions.export(each, lambda item: found.get(item.oid), lambda item: f"{item.collection}/{item.oid}")


def _try_writing(connection: Connection) -> None:
    """Make missing tables and stage a version without documents, in a transaction that is rolled back."""
    arguments = {"configuration": "check", "version": "check", "number": 0, "run": 0, "assigned": documents.timestamp()}
    with connection.transaction(force_rollback=True):
        migrate(connection)
        connection.execute(queries()["stage_version"], arguments)


def _pipelined(connection: Connection, plans: Sequence[versions.PlannedVersion]) -> dict[int, ArchiverError]:
    """Stage each version in a transaction. Returns the errors of runs whose documents cannot be made."""
    errors: dict[int, ArchiverError] = {}
    with connection.pipeline(), connection.cursor() as cursor:
        for plan in plans:
            try:
                rows = list(_document_rows(plan))
            except ArchiverError as error:
                if error.stops_cycle:
                    raise
                errors[plan.record.run] = error
                continue
            _stage(cursor, plan, rows)
    return errors


def _document_rows(plan: versions.PlannedVersion) -> Iterator[dict[str, Any]]:
    for tree in plan.trees():
        yield {
            "collection": tree["collection"],
            "oid": tree["_id"]["$oid"],
            "entity": tree["entities"][0]["name"],
            "configuration": plan.version.configuration,
            "version": plan.version.version,
            "document": documents.encode(tree).decode("ascii"),
        }


def _stage(cursor: psycopg.Cursor[Row], plan: versions.PlannedVersion, rows: Sequence[Mapping[str, Any]]) -> None:
    named, version = queries(), plan.version
    arguments = {
        "configuration": version.configuration,
        "version": version.version,
        "number": lookup.version_number(version.configuration, version.version),
        "run": version.run,
        "assigned": version.assigned,
    }
    cursor.execute("BEGIN")
    cursor.execute(named["stage_version"], arguments)
    cursor.execute(named["clear_version"], arguments)
    cursor.executemany(named["stage_document"], rows)
    files.announce("commit", version.configuration)
    cursor.execute("COMMIT")


def _publish(connection: Connection, staged: Sequence[Staged], name: str) -> None:
    """Make these versions visible. Raises StoreUnavailable if another archiver replaced one since it was staged."""
    named = queries()
    arguments = [
        {"configuration": each.location.configuration, "version": each.location.version, "assigned": each.assigned}
        for each in staged
    ]
    with connection.pipeline():
        for each in arguments:
            files.announce("publish", each["configuration"])
            connection.execute(named["publish"], each)
        shown = [connection.execute(named["published"], each) for each in arguments]
    for one, cursor in zip(staged, shown, strict=True):
        if cursor.fetchone() != (True,):
            run = one.location.run
            raise StoreUnavailable(f"{name}: another archiver stores run {run}", hint="let it finish")
