"""UconDB, the permanent store: one blob per run, with the run number as key, through the REST interface.

A blob that is reported as stored was read back and compared. A put is done, or raises `Conflict` or
`StoreUnavailable`, after which `workers.worker` tries the run again.
Source: docs/design/ucondb.md, Rules of the client.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Iterable, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import requests

from rra_state.base.concurrency import Slots
from rra_state.base.errors import (
    AccessDenied,
    ArchiverError,
    Conflict,
    NotListed,
    StoreError,
    StoreUnavailable,
    VerificationError,
)
from rra_state.records.blob import same
from rra_state.stores.ucondb.answers import Answers
from rra_state.stores.ucondb.http import Transport, said_by
from rra_state.stores.ucondb.values import BlobVersion, StoredBlob

if TYPE_CHECKING:
    from rra_state.config.models import UconDBSection
    from rra_state.stores.ucondb.sql import Tables

_KEYS_PER_LOOKUP = 500


class UconDB:
    """One object of one folder of a UconDB server.

    settings: the section `ucon_db`. slots: limits the requests that all processes have in progress. Raises ConfigError
    for a bad `database_uri`.
    """

    def __init__(self, settings: UconDBSection, slots: Slots | None = None) -> None:
        self._folder, self._object = settings.folder_name, settings.object_name
        self._http = Transport(settings, slots)
        uri = settings.database_uri.get_secret_value() if settings.database_uri else None
        self._tables: Tables | None = None
        if uri:
            from rra_state.stores.ucondb.sql import Tables  # noqa: PLC0415 - it loads psycopg, which takes 0.2 s

            self._tables = Tables(uri, self._folder, self._object, settings.timeout_seconds)
        self._same_folder = False
        self.name = self._http.name
        self._answers = Answers(self.name)

    def describe(self) -> str:
        """The store in one phrase, without secrets: `UconDB at https://host:9443/x/app, folder f, object o`."""
        return f"{self.name}, folder {self._folder}, object {self._object}"

    def check(self) -> str:
        """Server, version and folder in one line. Raises StoreError. Only reads: the password is not checked.

        Does not use /probe, which answers 200 with PostgreSQL down. Source: docs/design/ucondb.md, Requests.
        """
        answer = self._http.ask("GET", "version", {})
        version = said_by(answer)
        if answer.status_code != HTTPStatus.OK or not re.fullmatch(r"\d+(\.\d+)+\S*", version):
            raise self._http.error(answer)
        namespace, _, folder = self._folder.rpartition(".")
        answer = self._http.ask("GET", "folders", {"namespace": namespace} if namespace else {})
        if answer.status_code != HTTPStatus.OK:
            raise self._http.error(answer)
        # The server lists folders of its own namespace without the namespace, those of another one with it.
        if not {folder, self._folder} & {str(one) for one in self._answers.listing(answer)}:
            raise self._http.no_folder()
        tables = self._checked_tables()
        listed = f", {len(tables.listing())} keys by SQL" if tables else ""
        return f"{self.name}: version {version}, folder {self._folder}{listed}"

    def try_put(self) -> None:
        """Have a put refused for its `tv`, which the server does once it has accepted user and password.

        Stores nothing, also in an empty folder. Raises StoreError if the server, or a proxy, would not take a put.
        Source: docs/design/ucondb.md, Digest authentication.
        """
        answer = self._http.write(f"data/{self._folder}/{self._object}", {"key": "1", "tv": "x"}, b"")
        if answer.status_code == HTTPStatus.OK:
            raise StoreError(f"{self.name}: a put is answered by a page that is not UconDB's. Check the proxy between.")
        if answer.status_code != HTTPStatus.INTERNAL_SERVER_ERROR or "could not convert string" not in said_by(answer):
            raise self._http.error(answer)

    def runs(self) -> set[int]:
        """Every run that has a blob on the server; see `versions`. Raises StoreError."""
        return {int(record["key"]) for record in self._answers.of_runs(self._listed())}

    def versions(self) -> dict[int, BlobVersion]:
        """The current version of every run; keys that are not run numbers are left out. Raises StoreError.

        The server sends rows after "200 OK", so a listing can be cut off: it is then not JSON, and raises. An object
        exists from its first put on; before that the listing is empty. With `database_uri` the listing is read by SQL.
        Source: docs/design/ucondb.md, Listings.
        """
        return self._answers.by_run(self._listed())

    def _listed(self) -> Sequence[Any]:
        """The listing of all keys, from the server or by SQL."""
        tables = self._checked_tables()
        return self._listed_by_server() if tables is None else tables.listing()

    def _listed_by_server(self) -> list[Any]:
        answer = self._ask_object("GET", "versions")
        return [] if answer is None else self._answers.listing(answer)

    def _checked_tables(self) -> Tables | None:
        """The tables to read by SQL. Raises AccessDenied if they are of another folder than the server's.

        Without a namespace in `folder_name` the server takes its own, which is not always `public`, and the database
        may be a copy. Its realm and the newest version are compared once per process.
        Source: docs/design/ucondb.md, Tables.
        """
        if self._tables is not None and not self._same_folder:
            realm = self._http.realm(f"data/{self._folder}/{self._object}")
            if realm not in (None, self._tables.folder):
                raise AccessDenied(
                    f"{self.name}: its folder is {realm}, but ucon_db.database_uri reads {self._tables.folder}",
                    hint=f"set ucon_db.folder_name: {realm}",
                )
            if not (self._shows_newest(self._tables) or self._shows_newest(self._tables)):
                raise AccessDenied(
                    f"{self.name}: its folder {self._folder} is not the one that ucon_db.database_uri reads: "
                    "the newest version there is not the server's",
                    hint="give the database of this server, or leave out ucon_db.database_uri",
                )
            self._same_folder = True
        return self._tables

    def _shows_newest(self, tables: Tables) -> bool:
        """Whether the server has the newest version of the tables; if they have none, whether it lists none either.

        A version may be stored or overridden between the two looks. So the caller asks again after a no.
        """
        newest = tables.newest()
        if newest is None:
            return not self._listed_by_server()
        answer = self._ask_object("POST", "lookup_versions", {"ids": [newest["id"]]})
        found = [] if answer is None else self._answers.records(answer)
        names = ("id", "data_key", "data_size")
        return [newest[name] for name in names] in [[record.get(name) for name in names] for record in found]

    def lookup(self, runs: Iterable[int]) -> dict[int, BlobVersion]:
        """The current version of each of these runs that the server has. Raises StoreError.

        A run that is missing in the result may still be stored: an answer that was cut off looks complete. `put` is
        safe all the same, since the server refuses a second blob with the same key.
        Source: docs/design/ucondb.md, Listings.
        """
        wanted, found = sorted(set(runs)), dict[int, BlobVersion]()
        for start in range(0, len(wanted), _KEYS_PER_LOOKUP):
            # Keys as text: for numbers the server answers 200 and nothing. Never an empty list: that gives a 500.
            keys = [str(run) for run in wanted[start : start + _KEYS_PER_LOOKUP]]
            answer = self._ask_object("POST", "lookup_versions", {"keys": keys})
            if answer is None:
                return {}
            found.update(self._answers.by_run(self._answers.records(answer)))
        return {run: found[run] for run in wanted if run in found}

    def get(self, run: int) -> tuple[bytes, BlobVersion] | None:
        """The blob of a run, with size and checksum checked; None if there is none. Raises StoreError.

        Blobs come without Content-Length: a broken connection looks like the end.
        Source: docs/design/ucondb.md, Listings.
        Raises VerificationError if the blob is damaged or lost on the server.
        """
        answer = self._ask_for(run)
        if answer.status_code == HTTPStatus.NOT_FOUND and said_by(answer) == "Version not found":
            return None
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and self._object_is_missing(run):
            return None
        if answer.status_code != HTTPStatus.OK:
            raise self._not_given(run, answer, self._http.error(answer))
        version = self._answers.described(answer)
        if version.run != run:
            raise StoreError(
                f"{self.name}: asked for key {run}, answered with key {version.run}. Check the proxy between."
            )
        if len(answer.content) < version.size:
            cut_off = StoreUnavailable(
                f"{self.name}: the blob of run {run} came back cut off "
                f"({len(answer.content)} of {version.size} bytes). A later cycle tries again."
            )
            raise self._not_given(run, answer, cut_off)
        if not version.describes(answer.content):
            raise VerificationError(
                f"{self.name}: the blob came back damaged ({len(answer.content)} of {version.size} bytes, "
                f"adler32 {zlib.adler32(answer.content)} instead of {version.adler32})",
                run=run,
                hint=_DAMAGED,
            )
        return answer.content, version

    def read(self, run: int) -> tuple[bytes, BlobVersion] | None:
        """The same as `get`, but read by SQL if `database_uri` is set: faster for many runs.

        A blob that SQL does not give whole is read from the server: the contents may be in another database, and only
        the server knows whether one is damaged.
        """
        tables = self._checked_tables()
        if tables is not None:
            found = tables.one(str(run))
            if found is None:
                return None
            version = self._answers.version(found[0])
            if found[1] is not None and version.describes(found[1]):
                return found[1], version
        return self.get(run)

    def put(self, run: int, blob: bytes, *, override_of: BlobVersion | None = None) -> StoredBlob:
        """Store the blob of a run and read it back. A blob that the server has already is compared, not overwritten.

        override_of: the version that this blob replaces, if it is still the current one. The protocol has no
        compare-and-swap: a second writer at the same moment is not detected.
        Raises Conflict (other content is stored), VerificationError, RecordError (too large), StoreError. After
        StoreUnavailable the blob may or may not be stored: the same call again finds out.
        """
        if override_of is not None:
            done = self._already(run, blob, override_of)
            if done is not None:
                return done
        try:
            identity = self._send(run, blob, override=override_of is not None)
        except AccessDenied:
            raise  # refused before anything was stored
        except StoreError as failed:
            # The answer does not show whether the blob was stored: a duplicate gives a 500 like any other error, and a
            # put that timed out may have been stored. So the key is read.
            # Source: docs/design/ucondb.md, After an answer that is not 200.
            return self._outcome_of_failed_put(run, blob, override_of, failed)
        return self._read_back(run, blob, identity)

    def _send(self, run: int, blob: bytes, *, override: bool) -> int:
        """Send one put. Returns the id of the new version. After any StoreError but AccessDenied it may be stored."""
        query = {"full_meta": "yes", "tag": str(run), "key": str(run), "override": "yes" if override else "no"}
        answer = self._http.write(f"data/{self._folder}/{self._object}", query, blob)
        if answer.status_code != HTTPStatus.OK:
            raise self._http.error(answer, run=run)
        return self._answers.version(self._answers.parsed(answer)).id

    def _outcome_of_failed_put(
        self, run: int, blob: bytes, override_of: BlobVersion | None, failed: StoreError
    ) -> StoredBlob:
        """The stored blob if the failed put was stored all the same; otherwise raises `failed` or Conflict.

        If that cannot be read, the error of the read is raised, unless the put was refused for a reason of its own.
        """
        try:
            done = self._already(run, blob, override_of)
            if done is None and override_of is None and run in self.lookup([run]):
                done = self._already(run, blob, None)  # stored since the first read
                if done is None:
                    raise self._lost(run, "answers that there is none") from failed
        except StoreError as unread:
            raise (unread if isinstance(failed, StoreUnavailable) else failed) from None
        if done is None and _EXISTS in failed.message:
            raise not_listed(run) from failed
        if done is None:
            raise failed
        return done

    def _already(self, run: int, blob: bytes, override_of: BlobVersion | None) -> StoredBlob | None:
        """The stored blob if it equals this one; None if nothing is stored, or only the version to replace."""
        current = self.get(run)
        if current is None and override_of is None:
            return None
        if current is None:
            raise Conflict(f"{self.name}: the version to replace is gone", run=run, hint=_DECIDE)
        content, version = current
        if same(content, blob):
            return StoredBlob(version, already=True, content=content)
        if override_of is not None and (version.id, version.adler32) == (override_of.id, override_of.adler32):
            return None
        raise Conflict(
            f"{self.name}: holds other content under this key ({version.size} bytes, adler32 {version.adler32}, "
            f"version {version.id}; this record gives {len(blob)} bytes, adler32 {zlib.adler32(blob)}); "
            "nothing was changed",
            run=run,
            hint=_DECIDE,
        )

    def _read_back(self, run: int, blob: bytes, identity: int) -> StoredBlob:
        """Read the stored blob and compare it byte for byte. Raises VerificationError."""
        current = self.get(run)
        if current is None:
            raise VerificationError(f"{self.name}: took the blob but does not show it", run=run, hint=_NOT_MARKED)
        content, version = current
        if content != blob or version.id != identity:
            raise VerificationError(
                f"{self.name}: took {len(blob)} bytes as version {identity} "
                f"but gives back {len(content)} other bytes as version {version.id}",
                run=run,
                hint=_NOT_MARKED,
            )
        return StoredBlob(version, already=False, content=content)

    def _ask_for(self, run: int) -> requests.Response:
        return self._http.ask("GET", f"data/{self._folder}/{self._object}", {"key": str(run)})

    def _not_given(self, run: int, answer: requests.Response, error: ArchiverError) -> ArchiverError:
        """`error`, an error of the store, or a VerificationError if only this run's content is lost.

        It is lost if the server still lists the run and gives the same answer again. After a broken connection or with
        the database away it would not.
        """
        if answer.status_code not in _WITHOUT_CONTENT:
            return error
        try:
            listed, again = run in self.lookup([run]), self._ask_for(run)
        except StoreError:
            return error
        if not listed or _outline(again) != _outline(answer):
            return error
        size = f"gives {len(answer.content)} bytes, too few"
        return self._lost(run, size if answer.ok else f"answers {said_by(answer)} ({answer.status_code})")

    def _lost(self, run: int, instead: str) -> VerificationError:
        """The error of a run that the server lists without its whole content. The cycle goes on with the others."""
        return VerificationError(
            f"{self.name}: lists this run but cannot give its content: it {instead}", run=run, hint=_DAMAGED
        )

    def _ask_object(self, method: str, path: str, wanted: Any = None) -> requests.Response | None:
        """The answer to a request about the object; None if the object does not exist yet. Raises StoreError."""
        body = None if wanted is None else json.dumps(wanted).encode()
        answer = self._http.ask(method, path, {"folder": self._folder, "object": self._object}, body)
        if answer.status_code == HTTPStatus.NOT_FOUND and re.fullmatch(r"Object \S+ not found", said_by(answer)):
            return None
        if answer.status_code != HTTPStatus.OK:
            raise self._http.error(answer)
        return answer

    def _object_is_missing(self, run: int) -> bool:
        """Whether the object does not exist yet: a read gives a 500 like any other error, only the lookup a 404."""
        try:
            return self._ask_object("POST", "lookup_versions", {"keys": [str(run)]}) is None
        except StoreUnavailable:
            return False


def not_listed(run: int) -> NotListed:
    """The error of a run whose key UconDB refuses to store again, and does not list."""
    return NotListed(run=run, hint="UconDB's administrator has to look at the row of this key; then retry")


def _outline(answer: requests.Response) -> tuple[int, int]:
    """Status and size of an answer, to compare two answers: the texts of error pages differ."""
    return answer.status_code, len(answer.content) if answer.ok else 0


_EXISTS = "already exists"
"""In every answer to a put whose key is taken. Source: docs/design/ucondb.md, Answers to a put."""
_WITHOUT_CONTENT = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR)
"""Statuses with which UconDB itself, not a proxy, answers for a key whose content is lost."""
_NOT_MARKED = "not counted as archived: keep the record, then retry; if it stays, see UconDB's administrator"
_DAMAGED = "if this stays, the copy in the server's database is damaged"
_DECIDE = "compare the two with --show; have UconDB's administrator remove what is wrong there, then retry"
