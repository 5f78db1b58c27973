"""Taking turns: at most so many processes of this archiver do something at once, whatever else they are doing.

A turn is a lock on one of a few files. The kernel gives it back when its holder dies, which no semaphore does.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rra_state.base.errors import WorkDirError

_LOOK_AGAIN_SECONDS = 0.01


class Turns:
    """So many turns, shared by every process and thread that names the same files."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        """directory: of the lock files `.<name>-<n>`; made with the first turn."""
        self._files = [directory / f".{name}-{each}" for each in range(number)]

    @contextmanager
    def taken(self) -> Iterator[int]:
        """Hold one of them; waits until one is free. Raises WorkDirError.

        Gives the locked file's descriptor: a program that inherits it holds the turn until it ends, whoever dies first.
        """
        descriptor = self._wait()
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _wait(self) -> int:
        while (descriptor := self._free()) is None:
            time.sleep(_LOOK_AGAIN_SECONDS)
        return descriptor

    def _free(self) -> int | None:
        """A descriptor of a file that nobody else holds locked; None if all are taken."""
        for file in self._files:
            descriptor = _opened(file)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            else:
                return descriptor
        return None


def _opened(file: Path) -> int:
    how = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC
    try:
        try:
            return os.open(file, how, 0o644)
        except FileNotFoundError:
            file.parent.mkdir(parents=True, exist_ok=True)
            return os.open(file, how, 0o644)
    except OSError as error:
        raise WorkDirError(f"cannot be locked: {error.strerror}", path=file, hint="check owner and mode") from error
