"""The development server itself: what HTTP alone cannot show of the protocol, and its life as a process.

The protocol is tried in tests/contract/test_ucondb_contract.py.
"""

from __future__ import annotations

import http.client
import json
import os
import signal
import subprocess
import threading
import time
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


# ---- passwords -------------------------------------------------------------------------------------------------------


def test_folders_are_made_under_a_realm_of_their_own(ucondb: Folder) -> None:
    path = f"/ucondb/create_folder?folder={ucondb.folder}"
    url = f"{ucondb.url}/create_folder?folder={ucondb.folder}"

    right = requests.post(url, headers=signed(ucondb, path, realm=ucondb.folder), timeout=10)
    other = requests.post(url, headers=signed(ucondb, path), timeout=10)

    assert (right.text, other.status_code) == ("OK", 401)


# ---- bodies ----------------------------------------------------------------------------------------------------------


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
