"""Concurrency helpers: calls with a time limit, locked directories, and slots shared by processes.

Source: docs/design/architecture.md, Executor.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.errors import WorkDirError

_POLL_SECONDS = 0.01
"""Between two looks for a free slot."""


# ---- time limits ---------------------------------------------------------------------------------------------------


def run_within(seconds: float, actions: Mapping[str, Callable[[], None]]) -> dict[str, Exception | None]:
    """Run all actions in parallel; return for each the exception it raised, or None.

    For servers that may not answer (mail, metrics, name service) and must not delay a cycle. An action that has not
    ended after `seconds` counts as TimeoutError; its thread ends with the process.
    """
    results: dict[str, Exception | None] = {}

    def act(name: str) -> None:
        try:
            actions[name]()
            results[name] = None
        except Exception as error:
            results[name] = error

    threads = {name: threading.Thread(target=act, args=(name,), name=f"rra-{name}", daemon=True) for name in actions}
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = TimeoutError(f"no answer within {seconds:g} s")
    return {name: results.get(name, late) for name in actions}


# ---- locked directories ----------------------------------------------------------------------------------------------


@contextmanager
def locked(directory: Path) -> Iterator[None]:
    """Lock a directory against other processes that do the same; the lock ends with the process. Raises OSError."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


# ---- slots ---------------------------------------------------------------------------------------------------------


class Slots:
    """A semaphore across processes: one locked file per slot. The kernel frees a slot when its holder dies."""

    def __init__(self, directory: Path, name: str, number: int) -> None:
        """directory: holds the lock files `.<name>-<n>`; made when first needed. number: of slots."""
        self._files = [directory / f".{name}-{each}" for each in range(number)]

    def check(self) -> None:
        """Raise WorkDirError if a lock file that exists cannot be opened. Locks nothing."""
        for file in filter(Path.exists, self._files):
            os.close(_open_lock_file(file))

    @contextmanager
    def held(self) -> Iterator[int]:
        """Wait for a free slot and hold it. Raises WorkDirError.

        Yields the descriptor of the locked file: a program that inherits it holds the slot until it ends too.
        """
        while (descriptor := self._free()) is None:
            time.sleep(_POLL_SECONDS)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def _free(self) -> int | None:
        """Lock the first file that is free, and return its descriptor; None if all are locked."""
        for file in self._files:
            descriptor = _open_lock_file(file)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(descriptor)
            except OSError as error:
                os.close(descriptor)
                raise _unlockable(file, error) from error
            else:
                return descriptor
        return None


def _open_lock_file(file: Path) -> int:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        return os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except OSError as error:
        raise _unlockable(file, error) from error


def _unlockable(file: Path, error: OSError) -> WorkDirError:
    hint = host_limits.REMEDIES.get(error.errno or 0, "check owner and mode")
    return WorkDirError(f"cannot be locked: {host_limits.plain(error)}", path=file, hint=hint)
