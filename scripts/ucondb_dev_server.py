#!/usr/bin/env python3
"""Development server for UconDB: the real protocol over a real PostgreSQL, on the loopback interface only.

For development and tests. It has one user, no TLS, and the oddities of UconDB 3.9.7 on purpose (docs/design/ucondb.md).
    ucondb_dev_server.py --data DIR --detach     start and leave it running
    ucondb_dev_server.py --data DIR --stop       stop it and its PostgreSQL; data are kept
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TextIO

import psycopg

sys.path.insert(0, str(Path(__file__).resolve().parent))  # an isolated Python does not look beside the program
from ucondb_dev import app, http
from ucondb_dev.postgres import Postgres, PostgresError
from ucondb_dev.storage import Storage

_START_SECONDS = 120
_STOP_SECONDS = 30


class CannotRun(Exception):
    """the server can not be started or stopped"""


@dataclass(frozen=True, slots=True)
class Running:
    """The content of DIR/server.json: a running server."""

    url: str
    pid: int
    pg_uri: str
    folder: str

    def line(self) -> str:
        """The line to print for a person."""
        return f"UconDB development server at {self.url} (folder {self.folder}), for development and tests only"

    def alive(self) -> bool:
        """Whether the process with this number is still that server."""
        try:
            return Path(__file__).name.encode() in Path(f"/proc/{self.pid}/cmdline").read_bytes()
        except OSError:
            return False


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    options = _parser().parse_args(arguments)
    try:
        if options.stop:
            return stop(options.data)
        if options.detach:
            return detach(options.data, [one for one in arguments if one != "--detach"])
        return serve(options)
    except (CannotRun, PostgresError, psycopg.Error, OSError, ValueError) as error:
        print(f"ucondb_dev_server: {error}", file=sys.stderr)
        return 1


def serve(options: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT, then stop PostgreSQL."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: over.set())
    account = None if options.no_authentication else app.Account(options.user, _password(options))
    options.data.mkdir(parents=True, exist_ok=True)
    lock = _lock(options.data)
    postgres = None if options.pg_uri else Postgres(options.data / "postgres", durable=not options.no_fsync)
    try:
        pg_uri = options.pg_uri if postgres is None else postgres.start()
        storage = Storage(pg_uri, options.namespace, options.data_uri)
        storage.create_namespace()
        storage.create_folder(options.folder)
        application = app.Server(storage, account, read_only=options.read_only).application()
        server = http.Server(options.port, application, options.request_log)
        url = f"http://{http.HOST}:{server.server_port}{app.PREFIX}"
        running = Running(url, os.getpid(), pg_uri, options.folder)
        threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
        _write(options.data / "server.json", json.dumps(asdict(running)))
        if options.pid_file:
            _write(options.pid_file, f"{os.getpid()}\n")
        print(running.line(), flush=True)
        over.wait()
        server.shutdown()
    finally:
        (options.data / "server.json").unlink(missing_ok=True)
        if postgres:
            postgres.stop()
        lock.close()
    return 0


def detach(directory: Path, arguments: list[str]) -> int:
    """Start the server in the background and wait until it answers."""
    before = running_server(directory)
    if before is not None:
        print(before.line())
        return 0
    directory.mkdir(parents=True, exist_ok=True)
    log = directory / "server.log"
    with log.open("wb") as output:
        command = [sys.executable, "-I", str(Path(__file__).resolve()), *arguments]
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True
        )
    end = time.monotonic() + _START_SECONDS
    while time.monotonic() < end and child.poll() is None:
        running = running_server(directory)
        if running is not None and running.pid == child.pid:
            print(running.line())
            return 0
        time.sleep(0.05)
    raise CannotRun(log.read_text().removeprefix("ucondb_dev_server: ").strip() or f"no start; see {log}")


def stop(directory: Path) -> int:
    """Stop the server of this directory and PostgreSQL, also if only PostgreSQL still runs."""
    running = running_server(directory)
    if running is not None:
        os.kill(running.pid, signal.SIGTERM)
        end = time.monotonic() + _STOP_SECONDS
        while running.alive():
            if time.monotonic() > end:
                raise CannotRun(f"process {running.pid} does not end")
            time.sleep(0.05)
    if (directory / "postgres").is_dir():
        Postgres(directory / "postgres").stop()
    (directory / "server.json").unlink(missing_ok=True)
    print("UconDB development server stopped" if running else "no UconDB development server was running")
    return 0


def running_server(directory: Path) -> Running | None:
    """The server that uses this directory."""
    try:
        running = Running(**json.loads((directory / "server.json").read_text()))
    except (OSError, ValueError, TypeError):
        return None
    return running if running.alive() else None


def _lock(directory: Path) -> TextIO:
    """Allow one server per directory. The lock ends with the process, also a killed one."""
    stream = (directory / ".lock").open("w")
    try:
        fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        stream.close()
        raise CannotRun(f"another server runs on {directory}; stop it with --stop") from error
    return stream


def _password(options: argparse.Namespace) -> str:
    if options.password_file:
        return str(options.password_file.read_text().splitlines()[0])
    password = os.environ.get(options.password_env)
    if not password:
        raise CannotRun(f"set the variable {options.password_env}, or give --password-file")
    return password


def _write(path: Path, text: str) -> None:
    """Write the file atomically: other processes wait for it."""
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_text(text)
    temporary.replace(path)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="UconDB development server (loopback only, not for production)")
    parser.add_argument("--data", type=Path, required=True, metavar="DIR", help="where PostgreSQL keeps its data")
    parser.add_argument("--port", type=int, default=0, help="port on 127.0.0.1 (default: any free one)")
    parser.add_argument("--folder", default="run_records", help="folder to make (default: run_records)")
    parser.add_argument("--namespace", default="public", metavar="NAME", help="namespace of its folders: a schema")
    parser.add_argument("--user", default="archiver", help="user who may write (default: archiver)")
    parser.add_argument("--password-env", default="UCONDB_PASSWORD", metavar="NAME", help="variable with the password")
    parser.add_argument("--password-file", type=Path, metavar="FILE", help="file whose first line is the password")
    parser.add_argument("--pg-uri", metavar="URI", help="use this PostgreSQL instead of an own one")
    parser.add_argument("--data-uri", metavar="URI", help="keep contents in this database, metadata in the other")
    parser.add_argument("--no-authentication", action="store_true", help="ask nobody for a password")
    parser.add_argument("--no-fsync", action="store_true", help="own PostgreSQL without fsync, for tests")
    parser.add_argument("--read-only", action="store_true", help="answer every put 405, as with read_only: true")
    parser.add_argument("--pid-file", type=Path, metavar="FILE", help="write the process number here")
    parser.add_argument("--request-log", type=Path, metavar="FILE", help="append one line per request")
    parser.add_argument("--detach", action="store_true", help="start in the background and return when it answers")
    parser.add_argument("--stop", action="store_true", help="stop the server of this directory and its PostgreSQL")
    return parser


if __name__ == "__main__":
    sys.exit(main())
