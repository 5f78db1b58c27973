"""Read the answers of UconDB: listings, descriptions of versions, headers of a blob. Sends no request.

Every answer may be cut off, or be the page of a proxy. Source: docs/design/ucondb.md, Listings.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import requests

from rra_state.base import run_numbers
from rra_state.base.errors import StoreError, StoreUnavailable
from rra_state.base.wording import shortened
from rra_state.stores.ucondb.http import said_by
from rra_state.stores.ucondb.values import BlobVersion

_HEADER = "X-UconDB-"
_HEADERS = {
    "key": "version-key",
    "id": "version-id",
    "data_key": "data-key",
    "adler32": "adler32",
    "data_size": "data-size",
    "tr": "tr",
}
"""The header that has each value of a version, after _HEADER."""
_DESCRIPTION = _HEADERS.keys()
"""Keys of each version in a listing."""


class Answers:
    """Reads the answers of one server. Every method raises StoreError with the server's name."""

    def __init__(self, name: str) -> None:
        """name: of the server, for messages."""
        self._name = name

    def parsed(self, answer: requests.Response) -> Any:
        """The JSON of an answer."""
        return self._parsed(answer, answer.content)

    def records(self, answer: requests.Response) -> list[Any]:
        """The records of a look-up: RFC 7464, each begins with RS. An answer that was cut off may look complete."""
        return [self._parsed(answer, record) for record in answer.content.split(b"\x1e") if record.strip()]

    def listing(self, answer: requests.Response) -> list[Any]:
        """The list of an answer."""
        listing = self._parsed(answer, answer.content, "the listing")
        if not isinstance(listing, list):
            raise StoreError(f"{self._name}: the listing is no list. Check ucon_db.server_url.")
        return listing

    def by_run(self, records: Iterable[Any]) -> dict[int, BlobVersion]:
        """Versions by run."""
        return {version.run: version for version in map(self.version, self.of_runs(records))}

    def of_runs(self, records: Iterable[Any]) -> Iterator[dict[str, Any]]:
        """The records whose key is a run number. Overridden versions have no key; other programs may use other keys."""
        for record in records:
            if not isinstance(record, dict):
                held = shortened(json.dumps(record), 80)
                raise StoreError(f"{self._name}: the listing holds {held} in place of a version.")
            key = record.get("key")
            if isinstance(key, str) and run_numbers.number(key) is not None:
                if not record.keys() >= _DESCRIPTION:
                    raise self._not_described(sorted(_DESCRIPTION - record.keys())[0])
                yield record

    def described(self, answer: requests.Response) -> BlobVersion:
        """The version that a blob's headers describe."""
        found = {name: answer.headers.get(_HEADER + header) for name, header in _HEADERS.items()}
        missing = [_HEADER + _HEADERS[name] for name, value in found.items() if value is None]
        if missing and answer.content.lstrip().startswith(b"<"):
            raise self._page(answer)
        if missing:
            raise self._not_described(missing[0])
        return self.version(found)

    def version(self, record: Mapping[str, Any]) -> BlobVersion:
        """The version that a record describes."""
        try:
            return BlobVersion(
                run=int(record["key"]),
                id=int(record["id"]),
                data_key=str(record["data_key"]),
                adler32=int(record["adler32"]) & 0xFFFFFFFF,
                size=int(record["data_size"]),
                tr=float(record["tr"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise self._not_described(f"values that are numbers: {shortened(json.dumps(record), 200)}") from error

    def _parsed(self, answer: requests.Response, text: bytes, what: str = "an answer") -> Any:
        try:
            return json.loads(text)
        except ValueError as error:
            if text.lstrip()[:1] not in (b"", b"[", b"{"):  # not the beginning of JSON either
                raise self._page(answer) from error
            raise StoreUnavailable(
                f"{self._name}: {what} came back cut off ({len(text)} bytes). "
                "See whether its database was restarted; a later cycle tries again."
            ) from error

    def _page(self, answer: requests.Response) -> StoreError:
        return StoreError(
            f"{self._name}: answers with a page that is not UconDB's: {said_by(answer)}. "
            "Check ucon_db.server_url, and the proxy between."
        )

    def _not_described(self, what: str) -> StoreError:
        return StoreError(
            f"{self._name}: describes a blob without {what}. See whether a proxy removes its X-UconDB headers."
        )
