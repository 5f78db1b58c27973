"""Run artdaq's own programs, bulkloader and bulkdownloader, on this host or another one.

On this host without a shell; on the other host by a fixed script with quoted values. The archive's URI may hold a
password: it is passed in the environment (this host) or by standard input (ssh), never in an argument, message or log.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import signal
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rra_state.base.errors import StoreError, StoreUnavailable
from rra_state.base.wording import shortened

LOADER, DOWNLOADER = "bulkloader", "bulkdownloader"
_THREADS = "1"
"""More than one loses documents of a directory archive, silently. Source: docs/design/artdaqdb.md, Concurrency."""
_SSH_FAILED, _TIMED_OUT, _NO_PROGRAM, _NOT_FOUND = 255, 124, 126, 127
_SSH_OPTIONS = ("-o", "BatchMode=yes", "-o", "StrictHostKeyChecking=yes", "-o", "ServerAliveInterval=10")
_KILL_SECONDS = 5
"""A program that has not ended so long after its limit, when it got SIGTERM, gets SIGKILL."""
_GIVE_UP_SECONDS = 10
"""So long after the limit the caller gives up, and kills what is left. More than `_KILL_SECONDS`."""
_PART = "rra-part:"
_BEGIN = (
    "umask 077; IFS= read -r ARTDAQ_DATABASE_URI; export ARTDAQ_DATABASE_URI; "
    "d=$(mktemp -d) || exit 74; trap 'rm -rf \"$d\"' EXIT; "
)
_TAKE, _GIVE, _GIVE_NAMED = 'tar xf - -C "$d"', 'tar cf - -C "$d" .', 'tar cf - -T "$d/names"'


@dataclass(frozen=True, slots=True)
class ToolResult:
    """How a program ended. status: exit status, negative for a signal. said: the last line that it printed."""

    program: str
    status: int
    said: str

    def __str__(self) -> str:
        """`bulkloader ended with status 1: Failed to load 1 file`."""
        number = -self.status if self.status < 0 else self.status - 128
        try:
            how = f"was ended by {signal.Signals(number).name}"
        except ValueError:
            how = f"ended with status {self.status}"
        return f"{self.program} {how}" + (f": {self.said}" if self.said else "")


class LocalTools:
    """The programs on this host."""

    def __init__(self, uri: str, tools_dir: Path | None, limit: float) -> None:
        """limit: seconds for one call."""
        self._uri, self._directory, self._limit = uri, tools_dir, limit

    def check(self) -> None:
        """Raise StoreError unless both can be run."""
        for program in (LOADER, DOWNLOADER):
            if shutil.which(Path(self._directory or "", program)) is None:
                raise _not_found(program)

    def load(self, run: int, config: str, files: Mapping[str, bytes], slot: int) -> ToolResult:
        """Have bulkloader store these files. The caller must check the archive for the result. Raises StoreError.

        slot: descriptor of the lock that allows one load at a time; the program inherits it and so keeps the lock even
        if this process dies.
        """
        with tempfile.TemporaryDirectory(prefix="rra-load-") as directory:
            for name, text in files.items():
                Path(directory, name).write_bytes(text)
            return self._call(LOADER, run, config, directory, (slot,))

    def download(self, run: int, config: str) -> tuple[ToolResult, dict[str, bytes]]:
        """Files that bulkdownloader exports, by path below its output directory. Raises StoreError."""
        with tempfile.TemporaryDirectory(prefix="rra-read-") as directory:
            result = self._call(DOWNLOADER, run, config, directory, ())
            found = (each for each in Path(directory).rglob("*") if each.is_file())
            return result, {str(each.relative_to(directory)): each.read_bytes() for each in found}

    def _call(self, program: str, run: int, config: str, directory: str, keep: tuple[int, ...]) -> ToolResult:
        path = Path(self._directory or "", program)
        command = [*_within(self._limit), str(path), *_options(run, config), "-p", directory]
        environment = {"ARTDAQ_DATABASE_URI": self._uri}
        return _run(program, command, b"", self._limit, environment=environment, keep=keep)[0]


class RemoteTools:
    """The programs on another host, run by ssh without prompts, and only if the host's key is known."""

    def __init__(self, uri: str, host: str, tools_dir: Path | None, limit: float) -> None:
        """limit: seconds for one call. The other host ends the program then; this one stops waiting a little later."""
        self._uri, self._host, self._directory, self._limit = uri, host, tools_dir, limit

    def check(self) -> None:
        """See LocalTools."""
        for program in (LOADER, DOWNLOADER):
            path = shlex.quote(str(Path(self._directory or "", program)))
            result, _ = self._call(program, f"command -v {path} >/dev/null || exit {_NOT_FOUND}", b"")
            if result.status:
                raise StoreError(f"artdaq_db.remote_host {self._host}: {result}")

    def load(self, run: int, config: str, files: Mapping[str, bytes], slot: int) -> ToolResult:
        """See LocalTools."""
        script = f"{_checked(_TAKE)} {self._program(LOADER, run, config)} 1>&2 </dev/null"
        result, _ = self._call(LOADER, script, _packed(files), (slot,))
        return result

    def download(self, run: int, config: str) -> tuple[ToolResult, dict[str, bytes]]:
        """See LocalTools. The files are sent back whatever the program's exit status."""
        program = f"s=0; {self._program(DOWNLOADER, run, config)} 1>&2 </dev/null || s=$?"
        script = f'{program}; {_checked(_GIVE)} exit "$s"'
        result, output = self._call(DOWNLOADER, script, b"")
        return result, _unpacked(output, self._host) if output else {}

    def read(self, path: str, names: Sequence[str]) -> dict[str, bytes]:
        """Files below a directory of that host, by name; missing ones are left out. Raises StoreError."""
        there = 'for f in $(cat); do [ -e "$f" ] && printf "%s\\n" "$f" >>"$d/names"; done; : >>"$d/names"'
        script = f"cd {shlex.quote(path)} 2>/dev/null || exit 0; {there}; {_checked(_GIVE_NAMED)}"
        output = self._asked("tar", script, "\n".join(names).encode())
        return _unpacked(output, self._host) if output else {}

    def stamp(self, path: str) -> str:
        """Inode, size and modification time of a file of that host; empty if it does not exist. Raises StoreError."""
        output = self._asked("stat", f"stat -c %i-%s-%Y-%y {shlex.quote(path)} 2>/dev/null || :")
        return output.decode("utf-8", "replace").strip()

    def seconds_unchanged(self, path: str) -> int | None:
        """Seconds by that host's clock since a file changed; None if it does not exist. Raises StoreError."""
        script = f"s=$(stat -c %Y {shlex.quote(path)} 2>/dev/null) && echo $(($(date +%s) - s)) || :"
        output = self._asked("stat", script)
        return int(output) if output.strip() else None

    def any_file(self, path: str) -> bool:
        """Whether a directory of that host holds any .json file. Raises StoreError."""
        script = f'for f in {shlex.quote(path)}/*.json; do [ -e "$f" ] && echo yes && break; done; :'
        return bool(self._asked("ls", script))

    def _asked(self, program: str, script: str, data: bytes = b"") -> bytes:
        """What a script prints on that host. Raises StoreError if it fails."""
        result, output = self._call(program, script, data)
        if result.status:
            raise StoreError(f"{self._host}: {result}")
        return output

    def _program(self, program: str, run: int, config: str) -> str:
        path = str(Path(self._directory or "", program))
        return shlex.join([*_within(self._limit), path, *_options(run, config), "-p"]) + ' "$d"'

    def _call(self, program: str, script: str, data: bytes, keep: tuple[int, ...] = ()) -> tuple[ToolResult, bytes]:
        whole = _BEGIN + script
        connect = ("-o", f"ConnectTimeout={max(1, round(min(self._limit, 30)))}")
        command = ["ssh", *_SSH_OPTIONS, *connect, "--", self._host, f"sh -c {shlex.quote(whole)}"]
        given = self._uri.encode() + b"\n" + data
        result, output = _run(program, command, given, self._limit, environment={}, keep=keep)
        if result.status == _SSH_FAILED:
            raise StoreUnavailable(
                f"artdaq_db.remote_host {self._host}: ssh failed: {result.said}",
                hint="try ssh there by hand as this account: key without passphrase, known host key",
            )
        return result, output


Tools = LocalTools | RemoteTools


def _within(limit: float) -> list[str]:
    """The command `timeout`, which ends the program even if this process dies."""
    return ["timeout", "-k", f"{_KILL_SECONDS}", f"{limit:g}"]


def _options(run: int, config: str) -> list[str]:
    """A name that begins with `-` is given with its option in one argument: bulkdownloader refuses `-c -r`."""
    named = [f"--configuration={config}"] if config.startswith("-") else ["-c", config]
    return ["-r", str(run), *named, "-t", _THREADS]


def _checked(part: str) -> str:
    """A part of the script that prints its name and ends the script if it fails."""
    name = part.split(maxsplit=1)[0]
    return f'{part} || {{ s=$?; echo "{_PART} {name} ended with status $s" >&2; exit 74; }};'


def _run(
    program: str,
    command: Sequence[str],
    data: bytes,
    limit: float,
    *,
    environment: Mapping[str, str],
    keep: tuple[int, ...],
) -> tuple[ToolResult, bytes]:
    """Run a command in its own process group, which is killed some seconds after its `limit`.

    Raises StoreError, also for the exit statuses of `timeout`: not started, or ended by the limit.
    """
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=os.environ | environment,
            start_new_session=True,
            pass_fds=keep,
        )
    except OSError as error:
        raise _not_found(command[0]) from error
    with process:
        try:
            output, errors = process.communicate(data, timeout=limit + _GIVE_UP_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise _too_slow(program, limit + _GIVE_UP_SECONDS) from error
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)  # also its children that still run
    if process.returncode == _TIMED_OUT:
        raise _too_slow(program, limit)
    if process.returncode in (_NO_PROGRAM, _NOT_FOUND):
        raise _not_found(program)
    lines = errors.decode("utf-8", "replace").strip().splitlines() or [""]
    return ToolResult(program, process.returncode, shortened(" ".join(lines[-1].split()), 200)), output


def _not_found(program: str) -> StoreError:
    return StoreError(
        f"artdaq_db.use_tools: {program} cannot be run",
        hint="set artdaq_db.tools_dir, or PATH, to where artdaq's tools are",
    )


def _too_slow(program: str, limit: float) -> StoreUnavailable:
    return StoreUnavailable(
        f"artdaq_db.use_tools: {program} did not end within {limit:g} s and was killed",
        hint="see whether its archive can be reached, or raise artdaq_db.tools_timeout_seconds",
    )


def _packed(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return buffer.getvalue()


def _unpacked(data: bytes, host: str) -> dict[str, bytes]:
    """The regular files of a tar stream, in memory: its names are never used as paths here."""
    try:
        with tarfile.open(fileobj=io.BytesIO(data)) as archive:
            streams = ((each.name, archive.extractfile(each)) for each in archive if each.isreg())
            return {name.removeprefix("./"): stream.read() for name, stream in streams if stream}
    except (tarfile.TarError, EOFError) as error:
        raise StoreUnavailable(
            f"artdaq_db.remote_host {host}: its answer came back cut off", hint="the next cycle tries again"
        ) from error
