"""The permanent store: one blob per run in UconDB, under the run number as key, over its REST interface.

Bytes in, bytes out. What is reported as stored was read back and compared. Retries nothing: it answers *done*,
*conflict* (`Conflict`) or *try again* (`StoreUnavailable`). Source: docs/design/ucondb.md, Rules of the client.
"""

from __future__ import annotations

import json
import operator
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import requests

from rra_state.base import run_numbers
from rra_state.base.errors import AccessDenied, ArchiverError, Conflict, StoreError, StoreUnavailable, VerificationError
from rra_state.base.turns import Turns
from rra_state.stores.ucondb.http import Settings, Transport, said_by
from rra_state.stores.ucondb.sql import Tables

__all__ = ["Settings", "Stored", "UconDB", "Version"]

_KEYS_PER_LOOKUP = 500
_HEADER = "X-UconDB-"
_DESCRIPTION = {"key", "id", "data_key", "adler32", "data_size", "tr"}
"""What a listing says of each version."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a run's blob as UconDB describes it.

    id: number of the version; a new one with every override. data_key: where its content lies, as text.
    adler32: of the content, unsigned. size: bytes. tr: time of storing, seconds since 1970 UTC.
    """

    run: int
    id: int
    data_key: str
    adler32: int
    size: int
    tr: float

    def describes(self, blob: bytes) -> bool:
        """Whether size and checksum are those of `blob`."""
        return self.size == len(blob) and self.adler32 == zlib.adler32(blob)


@dataclass(frozen=True, slots=True)
class Stored:
    """Outcome of a put.

    already: the server held this blob before. content: what the server holds, as read back; it can then differ from
    what was to be put as far as `same` permits.
    """

    version: Version
    already: bool
    content: bytes = field(repr=False)


class UconDB:
    """One object of one folder of a UconDB server.

    settings: the section `ucon_db`. same: whether two blobs say the same of a run; plain equality if not given.
    turns: limits the requests of all processes together. Raises ConfigError for a bad `database_uri`.
    """

    def __init__(
        self, settings: Settings, same: Callable[[bytes, bytes], bool] = operator.eq, turns: Turns | None = None
    ) -> None:
        self._folder, self._object = settings.folder_name, settings.object_name
        self._same = same
        self._http = Transport(settings, turns)
        uri = settings.database_uri.get_secret_value() if settings.database_uri else None
        self._tables = Tables(uri, self._folder, self._object, settings.timeout_seconds) if uri else None
        self.name = self._http.name

    def describe(self) -> str:
        """The store in one phrase, without secrets: `UconDB at https://host:9443/x/app, folder f, object o`."""
        return f"{self.name}, folder {self._folder}, object {self._object}"

    def check(self) -> str:
        """One line that says all is well, or StoreError. Reads only, so the password is not tried.

        /probe is of no use here, it answers 200 with PostgreSQL down. Source: docs/design/ucondb.md, Requests.
        """
        answer = self._http.ask("GET", "version", {})
        version = said_by(answer)
        if answer.status_code != HTTPStatus.OK or not re.fullmatch(r"\d+(\.\d+)+\S*", version):
            raise self._fault(answer)
        namespace, _, folder = self._folder.rpartition(".")
        answer = self._http.ask("GET", "folders", {"namespace": namespace} if namespace else {})
        if answer.status_code != HTTPStatus.OK:
            raise self._fault(answer)
        # The server names those of its own namespace without it, and those of another one with it.
        if not {folder, self._folder} & {str(one) for one in self._listing(answer)}:
            raise self._http.no_folder()
        listed = f", {len(self._tables.listing())} keys by SQL" if self._tables else ""
        return f"{self.name}: version {version}, folder {self._folder}{listed}"

    def runs(self) -> set[int]:
        """Every run the server holds a blob of; see `versions`. Raises StoreError."""
        return {int(record["key"]) for record in self._of_runs(self._listed())}

    def versions(self) -> dict[int, Version]:
        """The current version of every run; keys that are no run number are left out. Raises StoreError.

        Rows are produced after "200 OK" was sent, so a listing can end early: it is then no JSON, and never taken for
        a short listing. An object nobody has put anything into does not exist yet: that is an empty one.
        Source: docs/design/ucondb.md, Listings. With `database_uri` its tables are read instead.
        """
        return self._by_run(self._listed())

    def _listed(self) -> Sequence[Any]:
        """What the server, or its database, says of each key."""
        if self._tables:
            return self._tables.listing()
        answer = self._http.ask("GET", "versions", self._where())
        if self._no_such_object(answer):
            return []
        if answer.status_code != HTTPStatus.OK:
            raise self._fault(answer)
        return self._listing(answer)

    def lookup(self, runs: Iterable[int]) -> dict[int, Version]:
        """The current version of those of these runs that the server shows. Raises StoreError.

        Only a hint for the missing ones: a lookup that was cut short can not be told from a complete one, so nothing
        may be lost or doubled because a run is not in it (`put` is safe, the server refuses a second blob under a key).
        Source: docs/design/ucondb.md, Listings.
        """
        wanted, found = sorted(set(runs)), dict[int, Version]()
        for start in range(0, len(wanted), _KEYS_PER_LOOKUP):
            # As text: a number as key makes the server answer 200 and nothing. Never empty: that is a 500.
            keys = [str(run) for run in wanted[start : start + _KEYS_PER_LOOKUP]]
            answer = self._http.ask("POST", "lookup_versions", self._where(), json.dumps({"keys": keys}).encode())
            if self._no_such_object(answer):
                return {}
            if answer.status_code != HTTPStatus.OK:
                raise self._fault(answer)
            records = answer.content.split(b"\x1e")  # RFC 7464: each record begins with RS
            found.update(self._by_run(self._parsed(record) for record in records if record.strip()))
        return {run: found[run] for run in wanted if run in found}

    def get(self, run: int) -> tuple[bytes, Version] | None:
        """The blob of a run, its size and checksum checked; None if there is none. Raises StoreError.

        Blobs come without Content-Length: a connection that broke looks like the end.
        Source: docs/design/ucondb.md, Listings.
        Raises VerificationError if the bytes are not those the server once took, or are lost.
        """
        answer = self._ask_for(run)
        if answer.status_code == HTTPStatus.NOT_FOUND and said_by(answer) == "Version not found":
            return None
        if answer.status_code == HTTPStatus.INTERNAL_SERVER_ERROR and self._object_is_missing(run):
            return None
        if answer.status_code != HTTPStatus.OK:
            raise self._not_given(run, answer, self._fault(answer))
        version = self._described(answer)
        if version.run != run:
            raise StoreError(
                f"{self.name}: asked for key {run}, answered with key {version.run}. Check what lies between."
            )
        if len(answer.content) < version.size:
            fault = StoreUnavailable(
                f"{self.name}: the blob of run {run} came back cut off "
                f"({len(answer.content)} of {version.size} bytes). A later cycle tries again."
            )
            raise self._not_given(run, answer, fault)
        if not version.describes(answer.content):
            raise self._damaged(version, answer.content)
        return answer.content, version

    def read(self, run: int) -> tuple[bytes, Version] | None:
        """The same as `get`, for looking through many: with `database_uri` straight from the tables, else by REST."""
        if self._tables is None:
            return self.get(run)
        found = self._tables.one(str(run))
        if found is None:
            return None
        record, content = found
        version = self._version(record)
        if content is None:
            raise self._lost(run, "is not in its database")
        if not version.describes(content):
            raise self._damaged(version, content)
        return content, version

    def put(self, run: int, blob: bytes, *, override_of: Version | None = None) -> Stored:
        """Store the blob of a run and read it back. A run the server holds already is compared, not overwritten.

        override_of: the version this blob is to replace; it is replaced only while it is still the current one. The
        protocol has no compare-and-swap, so this guards against a change since it was read, not against a second
        writer in the same instant.
        Raises Conflict (other content is there), VerificationError, RecordError (too large), StoreError;
        StoreUnavailable means that nothing is known, and that the same call again finds out.
        """
        if override_of is not None:
            done = self._already(run, blob, override_of)
            if done is not None:
                return done
        try:
            identity = self._send(run, blob, override=override_of is not None)
        except AccessDenied:
            raise  # refused before anything was stored
        except StoreError as fault:
            # Status and silence alone say nothing: a duplicate is a 500 like any other, and a put whose client gave
            # up can have been stored all the same. What the server holds decides.
            # Source: docs/design/ucondb.md, After an answer that is not 200.
            return self._settle(run, blob, override_of, fault)
        return self._read_back(run, blob, identity)

    def _send(self, run: int, blob: bytes, *, override: bool) -> int:
        """One put; the id of the new version. After any StoreError but AccessDenied it may or may not be stored."""
        query = {"full_meta": "yes", "tag": str(run), "key": str(run), "override": "yes" if override else "no"}
        answer = self._http.write(f"data/{self._folder}/{self._object}", query, blob)
        if answer.status_code != HTTPStatus.OK:
            raise self._http.fault(answer, run=run)
        return self._version(self._parsed(answer.content)).id

    def _settle(self, run: int, blob: bytes, override_of: Version | None, fault: StoreError) -> Stored:
        """What a put that failed has come to."""
        try:
            done = self._already(run, blob, override_of)
            if done is None and override_of is None and run in self.lookup([run]):
                done = self._already(run, blob, None)  # it may have been stored between the two looks
                if done is None:
                    raise self._lost(run, "says there is none") from fault
        except StoreError:
            raise fault from None
        if done is None:
            raise fault
        return done

    def _already(self, run: int, blob: bytes, override_of: Version | None) -> Stored | None:
        """The stored version if it is this blob; None if the way is free (no blob, or the one to replace)."""
        current = self.get(run)
        if current is None and override_of is None:
            return None
        if current is None:
            raise Conflict(f"{self.name}: the version to replace is gone", run=run, hint=_TO_ACCEPT)
        content, version = current
        if self._same(content, blob):
            return Stored(version, already=True, content=content)
        if override_of is not None and (version.id, version.adler32) == (override_of.id, override_of.adler32):
            return None
        raise Conflict(
            f"{self.name}: holds other content under this key ({version.size} bytes, adler32 {version.adler32}, "
            f"version {version.id}; this record gives {len(blob)} bytes, adler32 {zlib.adler32(blob)}); "
            "nothing was changed",
            run=run,
            hint=_TO_ACCEPT,
        )

    def _read_back(self, run: int, blob: bytes, identity: int) -> Stored:
        """Archived means read back, byte for byte. Raises VerificationError."""
        current = self.get(run)
        if current is None:
            raise VerificationError(f"{self.name}: took the blob but does not show it", run=run)
        content, version = current
        if content != blob or version.id != identity:
            raise VerificationError(
                f"{self.name}: took {len(blob)} bytes as version {identity} "
                f"but gives back {len(content)} other bytes as version {version.id}",
                run=run,
            )
        return Stored(version, already=False, content=content)

    def _ask_for(self, run: int) -> requests.Response:
        return self._http.ask("GET", f"data/{self._folder}/{self._object}", {"key": str(run)})

    def _not_given(self, run: int, answer: requests.Response, fault: ArchiverError) -> ArchiverError:
        """`fault`, which is the place's, or a VerificationError if only this run's content cannot be had.

        It is the run's if the server, and the database behind it, still tell of this run, and give the same answer
        once more: a connection that broke, or a database that was away, does not do that.
        """
        if answer.status_code not in _WITHOUT_CONTENT:
            return fault
        try:
            listed, again = run in self.lookup([run]), self._ask_for(run)
        except StoreError:
            return fault
        if not listed or _outline(again) != _outline(answer):
            return fault
        size = f"gives {len(answer.content)} bytes, too few"
        return self._lost(run, size if answer.ok else f"answers {said_by(answer)} ({answer.status_code})")

    def _damaged(self, version: Version, content: bytes) -> VerificationError:
        """The fault of this blob, not of the place: it must not keep the other runs from their turn."""
        return VerificationError(
            f"{self.name}: the blob came back damaged ({len(content)} of {version.size} bytes, "
            f"adler32 {zlib.adler32(content)} instead of {version.adler32})",
            run=version.run,
            hint=_DAMAGED,
        )

    def _lost(self, run: int, instead: str) -> VerificationError:
        """The error of a run the server lists but has no whole content of: it must not keep the others waiting."""
        return VerificationError(
            f"{self.name}: lists this run but cannot give its content: it {instead}", run=run, hint=_DAMAGED
        )

    # ---- answers ---------------------------------------------------------------------------------------------------

    def _where(self) -> dict[str, str]:
        return {"folder": self._folder, "object": self._object}

    def _fault(self, answer: requests.Response) -> ArchiverError:
        return self._http.fault(answer)

    def _no_such_object(self, answer: requests.Response) -> bool:
        missing = re.fullmatch(r"Object \S+ not found", said_by(answer)) is not None
        return missing and answer.status_code == HTTPStatus.NOT_FOUND

    def _object_is_missing(self, run: int) -> bool:
        """A read of an object that does not exist yet is a 500 like any other; only the lookup says it plainly."""
        answer = self._http.ask("POST", "lookup_versions", self._where(), json.dumps({"keys": [str(run)]}).encode())
        if answer.status_code not in (HTTPStatus.OK, HTTPStatus.NOT_FOUND):
            return False
        if answer.status_code == HTTPStatus.NOT_FOUND and not self._no_such_object(answer):
            raise self._fault(answer)
        return answer.status_code == HTTPStatus.NOT_FOUND

    def _parsed(self, text: bytes) -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            raise StoreUnavailable(
                f"{self.name}: an answer came back cut off ({len(text)} bytes). A later cycle tries again."
            ) from error

    def _listing(self, answer: requests.Response) -> list[Any]:
        try:
            listing = json.loads(answer.content)
        except ValueError as error:
            raise StoreUnavailable(
                f"{self.name}: the listing came back cut off ({len(answer.content)} bytes). "
                "See whether its database was restarted; a later cycle tries again."
            ) from error
        if not isinstance(listing, list):
            raise StoreError(f"{self.name}: the listing is no list. Check ucon_db.server_url.")
        return listing

    def _by_run(self, records: Iterable[Any]) -> dict[int, Version]:
        """Versions by run."""
        found = map(self._version, self._of_runs(records))
        return {version.run: version for version in found}

    def _of_runs(self, records: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """Those of runs. A key is null once its version was overridden, and other programs may use other keys."""
        for record in records:
            if not isinstance(record, dict):
                raise StoreError(f"{self.name}: the listing holds {record!r:.80} in place of a version.")
            key = record.get("key")
            if isinstance(key, str) and run_numbers.number(key) is not None:
                if not record.keys() >= _DESCRIPTION:
                    raise self._not_described(sorted(_DESCRIPTION - record.keys())[0])
                yield record

    def _described(self, answer: requests.Response) -> Version:
        """The version a blob's headers describe."""
        names = {"key": "version-key", "id": "version-id", "data_key": "data-key", "adler32": "adler32", "tr": "tr"}
        names["data_size"] = "data-size"
        return self._version({name: answer.headers.get(_HEADER + header) for name, header in names.items()})

    def _version(self, record: Mapping[str, Any]) -> Version:
        try:
            return Version(
                run=int(record["key"]),
                id=int(record["id"]),
                data_key=str(record["data_key"]),
                adler32=int(record["adler32"]) & 0xFFFFFFFF,
                size=int(record["data_size"]),
                tr=float(record["tr"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_described(error) from error

    def _not_described(self, what: object) -> StoreError:
        return StoreError(
            f"{self.name}: describes a blob without {what}. See whether a proxy removes its X-UconDB headers."
        )


def _outline(answer: requests.Response) -> tuple[int, int]:
    """What two answers to the same question have in common; error pages differ in details."""
    return answer.status_code, len(answer.content) if answer.ok else 0


_WITHOUT_CONTENT = (HTTPStatus.OK, HTTPStatus.NOT_FOUND, HTTPStatus.INTERNAL_SERVER_ERROR)
"""How UconDB itself, not a proxy before it, answers for a key whose content it has lost."""
_DAMAGED = "if this stays, the copy in the server's database is damaged"
_TO_ACCEPT = "compare the two; --recover-migrate-state accepts what the server holds"
