"""What UconDB does, as one list of facts that HTTP alone can show: on the development server, or on a real one.

RRA_TEST_UCONDB_URL is the address of a real server (as `ucon_db.server_url`), RRA_TEST_UCONDB_FOLDER a folder for tests
there, RRA_TEST_UCONDB_USER and RRA_TEST_UCONDB_PASSWORD an account that may write to it. Every fact stores a few bytes
in an object of its own and leaves them there. Source: docs/design/ucondb.md.
"""

from __future__ import annotations

import json
import os
import socket
import ssl
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import requests
from pydantic import SecretStr
from requests.auth import HTTPDigestAuth

from rra_state.base.errors import Conflict
from rra_state.stores.ucondb.client import UconDB
from rra_state.stores.ucondb.digest import Digest
from tests.servers import Folder
from tests.unit.stores.ucondb.ucondb_helpers import settings

REAL = os.environ.get("RRA_TEST_UCONDB_URL", "").rstrip("/")


@dataclass(frozen=True)
class Target:
    """One object of one folder of the server that is tried."""

    url: str
    folder: str
    user: str
    password: str
    object: str = field(default_factory=lambda: f"rra_{uuid4().hex}")

    @property
    def data(self) -> str:
        return f"data/{self.folder}/{self.object}"

    @property
    def realm(self) -> str:
        """The folder with its namespace, from the challenge to an unsigned POST with an empty body."""
        answer = requests.post(f"{self.url}/{self.data}", params={"tv": "x"}, timeout=30)
        return Digest.challenged(answer.headers["WWW-Authenticate"]).realm

    def get(self, path: str, **query: str) -> requests.Response:
        return requests.get(f"{self.url}/{path}", params=query, timeout=30)

    def put(self, key: str, body: Any = b"blob", **query: str) -> requests.Response:
        """As curl does it: ask, be challenged, answer."""
        auth = HTTPDigestAuth(self.user, self.password)
        return requests.post(f"{self.url}/{self.data}", params={"key": key} | query, data=body, auth=auth, timeout=30)

    def signed(self, tail: str) -> dict[str, str]:
        """The Authorization header of a POST that was not challenged."""
        header = Digest(self.realm, "any").header("POST", f"{urlsplit(self.url).path}/{tail}", self.user, self.password)
        return {"Authorization": header}

    def lookup(self, wanted: object, object_: str | None = None) -> requests.Response:
        query = {"folder": self.folder, "object": object_ or self.object}
        return requests.post(f"{self.url}/lookup_versions", params=query, json=wanted, timeout=30)

    def versions(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.get("versions", folder=self.folder, object=self.object).json()
        return found

    def client(self) -> UconDB:
        return UconDB(
            settings(
                self.url,
                folder_name=self.folder,
                object_name=self.object,
                writer_user=self.user,
                writer_password=SecretStr(self.password),
                timeout_seconds=30.0,
            )
        )


@pytest.fixture
def target(request: pytest.FixtureRequest) -> Target:
    if REAL:
        names = ("FOLDER", "USER", "PASSWORD")
        return Target(REAL, *(os.environ[f"RRA_TEST_UCONDB_{name}"] for name in names))
    folder: Folder = request.getfixturevalue("ucondb")
    return Target(folder.url, folder.folder, folder.user, folder.password)


Fact = Callable[[Target], None]
FACTS: list[Fact] = []


def fact(function: Fact) -> Fact:
    FACTS.append(function)
    return function


# ---- answers ---------------------------------------------------------------------------------------------------------


@fact
def the_version_is_plain_and_has_no_version_header(target: Target) -> None:
    answer = target.get("version")

    assert (answer.text, answer.headers["Connection"]) == ("3.9.7", "close")
    assert not {"X-Server-Application-Version", "Access-Control-Allow-Origin"} & answer.headers.keys()


@fact
def a_blob_comes_without_length_but_with_its_description(target: Target) -> None:
    target.put("7", b"abc", tag="t")

    for path in (f"{target.data}/key=7", f"get/{target.folder}/{target.object}?key=7", f"{target.data}?tag=t"):
        answer = target.get(path)
        assert answer.content == b"abc"
        assert not {"Content-Length", "Transfer-Encoding"} & answer.headers.keys()
        assert (answer.headers["X-UconDB-data-size"], answer.headers["X-UconDB-adler32"]) == ("3", "38600999")
        assert answer.headers["X-UconDB-version-key"] == "7"


@fact
def a_put_answers_with_the_id_or_the_metadata(target: Target) -> None:
    plain, full = target.put("1"), target.put("2", full_meta="yes", tag="2").json()

    assert int(plain.text) < full["id"]
    assert (full["folder"], full["tags"]) == (target.realm, ["2"])
    assert full in target.versions()
    assert target.get(target.data, key="2", meta_only="yes").json() == full


@fact
def a_duplicate_key_is_a_500_like_any_other(target: Target) -> None:
    target.put("7")

    for body in (b"blob", b"other"):
        answer = target.put("7", body)
        assert answer.status_code == 500
        assert f"<h3>Version of object {target.object} with key 7 already exists</h3>" in answer.text


@fact
def overriding_leaves_the_old_version_without_a_key(target: Target) -> None:
    target.put("7")

    answer = target.put("7", b"new", override="yes")

    assert answer.status_code == 200
    assert {version["key"] for version in target.versions()} == {None, "7"}
    assert target.get(target.data, key="7").content == b"new"


@fact
def equal_bytes_are_kept_once(target: Target) -> None:
    target.put("7", b"the same")
    target.put("8", b"the same")

    first, second = target.versions()

    assert first["data_key"] == second["data_key"]
    assert first["adler32"] == zlib.adler32(b"the same")


@fact
def a_lookup_answers_in_records_with_status_200(target: Target) -> None:
    identity = int(target.put("7").text)
    target.put("8")

    found = target.lookup({"keys": ["7", "9"]})

    assert found.text.startswith("\x1e")
    assert json.loads(found.text[1:])["key"] == "7"
    assert json.loads(target.lookup({"ids": [identity]}).text[1:])["id"] == identity
    for nothing in ({"keys": ["9"]}, {"keys": [7]}):  # the second is a fault of the database, and looks the same
        answer = target.lookup(nothing)
        assert (answer.status_code, answer.content) == (200, b"")
    assert target.lookup({"key_min": "7", "key_max": "8"}).text.count("\x1e") == 1
    assert target.lookup({"keys": []}).status_code == 500
    assert target.lookup({"keys": ["7"]}, "nix").text == "Object nix not found"


# ---- passwords -------------------------------------------------------------------------------------------------------


@fact
def without_a_digest_comes_a_challenge_with_the_namespace(target: Target) -> None:
    answer = requests.post(f"{target.url}/{target.data}?key=1", data=b"x", auth=("a", "b"), timeout=30)

    assert (answer.status_code, answer.text) == (401, "Authorization required")
    assert answer.headers["WWW-Authenticate"].startswith(f'Digest realm="{target.realm}", nonce="b\'')
    assert target.realm.endswith(f".{target.folder.rpartition('.')[2]}")


@fact
def a_wrong_password_gets_no_challenge(target: Target) -> None:
    answer = requests.post(
        f"{target.url}/{target.data}?key=1", data=b"x", auth=HTTPDigestAuth(target.user, "wrong"), timeout=30
    )

    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (401, None)


@fact
def any_nonce_is_accepted_but_every_part_is_needed(target: Target) -> None:
    url, whole = f"{target.url}/{target.data}?key=1", target.signed(f"{target.data}?key=1")["Authorization"]

    stored = requests.post(url, data=b"x", headers={"Authorization": whole}, timeout=30)
    refused = requests.post(url, data=b"x", headers={"Authorization": whole.replace("nc=", "xx=")}, timeout=30)

    assert stored.status_code == 200
    assert (refused.status_code, "'nc'" in refused.text) == (500, True)


@fact
def a_comma_in_the_address_makes_the_right_password_wrong(target: Target) -> None:
    auth = HTTPDigestAuth(target.user, target.password)

    answer = requests.post(f"{target.url}/{target.data}?key=1,2", data=b"x", auth=auth, timeout=30)

    assert (answer.status_code, answer.headers.get("WWW-Authenticate")) == (401, None)


@fact
def what_is_no_time_is_refused_after_the_password(target: Target) -> None:
    right = target.put("1", tv="x")

    assert (right.status_code, "could not convert string to float" in right.text) == (500, True)
    assert target.lookup({"keys": ["1"]}).status_code == 404


# ---- bodies ----------------------------------------------------------------------------------------------------------


@fact
def a_body_without_length_is_stored_as_an_empty_blob(target: Target) -> None:
    tail = f"{target.data}?key=1&full_meta=yes"

    answer = requests.post(
        f"{target.url}/{tail}", data=iter([b"chunk"]), headers=target.signed(tail), timeout=30
    ).json()

    assert (answer["data_size"], answer["adler32"]) == (0, 1)


@fact
def a_body_shorter_than_announced_is_not_stored(target: Target) -> None:
    parts, tail = urlsplit(target.url), f"{target.data}?key=1"
    tls = parts.scheme == "https"
    head = f"POST {parts.path}/{tail} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Length: 10\r\n"
    head += f"Authorization: {target.signed(tail)['Authorization']}\r\n\r\nshort"

    client = socket.create_connection((parts.hostname, parts.port or (443 if tls else 80)))
    if tls:
        client = ssl.create_default_context().wrap_socket(client, server_hostname=parts.hostname)
    with client:
        client.sendall(head.encode("latin-1"))
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()  # until the server is done; with TLS it cannot be deciphered any more

    assert tls or b"The client disconnected while sending the body" in answer
    assert target.lookup({"keys": ["1"]}).status_code == 404


@fact
def any_bytes_are_kept_exactly(target: Target) -> None:
    bodies = {"1": bytes(range(256)), "2": b"\r\n\0\xff", "3": b""}

    for key, body in bodies.items():
        target.put(key, body)

    assert {key: target.get(target.data, key=key).content for key in bodies} == bodies


# ---- the archiver's client -------------------------------------------------------------------------------------------


@fact
def the_client_stores_a_run_once(target: Target) -> None:
    store, blob = target.client(), b"Start of Record\nRun Number: 7\n" + b"a: 1\n" * 400

    empty = store.runs(), store.lookup([7]), store.get(7)
    store.try_put()
    first, again = store.put(7, blob), store.put(7, blob)

    assert empty == (set(), {}, None)
    assert (first.already, again.already) == (False, True)
    assert store.get(7) == (blob, first.version)
    assert store.versions() == store.lookup([7]) == {7: first.version}
    assert target.versions()[0]["tags"] == ["7"]
    assert store.check().endswith(f"folder {target.folder}")


@fact
def the_client_replaces_only_what_it_is_told_to(target: Target) -> None:
    store = target.client()
    first = store.put(7, b"first").version

    with pytest.raises(Conflict):
        store.put(7, b"second")
    second = store.put(7, b"second", override_of=first).version
    with pytest.raises(Conflict):
        store.put(7, b"third", override_of=first)

    assert store.get(7) == (b"second", second)


@pytest.mark.parametrize("known", FACTS, ids=lambda known: known.__name__)
def test_a_fact_of_ucondb_holds(target: Target, known: Fact) -> None:
    known(target)


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("versions?folder=nix&object=o", 404, "Folder nix not found"),
        ("versions?folder={folder}&object=nix", 404, "Object nix not found"),
        ("data/{folder}/nix?key=7", 500, "has no attribute 'getVersion'"),
        ("data/nix/o?key=7", 500, "has no attribute"),
        ("data/{folder}/{object}?key=8", 404, "Version not found"),
        ("data/{folder}/{object}?data_key=999999999", 404, "Data not found"),
        ("data/{folder}/{object}?data_key=x", 500, "invalid literal"),
        ("data/{folder}/{object}?id=999999999&meta_only=yes", 200, "{{}}"),
        ("get_blob?folder=nix&data_key=1", 404, "Folder nix not found"),
        ("tag?folder={folder}&object={object}&key=8&tag=t", 500, "NoneType"),
        ("objects?folder={folder}", 200, '"{object}"'),
        ("objects?folder=a%3Eb", 400, "Invalid value for folder"),
        ("data/{folder}/{object}?key=1%3B2", 500, "Invalid argument value"),
        ("data/{folder}/{object}?key=1&key=2", 500, "operator does not exist: text = text[]"),
        ("probe", 200, "OK"),
    ],
)
def test_what_is_missing_or_wrong_is_answered_as_observed(target: Target, path: str, status: int, words: str) -> None:
    target.put("7")

    answer = target.get(path.format(folder=target.folder, object=target.object))

    assert answer.status_code == status
    assert words.format(object=target.object) in answer.text
