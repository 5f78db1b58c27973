"""One instance at a time: flock on `markers/.lock` and on the documented lock file.

Operators know the second and may remove it; the first keeps a second instance out even then.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Self

from rra_state.base import files, host_limits
from rra_state.base.errors import ArchiverError, LockHeld, WorkDirError

VARIABLE = "RRA_LOCK_FD"
"""Environment variable with the descriptor of the lock that the command line passes to its Snakemake process."""

ORPHAN_SECONDS = 20.0
"""After `kill -9`, the longest wait for the children of the holder to end. They give their workers 5 s to finish."""

_FLAGS = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW
_MAX_BYTES = 4096
_PROCESS_ID = re.compile(rb"[\s\0]*+\d{0,20}[\s\0]*+")
"""Content of a lock file; some file systems leave NUL bytes after a power cut."""


class Lock:
    """The archive lock of one work directory, held until `release` or the end of the process."""

    def __init__(self, work_dir: Path, lock_file: Path) -> None:
        self._inner = work_dir / "markers" / ".lock"
        self._outer = lock_file
        self._descriptors: list[int] = []

    @property
    def inheritable(self) -> int:
        """Descriptor of `markers/.lock`, to be passed to a child."""
        return self._descriptors[0]

    def acquire(self) -> Self:
        """Take both locks and write the process id. Raises LockHeld with the holder's id, or WorkDirError."""
        try:
            for path in (self._inner, self._outer):
                files.make_directory(path.parent)
                self._descriptors.append(_open_and_lock(path))
            self._refuse_another_file(self._descriptors[-1])
            for descriptor in self._descriptors:
                files.rewrite(descriptor, f"{os.getpid()}\n".encode())
        except OSError as error:
            self.release()
            raise WorkDirError(
                f"lock cannot be written: {host_limits.plain(error)}",
                path=error.filename,
                hint=host_limits.REMEDIES.get(error.errno or 0, "check owner and mode of the work directory"),
            ) from error
        except ArchiverError:
            self.release()
            raise
        return self

    def __enter__(self) -> Self:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def check(self) -> None:
        """Raise the OSError or WorkDirError with which `acquire` would fail for a file that is there. Locks nothing."""
        for path in filter(os.path.lexists, (self._inner, self._outer)):
            descriptor = os.open(path, _FLAGS)
            try:
                if path == self._outer:
                    self._refuse_another_file(descriptor)
            finally:
                os.close(descriptor)

    def inherit(self, environ: Mapping[str, str]) -> bool:
        """Take over the parent process's lock; False if it passed none for this work directory."""
        try:
            descriptor = int(environ.get(VARIABLE, ""))
            same = os.path.samestat(os.fstat(descriptor), self._inner.stat())
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (ValueError, OSError):
            return False
        if same:
            self._descriptors.append(descriptor)
        return same

    def release(self) -> None:
        """Release both locks. The files stay: without them two instances could lock two different files."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def _refuse_another_file(self, descriptor: int) -> None:
        """Raise WorkDirError if the configured lock file, open here, is another kind of file."""
        held = os.pread(descriptor, _MAX_BYTES + 1, 0)
        if len(held) > _MAX_BYTES or not _PROCESS_ID.fullmatch(held):
            raise WorkDirError(
                "is not a lock file: it holds something else", path=self._outer, hint="correct app.lock_file"
            )


def _open_and_lock(path: Path) -> int:
    """A descriptor of the file at `path`, locked. Raises LockHeld, OSError."""
    deadline = time.monotonic() + ORPHAN_SECONDS
    while True:
        descriptor = os.open(path, _FLAGS | os.O_CREAT, 0o644)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(descriptor)
            gone = is_alive(holder) is False
            if gone and time.monotonic() < deadline:
                time.sleep(0.05)  # just killed: its children are about to end and release the lock
                continue
            who = f"process {holder}" if holder else "another process"
            if gone:
                who = f"a child of {who}, which was killed,"
            raise LockHeld(f"the archiver is already running: {who} holds {path}", hint="wait for it to end") from None
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                return descriptor
        except FileNotFoundError:
            pass
        os.close(descriptor)  # removed between opening and locking: lock the new file instead


def is_alive(process: str) -> bool | None:
    """Whether a process has this id, of the text in a lock file; None if that is no process id."""
    try:
        os.kill(int(process), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    except (ValueError, OverflowError):
        return None
    return True
