"""A process that ends at a step of its choice, as if the power were cut: `os._exit`, no handler, no `finally`."""

from __future__ import annotations

import gc
import os
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

from rra_state.base import files

KILLED = 137

Listener = Callable[..., None]


class DiesAt:
    """Ends the process right before its `step`-th step, counted from 1; a write is cut in the middle."""

    def __init__(self, step: int) -> None:
        self._left = step

    def __call__(self, step: str, *details: Any) -> None:
        self._left -= 1
        if self._left == 0:
            if step == "write":
                path, data = details
                Path(path).write_bytes(data[: len(data) // 2])
            os._exit(KILLED)


class Counts:
    """Counts the steps of a process that lives, into a pipe that outlives it."""

    def __init__(self) -> None:
        self._reader, self._writer = os.pipe()
        self._seen = 0

    def __call__(self, _step: str, *_details: Any) -> None:
        self._seen += 1

    def tell(self) -> None:
        os.write(self._writer, b"%d" % self._seen)

    def told(self) -> int:
        number = int(os.read(self._reader, 20))
        os.close(self._reader)
        os.close(self._writer)
        return number


def life(action: Callable[[], object], listener: Listener | None = None) -> int:
    """Do `action` in a process of its own; its exit status: 0, 1 after an exception, KILLED."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # xdist has threads; the child touches none of theirs
        child = os.fork()
    if child:
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    gc.freeze()  # the parent's garbage stays: a driver collected here would wait for threads that only the parent has
    status = 1
    try:
        with mock.patch.object(files, "announce", listener or files.announce):
            action()
        status = 0
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(status)


def steps_of(action: Callable[[], object]) -> int:
    """How many steps `action` takes when nothing happens to it."""
    counts = Counts()

    def counted() -> None:
        action()
        counts.tell()

    assert life(counted, counts) == 0
    return counts.told()
