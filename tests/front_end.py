"""The UconDB development server's application behind gunicorn: keep-alive, chunked answers, several processes.

Which front end a site uses is not known, so the client has to live with both. Source: docs/design/ucondb.md.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from wsgiref.types import WSGIApplication

from tests import ports
from tests.servers import PASSWORD, USER
from tests.waiting import scaled

_START_SECONDS = 30
KEEP_ALIVE_SECONDS = 1


def application() -> WSGIApplication:
    """What gunicorn serves; over the PostgreSQL that `RRA_TEST_PG_URI` names."""
    from scripts.ucondb_dev.app import Account, Server
    from scripts.ucondb_dev.storage import Storage

    return Server(Storage(os.environ["RRA_TEST_PG_URI"]), Account(USER, PASSWORD)).application()


@contextmanager
def gunicorn(pg_uri: str, processes: int = 2) -> Iterator[str]:
    """Serve it on a free port; the URL."""
    with ports.reserved() as port, _served(pg_uri, port, processes) as url:
        yield url


@contextmanager
def _served(pg_uri: str, port: int, processes: int) -> Iterator[str]:
    options = f"--bind 127.0.0.1:{port} --workers {processes} --threads 4 --keep-alive {KEEP_ALIVE_SECONDS}"
    command = [sys.executable, "-m", "gunicorn", *options.split(), "--no-control-socket", f"{__name__}:application()"]
    process = subprocess.Popen(
        command,
        cwd=Path(__file__).parents[1],
        env=os.environ | {"RRA_TEST_PG_URI": pg_uri},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        _wait_for(port, process)
        yield f"http://127.0.0.1:{port}/ucondb"
    finally:
        process.terminate()
        process.communicate(timeout=scaled(30))


def _wait_for(port: int, process: subprocess.Popen[str]) -> None:
    end = time.monotonic() + scaled(_START_SECONDS)
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            if process.poll() is not None:
                raise RuntimeError(process.communicate()[1]) from None
            time.sleep(0.05)
        else:
            return
    raise RuntimeError("gunicorn did not start")
