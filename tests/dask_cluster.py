"""A real Dask scheduler and real worker processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from tests import ports
from tests.paths import REPOSITORY
from tests.site import environment
from tests.waiting import scaled, wait_until


class Cluster:
    """A scheduler and its workers, each a process group of its own.

    host: address of the scheduler. environ: further variables for all of them.
    """

    def __init__(self, directory: Path, host: str = "127.0.0.1", environ: Mapping[str, str] | None = None) -> None:
        self._directory = directory
        self._host, self._environ = host, environ or {}
        self.port = ports.kept_for(self)
        self.scheduler: subprocess.Popen[bytes] | None = None
        self.workers: list[subprocess.Popen[bytes]] = []

    @property
    def address(self) -> str:
        """As `app.workers` names it."""
        return f"dask://{self._host}:{self.port}"

    def start_scheduler(self, *before: str) -> None:
        """before: what to put before the command."""
        options = ("--host", self._host, "--port", str(self.port), "--no-dashboard")
        self.scheduler = self._start("scheduler", *options, before=before)
        wait_until(lambda: self._listens(before))

    def start_worker(self, *before: str) -> None:
        """One more, of one thread."""
        options = ("--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(self._directory))
        self.workers.append(self._start("worker", f"tcp://{self._host}:{self.port}", *options, before=before))

    def stop(self) -> None:
        """Kill them all."""
        for process in (*self.workers, self.scheduler):
            if process is not None and process.poll() is None:
                with suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait(scaled(10))

    def _listens(self, before: tuple[str, ...]) -> bool:
        code = f"import socket; socket.create_connection(({self._host!r}, {self.port}), timeout=1)"
        return subprocess.run([*before, sys.executable, "-c", code], capture_output=True, check=False).returncode == 0

    def _start(self, *arguments: str, before: tuple[str, ...] = ()) -> subprocess.Popen[bytes]:
        with open(self._directory / "log", "ab") as log:
            return subprocess.Popen(
                [*before, sys.executable, "-m", "dask", *arguments],
                cwd=REPOSITORY,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment() | self._environ,
                start_new_session=True,
            )
