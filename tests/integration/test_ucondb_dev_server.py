"""The development server itself: the observed protocol (docs/design/ucondb.md), and its life as a process."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests
from requests.auth import HTTPDigestAuth

from rra_state.stores.ucondb.client import UconDB
from rra_state.stores.ucondb.digest import Digest
from tests.servers import PASSWORD, USER, DevServer, Folder, database, running, temporary_directory


def get(ucondb: Folder, path: str, **query: str) -> requests.Response:
    return requests.get(f"{ucondb.url}/{path}", params=query, timeout=10)


def put(ucondb: Folder, key: str, body: bytes = b"blob", **query: str) -> requests.Response:
    """As curl does it: ask, be challenged, answer."""
    return requests.post(
        f"{ucondb.url}/data/{ucondb.folder}/o",
        params={"key": key, **query},
        data=body,
        auth=HTTPDigestAuth(USER, PASSWORD),
        timeout=10,
    )


def signed(ucondb: Folder, path: str, *, realm: str | None = None) -> dict[str, str]:
    digest = Digest(realm or f"public.{ucondb.folder}", "any")
    return {"Authorization": digest.header("POST", path, USER, PASSWORD)}


def lookup(ucondb: Folder, wanted: object, object_: str = "o") -> requests.Response:
    query = {"folder": ucondb.folder, "object": object_}
    return requests.post(f"{ucondb.url}/lookup_versions", params=query, json=wanted, timeout=10)


# ---- answers ---------------------------------------------------------------------------------------------------------


def test_every_answer_closes_the_connection(ucondb: Folder) -> None:
    answer = get(ucondb, "version")

    assert (answer.text, answer.raw.version) == ("3.9.7", 11)
    assert answer.headers["Connection"] == "close"
    assert get(ucondb, "folders").headers["X-Server-Application-Version"] == "UconDB 3.9.7"


def test_case_d10_the_version_comes_without_a_version_header(ucondb: Folder) -> None:
    headers = get(ucondb, "version").headers

    assert not {"X-Server-Application-Version", "Access-Control-Allow-Origin"} & headers.keys()


def test_case_d10_an_object_whose_rows_are_deleted_is_not_found(ucondb: Folder) -> None:
    put(ucondb, "7")
    put(ucondb, "8")

    ucondb.execute("update {folder}_versions set deleted = true where key = '7'")
    one = get(ucondb, f"data/{ucondb.folder}/o", key="7"), put(ucondb, "7")
    ucondb.execute("update {folder}_versions set deleted = true")
    where = {"folder": ucondb.folder, "object": "o"}
    both = [get(ucondb, "versions", **where), lookup(ucondb, {"keys": ["7"]})]

    assert one[0].text == "blob"  # a deleted row answers by key, and blocks it
    assert (one[1].status_code, "already exists" in one[1].text) == (500, True)
    assert [(each.status_code, each.text) for each in both] == [(404, "Object o not found")] * 2
    assert "getVersion" in get(ucondb, f"data/{ucondb.folder}/o", key="7").text


def test_case_d10_without_authentication_nobody_is_asked(postgres: str) -> None:
    with running(pg_uri=postgres, authentication=False) as folder:
        answer = requests.post(f"{folder.url}/data/{folder.folder}/o?key=7", data=b"blob", timeout=10)

        assert (answer.status_code, get(folder, f"data/{folder.folder}/o", key="7").text) == (200, "blob")
        assert UconDB(folder.settings()).put(8, b"blob").content == b"blob"


def test_case_d10_contents_may_be_in_another_database(postgres: str) -> None:
    with database(postgres) as other, running(pg_uri=postgres, data_uri=other) as folder:
        put(folder, "7")

        assert get(folder, f"data/{folder.folder}/o", key="7").text == "blob"
        [(here,)] = folder.execute("select to_regclass('{folder}_data')")
        assert here is None


def test_a_blob_comes_without_length_but_with_its_description(ucondb: Folder) -> None:
    put(ucondb, "7", b"abc", tag="t")

    for path in (f"data/{ucondb.folder}/o/key=7", f"get/{ucondb.folder}/o?key=7", f"data/{ucondb.folder}/o?tag=t"):
        answer = get(ucondb, path)
        assert answer.content == b"abc"
        assert "Content-Length" not in answer.headers
        assert "Transfer-Encoding" not in answer.headers
        assert (answer.headers["X-UconDB-data-size"], answer.headers["X-UconDB-adler32"]) == ("3", "38600999")
        assert answer.headers["X-UconDB-version-key"] == "7"


def test_a_put_answers_with_the_id_or_the_metadata(ucondb: Folder) -> None:
    plain, full = put(ucondb, "1"), put(ucondb, "2", full_meta="yes", tag="2")

    assert int(plain.text) + 1 == full.json()["id"]
    assert full.json()["folder"] == f"public.{ucondb.folder}"
    assert full.json()["tags"] == ["2"]
    assert get(ucondb, f"data/{ucondb.folder}/o", key="2", meta_only="yes").json() == full.json()


@pytest.mark.parametrize("body", [b"blob", b"other"])
def test_a_duplicate_key_is_a_500_like_any_other(ucondb: Folder, body: bytes) -> None:
    put(ucondb, "7")

    answer = put(ucondb, "7", body)

    assert answer.status_code == 500
    assert "<h3>Version of object o with key 7 already exists</h3>" in answer.text


def test_overriding_leaves_the_old_row_without_a_key(ucondb: Folder) -> None:
    put(ucondb, "7", tag="old")

    assert put(ucondb, "7", b"new", override="yes").status_code == 200

    assert ucondb.execute("select key from {folder}_versions order by id") == [(None,), ("7",)]
    assert [row["key"] for row in get(ucondb, "versions", folder=ucondb.folder, object="o").json()] == ["7", None]


def test_equal_bytes_are_kept_once(ucondb: Folder) -> None:
    put(ucondb, "1")
    put(ucondb, "2")

    assert ucondb.execute("select size, hash from {folder}_data") == [(4, zlib.adler32(b"blob"))]
    assert ucondb.execute("select distinct data_key from {folder}_versions") == [("1",)]


@pytest.mark.parametrize(
    ("path", "status", "words"),
    [
        ("versions?folder=nix&object=o", 404, "Folder nix not found"),
        ("versions?folder={folder}&object=nix", 404, "Object nix not found"),
        ("data/{folder}/nix?key=7", 500, "has no attribute 'getVersion'"),
        ("data/nix/o?key=7", 500, "has no attribute"),
        ("data/{folder}/o?key=8", 404, "Version not found"),
        ("data/{folder}/o?data_key=99", 404, "Data not found"),
        ("data/{folder}/o?data_key=x", 500, "invalid literal"),
        ("data/{folder}/o?id=999&meta_only=yes", 200, "{{}}"),
        ("get_blob?folder=nix&data_key=1", 404, "Folder nix not found"),
        ("get_blob?folder={folder}&data_key=1", 200, "blob"),
        ("tag?folder={folder}&object=o&key=8&tag=t", 500, "NoneType"),
        ("objects?folder={folder}", 200, '["o"]'),
        ("objects?folder=a%3Eb", 400, "Invalid value for folder"),
        ("data/{folder}/o?key=1%3B2", 500, "Invalid argument value"),
        ("data/{folder}/o?key=1&key=2", 500, "operator does not exist: text = text[]"),
        ("probe", 200, "OK"),
    ],
)
def test_what_is_missing_or_wrong_is_answered_as_observed(ucondb: Folder, path: str, status: int, words: str) -> None:
    put(ucondb, "7")

    answer = get(ucondb, path.format(folder=ucondb.folder))

    assert answer.status_code == status
    assert words.format() in answer.text


def test_a_lookup_answers_in_records_with_status_200(ucondb: Folder) -> None:
    put(ucondb, "7")
    put(ucondb, "8")

    found = lookup(ucondb, {"keys": ["7", "9"]})
    assert found.text.startswith("\x1e")
    assert json.loads(found.text[1:])["key"] == "7"
    for nothing in ({"keys": ["9"]}, {"keys": [7]}):  # the second is a fault of the database, and looks the same
        answer = lookup(ucondb, nothing)
        assert (answer.status_code, answer.content) == (200, b"")
    assert lookup(ucondb, {"key_min": "7", "key_max": "8"}).text.count("\x1e") == 1
    assert lookup(ucondb, {"keys": []}).status_code == 500
    assert lookup(ucondb, {"keys": ["7"]}, "nix").text == "Object nix not found"


# ---- passwords -------------------------------------------------------------------------------------------------------


def test_without_a_digest_comes_a_challenge(ucondb: Folder) -> None:
    answer = requests.post(f"{ucondb.url}/data/{ucondb.folder}/o?key=1", data=b"x", auth=("a", "b"), timeout=10)

    assert (answer.status_code, answer.text) == (401, "Authorization required")
    assert answer.headers["WWW-Authenticate"].startswith(f'Digest realm="public.{ucondb.folder}", nonce="b\'')


def test_a_wrong_password_gets_no_challenge(ucondb: Folder) -> None:
    wrong = HTTPDigestAuth(USER, "wrong")
    answer = requests.post(f"{ucondb.url}/data/{ucondb.folder}/o?key=1", data=b"x", auth=wrong, timeout=10)

    assert answer.status_code == 401
    assert "WWW-Authenticate" not in answer.headers


def test_any_nonce_is_accepted_but_every_part_is_needed(ucondb: Folder) -> None:
    path = f"/ucondb/data/{ucondb.folder}/o?key=1"
    url = f"{ucondb.url}/data/{ucondb.folder}/o?key=1"
    whole = signed(ucondb, path)["Authorization"]

    stored = requests.post(url, data=b"x", headers={"Authorization": whole}, timeout=10)
    refused = requests.post(url, data=b"x", headers={"Authorization": whole.replace("nc=", "xx=")}, timeout=10)

    assert stored.status_code == 200
    assert (refused.status_code, "<h3>'nc'</h3>" in refused.text) == (500, True)


def test_a_comma_in_the_address_makes_the_right_password_wrong(ucondb: Folder) -> None:
    right = HTTPDigestAuth(USER, PASSWORD)
    answer = requests.post(f"{ucondb.url}/data/{ucondb.folder}/o?key=1,2", data=b"x", auth=right, timeout=10)

    assert answer.status_code == 401
    assert "WWW-Authenticate" not in answer.headers


def test_folders_are_made_under_a_realm_of_their_own(ucondb: Folder) -> None:
    path = f"/ucondb/create_folder?folder={ucondb.folder}"
    url = f"{ucondb.url}/create_folder?folder={ucondb.folder}"

    right = requests.post(url, headers=signed(ucondb, path, realm=ucondb.folder), timeout=10)
    other = requests.post(url, headers=signed(ucondb, path), timeout=10)

    assert (right.text, other.status_code) == ("OK", 401)


# ---- bodies ----------------------------------------------------------------------------------------------------------


def test_a_body_without_length_is_stored_as_an_empty_blob(ucondb: Folder) -> None:
    path = f"/ucondb/data/{ucondb.folder}/o?key=1&full_meta=yes"
    answer = requests.post(
        f"{ucondb.url}/data/{ucondb.folder}/o?key=1&full_meta=yes",
        data=iter([b"chunk"]),
        headers=signed(ucondb, path),
        timeout=10,
    )

    assert (answer.json()["data_size"], answer.json()["adler32"]) == (0, 1)


def test_a_body_shorter_than_announced_is_not_stored(ucondb: Folder) -> None:
    path = f"/ucondb/data/{ucondb.folder}/o?key=1"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n"
    head += f"Authorization: {signed(ucondb, path)['Authorization']}\r\n\r\nshort"

    with socket.create_connection(("127.0.0.1", urlsplit(ucondb.url).port)) as client:
        client.sendall(head.encode("latin-1"))
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()

    assert b"The client disconnected while sending the body" in answer
    assert ucondb.execute("select count(*) from {folder}_versions") == [(0,)]


def test_a_client_that_stalls_freezes_everybody(ucondb: Folder) -> None:
    parts = urlsplit(ucondb.url)
    stalled = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    stalled.putrequest("POST", f"/ucondb/data/{ucondb.folder}/o?key=1")
    stalled.putheader("Content-Length", "5")
    stalled.endheaders()
    time.sleep(0.2)
    answers: list[int] = []
    waiting = threading.Thread(target=lambda: answers.append(get(ucondb, "version").status_code))
    waiting.start()

    waiting.join(0.3)
    frozen = list(answers)
    stalled.send(b"12345")
    waiting.join(10)
    stalled.getresponse().read()
    stalled.close()

    assert (frozen, answers) == ([], [200])


# ---- life as a process -----------------------------------------------------------------------------------------------


@pytest.fixture
def alone(postgres: str) -> Iterator[DevServer]:
    """A server with its own PostgreSQL, not started yet."""
    with temporary_directory() as directory:
        server = DevServer(directory / "with a space")
        yield server
        server.stop()
        subprocess.run(server.command("--stop"), check=True, capture_output=True)


def run(server: DevServer, *extra: str, password: str = PASSWORD) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"UCONDB_PASSWORD": password}
    return subprocess.run(server.command(*extra), capture_output=True, text=True, env=environment, check=False)


def alive(pid: int) -> bool:
    """Whether a process is there and not only waiting to be collected."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_it_says_what_it_is_and_stops_with_its_database(alone: DevServer) -> None:
    line = alone.start()
    postmaster = int((alone.directory / "postgres" / "postmaster.pid").read_text().split()[0])

    assert line.strip() == (
        f"UconDB development server at {alone.url} (folder run_records), for development and tests only"
    )
    assert json.loads((alone.directory / "server.json").read_text())["url"] == alone.url
    assert alone.stop() == 0
    assert not alive(postmaster)
    assert not (alone.directory / "server.json").exists()


def test_a_killed_server_starts_again_on_the_same_data(alone: DevServer) -> None:
    alone.start()
    put(Folder(alone, "run_records"), "7", b"kept")

    alone.stop(signal.SIGKILL)
    alone.start()

    assert get(Folder(alone, "run_records"), "data/run_records/o", key="7").content == b"kept"


def test_the_database_of_a_killed_server_can_be_stopped(alone: DevServer) -> None:
    alone.start()
    postmaster = int((alone.directory / "postgres" / "postmaster.pid").read_text().split()[0])
    alone.stop(signal.SIGKILL)

    assert alive(postmaster)
    assert run(alone, "--stop").returncode == 0
    assert not alive(postmaster)


def test_detached_it_stays_until_it_is_stopped(alone: DevServer) -> None:
    first = run(alone, "--detach")
    again = run(alone, "--detach")
    running = json.loads((alone.directory / "server.json").read_text())
    stopped = run(alone, "--stop")

    assert (first.returncode, first.stdout) == (0, again.stdout)
    assert stopped.stdout == "UconDB development server stopped\n"
    assert not alive(running["pid"])
    assert run(alone, "--stop").returncode == 0


def test_two_servers_never_share_a_directory(ucondb: Folder) -> None:
    second = run(ucondb.server)

    assert second.returncode == 1
    assert second.stderr.startswith("ucondb_dev_server: another server runs on ")


def test_no_password_is_said_so(alone: DevServer) -> None:
    done = run(alone, password="")

    assert (done.returncode, done.stderr) == (
        1,
        "ucondb_dev_server: set the variable UCONDB_PASSWORD, or give --password-file\n",
    )


def test_it_listens_on_the_loopback_interface_only(ucondb: Folder) -> None:
    port = urlsplit(ucondb.url).port
    listening = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    addresses = {fields[1] for fields in listening if fields[3] == "0A" and fields[1].endswith(f":{port:04X}")}

    assert addresses == {f"0100007F:{port:04X}"}
