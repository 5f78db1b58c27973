"""What work may cost the process that does it: memory and time. A small file can ask for a lot of both.

A process that holds on to its bounds fails a run; without them the kernel ends a process of its own choice.
"""

from __future__ import annotations

import gc
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from rra_state.base.errors import RecordTooLarge, RecordTooSlow

T = TypeVar("T")


def bound_memory(size: int) -> None:
    """Let this process have so many bytes of address space; beyond that Python raises MemoryError."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def within_memory(run: int, action: Callable[[], T]) -> T:
    """What `action` gives. Raises RecordTooLarge if the memory does not suffice for it, and what it raises."""
    try:
        return action()
    except MemoryError:
        fault = RecordTooLarge(run=run, hint="is it a run record? Otherwise raise app.worker_memory_bytes")
    gc.collect()
    raise fault


@contextmanager
def within_seconds(run: int, seconds: float) -> Iterator[None]:
    """Raise RecordTooSlow inside once it takes longer. Only a process's main thread can be interrupted so: Dask's
    workers have no such limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def expired(_number: int, _frame: FrameType | None) -> None:
        hint = "is it a run record? Otherwise raise source_files.max_record_seconds"
        raise RecordTooSlow(f"took more than {seconds:g} s to read and convert", run=run, hint=hint)

    began = time.monotonic()
    handler = signal.signal(signal.SIGALRM, expired)
    before, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        if before:  # somebody else's alarm
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - began), 0.001))
