"""Real servers for tests: PostgreSQL from the wheel, the UconDB development server, and a line that can be cut."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import psycopg
import requests
from pydantic import SecretStr

from scripts.ucondb_dev.postgres import Postgres
from tests import ports
from tests.waiting import scaled

SCRIPT = Path(__file__).parents[1] / "scripts" / "ucondb_dev_server.py"
USER = "archiver"
PASSWORD = 'pass, with "quotes" and é'


@contextmanager
def temporary_directory(*, in_memory: bool = False) -> Iterator[Path]:
    """Outside pytest's own: that one is closed to PostgreSQL's user by the next session, and too long for a socket."""
    place = "/dev/shm" if in_memory and os.access("/dev/shm", os.W_OK) else None
    directory = Path(tempfile.mkdtemp(prefix="rra-", dir=place))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def running_postgres() -> Iterator[str]:
    """A PostgreSQL of its own; its URI. Raises PostgresError if the wheel is not there."""
    with temporary_directory() as directory:
        server = Postgres(directory / "pg", durable=False)
        try:
            yield server.start()
        finally:
            server.stop("immediate")


def new_database(uri: str, name: str) -> str:
    """Create a database on this PostgreSQL; its URI."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute(f"create database {name}")
    base, _, query = uri.partition("?")
    return f"{base.rsplit('/', 1)[0]}/{name}{'?' if query else ''}{query}"


@contextmanager
def running_mongodb() -> Iterator[tuple[str, str]]:
    """Servers to try the MongoDB store on: URIs without a database, of a replica set and of a server by itself.

    Both are the one of RRA_TEST_MONGODB_URI, or SecantusDB (mongodb_server.py): a MongoDB itself cannot be had from the
    package registries.
    """
    given = os.environ.get("RRA_TEST_MONGODB_URI")
    if given:
        yield given.rstrip("/"), given.rstrip("/")
        return
    # It syncs each write: on a disk that other tests fill it would not answer for seconds.
    with temporary_directory(in_memory=True) as directory, open(directory / "out", "wb") as output:
        command = [sys.executable, "-I", str(Path(__file__).with_name("mongodb_server.py")), str(directory)]
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=output, text=True)
        assert server.stdin is not None
        assert server.stdout is not None
        try:
            of_set, alone = server.stdout.readline().split()
            yield of_set.rstrip("/"), alone.rstrip("/")
        finally:
            server.kill()
            server.wait(scaled(10))
            server.stdin.close()
            server.stdout.close()


@dataclass
class DevServer:
    """The development server as a process. `pg_uri` None: it runs a PostgreSQL of its own below `directory`."""

    directory: Path
    pg_uri: str | None = None
    port: int = 0
    namespace: str = "public"
    read_only: bool = False
    data_uri: str | None = None
    authentication: bool = True
    process: subprocess.Popen[str] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/ucondb"

    @property
    def request_log(self) -> Path:
        """One line per request since the first start."""
        return self.directory / "requests.log"

    def command(self, *extra: str) -> list[str]:
        postgres = ["--pg-uri", self.pg_uri] if self.pg_uri else ["--no-fsync"]
        options = ["--namespace", self.namespace, "--request-log", str(self.request_log)]
        options += ["--read-only"] * self.read_only + ["--no-authentication"] * (not self.authentication)
        options += ["--data-uri", self.data_uri] if self.data_uri else []
        return [sys.executable, str(SCRIPT), "--data", str(self.directory), *postgres, *options, *extra]

    def start(self) -> str:
        """Start it, on the same port as before; the line it says."""
        self.port = self.port or ports.kept_for(self)
        environment = os.environ | {"UCONDB_PASSWORD": PASSWORD, "PYTHONWARNINGS": "default"}
        command = self.command("--port", str(self.port))
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
        )
        line = self.process.stdout.readline()
        if "UconDB development server at" not in line:
            raise RuntimeError(line + self.process.communicate()[0])
        return line

    def stop(self, number: int = signal.SIGTERM) -> int | None:
        """End the process, gently unless told otherwise; its exit status."""
        if self.process is None:
            return None
        self.process.send_signal(number)
        self.process.wait(scaled(30))
        self.process.stdout.close()
        status, self.process = self.process.returncode, None
        return status

    def pg(self) -> str:
        """URI of the PostgreSQL behind it."""
        return self.pg_uri or json.loads((self.directory / "server.json").read_text())["pg_uri"]

    def stats(self) -> dict[str, int]:
        with urllib.request.urlopen(f"{self.url}/stats", timeout=scaled(10)) as answer:
            return json.load(answer)

    def create_folder(self, folder: str) -> None:
        answer = requests.get(
            f"{self.url}/create_folder",
            params={"folder": folder},
            auth=requests.auth.HTTPDigestAuth(USER, PASSWORD),
            timeout=scaled(10),
        )
        answer.raise_for_status()


@dataclass
class Folder:
    """A fresh folder on a running server: what a test of the store needs. Counts are those since its making."""

    server: DevServer
    folder: str
    user: str = USER
    password: str = PASSWORD
    before: dict[str, int] = field(default_factory=dict)

    @classmethod
    def fresh(cls, server: DevServer, name: str) -> Folder:
        """Named after the test, in a form PostgreSQL and UconDB take."""
        folder = cls(server, f"t_{hashlib.sha256(name.encode()).hexdigest()[:12]}")
        server.create_folder(folder.folder)
        folder.before = server.stats()
        return folder

    @property
    def url(self) -> str:
        return self.server.url

    def section(self, **more: str) -> dict[str, str]:
        """The section `ucon_db` of a configuration file."""
        return {
            "server_url": self.url,
            "folder_name": self.folder,
            "writer_user": self.user,
            "writer_password": self.password,
            **more,
        }

    def settings(self, **changes: object) -> SimpleNamespace:
        """What the section `ucon_db` would hold for it."""
        values = {
            "server_url": self.url,
            "folder_name": self.folder,
            "object_name": "configuration",
            "timeout_seconds": scaled(10),
            "writer_user": self.user,
            "writer_password": SecretStr(self.password),
            "verify_tls": True,
            "ca_bundle": None,
            "database_uri": None,
        }
        return SimpleNamespace(**(values | changes))

    def stats(self) -> dict[str, int]:
        """Requests since the folder was made: {"puts": n, "gets": n, "other": n}."""
        return {name: count - self.before.get(name, 0) for name, count in self.server.stats().items()}

    def refused(self) -> int:
        """Requests for this folder that were answered 401; making it is none of them."""
        lines = self.server.request_log.read_text().splitlines()
        return sum(f"{self.folder}/" in line and '" 401 ' in line for line in lines)

    def stop(self) -> None:
        self.server.stop()

    def start(self) -> None:
        self.before = {}
        self.server.start()

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """The server answers nothing until the block ends: whoever needs it waits, and cannot end before."""
        assert self.server.process is not None
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.process.send_signal(signal.SIGCONT)

    def execute(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        """Run SQL in the database behind; `{folder}` in it is the folder. Rows, if there are any."""
        with psycopg.connect(self.server.pg(), options=f"-c search_path={self.server.namespace}") as connection:
            cursor = connection.execute(query.replace("{folder}", self.folder), values)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def running(**options: Any) -> Iterator[Folder]:
    """A fresh folder on a development server with these options, of its own."""
    with temporary_directory() as directory:
        server = DevServer(directory, **options)
        server.start()
        try:
            yield Folder.fresh(server, str(directory))
        finally:
            server.stop()


@contextmanager
def database(postgres: str) -> Iterator[str]:
    """A database of its own on this PostgreSQL; its URI."""
    name = f"d_{uuid4().hex}"
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield postgres.replace("/postgres?", f"/{name}?")
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


class Line:
    """A TCP proxy in front of a server. `spoil(request, answer)` says what of each answer reaches the client."""

    def __init__(self, url: str, spoil: Callable[[bytes, bytes], bytes]) -> None:
        parts = urlsplit(url)
        self._target, self._spoil = (parts.hostname, parts.port), spoil
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}{parts.path}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        # shutdown wakes the thread that waits in accept; close alone does not
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def __enter__(self) -> Line:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError), socket.create_connection(self._target) as server:
            asked = _request(client)
            server.sendall(asked)
            answer = b"".join(iter(lambda: server.recv(65536), b""))
            client.sendall(self._spoil(asked, answer))


def _request(client: socket.socket) -> bytes:
    """One whole request, by its Content-Length. Raises ConnectionError if the client is gone before."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(client)
    head, _, body = data.partition(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            while len(body) < int(line.split(b":")[1]):
                body += received(client)
    return head + b"\r\n\r\n" + body


def received(connection: socket.socket) -> bytes:
    """What came next. Raises ConnectionError if the other side has hung up: to read on would never end."""
    data = connection.recv(65536)
    if not data:
        raise ConnectionError
    return data


@contextmanager
def canned(*answers: bytes, context: ssl.SSLContext | None = None) -> Iterator[tuple[str, list[bytes]]]:
    """A server that gives these bytes as answers, the last one for ever; its URL, and the requests it got."""
    got: list[bytes] = []
    left = list(answers)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                with suppress(OSError), context.wrap_socket(client, server_side=True) if context else client as client:
                    got.append(_request(client))
                    client.sendall(left.pop(0) if len(left) > 1 else left[0])

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/x/app", got
    finally:
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
