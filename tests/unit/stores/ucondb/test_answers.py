"""Answers of UconDB that are not what they should be: cut, damaged, or of something else."""

from __future__ import annotations

import json
import zlib

import pytest

from rra_state.base.errors import ArchiverError, StoreError, StoreUnavailable, VerificationError
from rra_state.stores.ucondb.client import UconDB
from tests.servers import canned
from tests.unit.stores.ucondb.ucondb_helpers import CHALLENGE, response, settings


@pytest.mark.parametrize(
    "listing", [b"", b"[", b'[{"key": "1", "id": 1, "data_key": "1", "adler32": 1, "data_size": 1, "tr": 1}']
)
def test_a_listing_without_its_end_is_no_listing(listing: bytes) -> None:
    answer = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + listing

    with canned(answer) as (url, _), pytest.raises(StoreUnavailable, match="listing came back cut off"):
        UconDB(settings(url)).runs()


@pytest.mark.parametrize("listing", [b'{"a": 1}', b"[1]", b'[{"key": "7"}]'])
def test_a_listing_of_something_else_is_refused(listing: bytes) -> None:
    with canned(response("200 OK", listing)) as (url, _), pytest.raises(StoreError):
        UconDB(settings(url)).runs()


LOGIN = b"<html><head><title>Sign in</title></head><body><h3>Sign in</h3></body></html>"


@pytest.mark.parametrize("ask", ["runs", "lookup", "get", "put"])
def test_case_d9_a_login_page_is_named_as_what_it_is(ask: str) -> None:
    page = response("200 OK", LOGIN, "Content-Type: text/html")
    store = {"runs": lambda db: db.runs(), "lookup": lambda db: db.lookup([7]), "get": lambda db: db.get(7)}
    store["put"] = lambda db: db.put(7, b"abc")

    with (
        canned(*([CHALLENGE] if ask == "put" else []), page) as (url, _),
        pytest.raises(
            StoreError, match=r"answers with a page that is not UconDB's: Sign in\. Check ucon_db\.server_url"
        ),
    ):
        store[ask](UconDB(settings(url)))


@pytest.mark.parametrize("missing", ["X-UconDB-version-key", "X-UconDB-adler32"])
def test_case_d9_the_header_that_a_proxy_removed_is_named(missing: str) -> None:
    headers = [each for each in (*BLOB_HEADERS, SIZE, CHECKSUM) if not each.startswith(missing)]

    with canned(response("200 OK", b"abc", *headers)) as (url, _), pytest.raises(StoreError) as caught:
        UconDB(settings(url)).get(7)

    assert f"describes a blob without {missing}. See whether a proxy removes its X-UconDB headers" in str(caught.value)


def test_case_d9_the_error_of_the_read_is_raised_after_a_put() -> None:
    """The key exists, and every read is cut before an answer."""
    exists = response("500 No", b"<h3>Version of object configuration with key 7 already exists</h3>")

    with canned(CHALLENGE, exists, b"") as (url, _), pytest.raises(StoreUnavailable) as caught:
        UconDB(settings(url)).put(7, b"abc")

    assert "already exists" not in str(caught.value)
    assert "connection" in str(caught.value)


BLOB_HEADERS = ("X-UconDB-version-key: 7", "X-UconDB-version-id: 3", "X-UconDB-data-key: 2", "X-UconDB-tr: 1.5")
SIZE, CHECKSUM = "X-UconDB-data-size: 3", "X-UconDB-adler32: 38600999"  # of b"abc"


def test_a_blob_is_given_with_its_description() -> None:
    with canned(response("200 OK", b"abc", *BLOB_HEADERS, SIZE, CHECKSUM)) as (url, _):
        content, version = UconDB(settings(url)).get(7)

    assert content == b"abc"
    assert (version.run, version.id, version.data_key, version.size, version.tr) == (7, 3, "2", 3, 1.5)


def taken(identity: int) -> bytes:
    """The answer to a put that was stored as this version."""
    metadata = {"key": "7", "id": identity, "data_key": "2", "adler32": 38600999, "data_size": 3, "tr": 1.5}
    return response("200 OK", json.dumps(metadata).encode())


@pytest.mark.parametrize(
    ("blob", "identity", "words"),
    [(b"xyz", 3, "other bytes"), (b"abc", 4, "as version 3")],
    ids=["other content, sound in itself", "another version"],
)
def test_what_is_read_back_must_be_what_was_put(blob: bytes, identity: int, words: str) -> None:
    held = response("200 OK", b"abc", *BLOB_HEADERS, SIZE, CHECKSUM)

    with canned(CHALLENGE, taken(identity), held) as (url, _), pytest.raises(VerificationError, match=words) as caught:
        UconDB(settings(url)).put(7, blob)

    assert caught.value.run == 7


def test_a_blob_missing_after_its_put_is_not_archived() -> None:
    missing = response("404 No", b"Version not found")

    with canned(CHALLENGE, taken(3), missing) as (url, _), pytest.raises(VerificationError, match="does not show it"):
        UconDB(settings(url)).put(7, b"abc")


@pytest.mark.parametrize(
    ("body", "headers", "words"),
    [
        (b"ab", (*BLOB_HEADERS, SIZE, CHECKSUM), "cut off"),
        (b"abd", (*BLOB_HEADERS, SIZE, CHECKSUM), "damaged"),
        (b"abcd", (*BLOB_HEADERS, SIZE, CHECKSUM), "damaged"),
        (b"abc", BLOB_HEADERS, "proxy"),
        (b"abc", ("X-UconDB-version-key: 8", *BLOB_HEADERS[1:], SIZE, CHECKSUM), "answered with key 8"),
    ],
)
def test_a_blob_that_is_not_as_described_is_never_given(body: bytes, headers: tuple[str, ...], words: str) -> None:
    with canned(response("200 OK", body, *headers)) as (url, _), pytest.raises(ArchiverError, match=words):
        UconDB(settings(url)).get(7)


def test_a_damaged_blob_costs_the_other_runs_nothing() -> None:
    answer = response("200 OK", b"abd", *BLOB_HEADERS, SIZE, CHECKSUM)

    with canned(answer) as (url, _), pytest.raises(ArchiverError) as caught:
        UconDB(settings(url)).get(7)

    assert caught.value.run == 7
    assert not caught.value.stops_cycle


def test_a_signed_checksum_of_an_old_row_is_understood() -> None:
    blob = b"\xff" * 300
    expected = zlib.adler32(blob)
    size, checksum = "X-UconDB-data-size: 300", f"X-UconDB-adler32: {expected - 2**32}"
    assert expected > 2**31

    with canned(response("200 OK", blob, *BLOB_HEADERS, size, checksum)) as (url, _):
        assert UconDB(settings(url)).get(7)[1].adler32 == expected
