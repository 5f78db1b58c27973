"""Limits of the host: recognise what it refuses (open files, memory, processes, space), and bound our own use.

Every limit is named with its remedy and is never an error of a run. The bounds (memory and time for one run) are ours:
a run that exceeds them fails, before the kernel kills a process of its own choice.
"""

from __future__ import annotations

import errno
import gc
import re
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TypeVar

from rra_state.base.errors import HostLimit, RecordTooLarge, RecordTooSlow

T = TypeVar("T")

_FILES = "raise the limit of open files: ulimit -n 1024, or LimitNOFILE= of the systemd unit"
_MEMORY = "free memory, raise ulimit -v or MemoryMax= of the systemd unit, or lower app.parallel_workers"
TASKS = "raise ulimit -u and -v, or TasksMax= and MemoryMax= of the systemd unit, or lower app.parallel_workers"
"""Remedy where threads or processes do not start."""
_SPACE = "free space (df -h) or inodes (df -i) on this file system"
_INODES_OR_QUOTA = "raise the account's quota or free space"
_NO_LOCKS = (
    "the file system gives no locks: mount NFS with them (a running lock service, or -o local_lock=flock if only this"
    " host writes), or use a local disk"
)
_READ_ONLY = "the file system is mounted read only: see dmesg for why, and remount it writable"

REMEDIES = {
    errno.EMFILE: _FILES,
    errno.ENFILE: "the whole host has too many files open: see lsof, or raise sysctl fs.file-max",
    errno.ENOMEM: _MEMORY,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _INODES_OR_QUOTA,
    errno.EROFS: _READ_ONLY,
    errno.ENOLCK: _NO_LOCKS,
    errno.EOPNOTSUPP: _NO_LOCKS,
}
"""Remedies by errno."""
OF_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errnos of a limit of the process: the file that the exception names is not the cause."""

_SIGNS = tuple(
    (re.compile(sign, re.IGNORECASE), remedy)
    for sign, remedy in (
        (r"Too many open files", _FILES),
        (r"can't start new thread|Resource temporarily unavailable", TASKS),
        (
            r"MemoryError|Cannot allocate memory|memory allocation (still )?failed|failed to map segment"
            r"|failed to allocate memory|out of memory",
            _MEMORY,
        ),
        (r"No space left on device", _SPACE),
        (r"Disk quota exceeded", _INODES_OR_QUOTA),
        (r"Read-only file system", _READ_ONLY),
    )
)


def remedy(text: str) -> str | None:
    """The remedy for a limit of the host that the text names; None if it names none."""
    return next((remedy for sign, remedy in _SIGNS if sign.search(text)), None)


def plain(error: OSError) -> str:
    """The reason of an OSError in lower case: "no such file or directory"."""
    return (error.strerror or str(error)).lower()


def reason(error: OSError) -> str:
    """The reason of an OSError, with the remedy if there is a general one."""
    said = plain(error)
    known = REMEDIES.get(error.errno or 0)
    return f"{said} ({known})" if known else said


def refusal(error: BaseException) -> HostLimit | None:
    """A HostLimit that names limit and remedy, if `error` or one of its causes is a limit of the host."""
    seen: BaseException | None = error
    while seen is not None:
        said = f"{type(seen).__name__}: {seen}"
        known = remedy(said)
        if known is not None:
            words = plain(seen) if isinstance(seen, OSError) else str(seen) or "no memory is left"
            return HostLimit(
                f"the host refuses what the archiver needs: {words}",
                path=seen.filename if isinstance(seen, OSError) else None,
                hint=known,
            )
        seen = seen.__cause__ or seen.__context__
    return None


def bound_memory(size: int) -> None:
    """Limit the address space of this process to `size` bytes; beyond that Python raises MemoryError."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size if hard == resource.RLIM_INFINITY else min(size, hard), hard))


def within_memory(run: int, action: Callable[[], T]) -> T:
    """Return the result of `action`. Raises RecordTooLarge if its memory does not suffice, and what `action` raises."""
    try:
        return action()
    except MemoryError:
        error = RecordTooLarge(run=run, hint="is it a run record? Otherwise raise app.worker_memory_bytes")
    gc.collect()  # the failed call's objects refer to one another: without this the next run finds their memory taken
    raise error


@contextmanager
def within_seconds(run: int, seconds: float) -> Iterator[None]:
    """Raise RecordTooSlow inside the `with` block once it takes longer than `seconds`.

    Only the main thread of a process can be interrupted; in other threads (Dask workers) there is no limit.
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
        if before:  # an alarm that was set before: give it the time that it had left
            signal.setitimer(signal.ITIMER_REAL, max(before - (time.monotonic() - began), 0.001))
