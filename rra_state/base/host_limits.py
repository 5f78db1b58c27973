"""What the host refuses: open files, memory, processes, space. Named with its remedy, and never the fault of a run.

Python and its libraries say it in many ways; here they are recognised. Asks the host nothing.
"""

from __future__ import annotations

import errno
import re

from rra_state.base.errors import HostLimit

_FILES = "raise the limit of open files: ulimit -n 1024, or LimitNOFILE= of the systemd unit"
_MEMORY = "free memory, raise ulimit -v or MemoryMax= of the systemd unit, or lower app.parallel_workers"
_TASKS = "raise ulimit -u and -v, or TasksMax= and MemoryMax= of the systemd unit, or lower app.parallel_workers"
_SPACE = "free space (df -h) or inodes (df -i) on this file system"
_INODES_OR_QUOTA = "raise the account's quota or free space"
_READ_ONLY = "the file system is mounted read only: see dmesg for why, and remount it writable"

REMEDIES = {
    errno.EMFILE: _FILES,
    errno.ENFILE: "the whole host has too many files open: see lsof, or raise sysctl fs.file-max",
    errno.ENOMEM: _MEMORY,
    errno.ENOSPC: _SPACE,
    errno.EDQUOT: _INODES_OR_QUOTA,
    errno.EROFS: _READ_ONLY,
}
"""What helps, by errno."""
OF_PROCESS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""Errnos that say nothing of the file they came with."""

_SIGNS = tuple(
    (re.compile(sign, re.IGNORECASE), remedy)
    for sign, remedy in (
        (r"Too many open files", _FILES),
        (r"can't start new thread|Resource temporarily unavailable", _TASKS),
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
    """What helps against what a program printed; None if it is no limit of the host's."""
    return next((remedy for sign, remedy in _SIGNS if sign.search(text)), None)


def reason(error: OSError) -> str:
    """What the host said, in plain words, with the remedy if there is a general one."""
    said = (error.strerror or str(error)).lower()
    known = REMEDIES.get(error.errno or 0)
    return f"{said} ({known})" if known else said


def refusal(error: BaseException) -> HostLimit | None:
    """The error that names limit and remedy, if `error` or what caused it is a limit of the host's."""
    seen: BaseException | None = error
    while seen is not None:
        said = f"{type(seen).__name__}: {seen}"
        known = remedy(said)
        if known is not None:
            words = (seen.strerror or said).lower() if isinstance(seen, OSError) else said
            return HostLimit(
                f"the host refuses what the archiver needs: {words.removesuffix(': ')}",
                path=seen.filename if isinstance(seen, OSError) else None,
                hint=known,
            )
        seen = seen.__cause__ or seen.__context__
    return None
