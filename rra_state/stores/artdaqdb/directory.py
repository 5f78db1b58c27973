"""The directory of an archive: the list of its documents, and its errors.

An archiver locks it against others. artdaq's own tools take no lock: a change of theirs is detected by the stamp of the
index. Only `mapped_errors` maps an OSError of a directory archive to a StoreError.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.errors import StoreError, StoreUnavailable

_HINTS = {
    errno.ENOSPC: f"{host_limits.REMEDIES[errno.ENOSPC]}; nothing half stored is visible",
    errno.EDQUOT: f"{host_limits.REMEDIES[errno.EDQUOT]}; nothing half stored is visible",
    errno.EACCES: "give the archiver's account read and write permission",
    errno.EPERM: "give the archiver's account read and write permission",
    errno.ENOTDIR: "artdaq_db.database_uri must name a directory",
    errno.ESTALE: "is the file server well; the next cycle tries again",
    errno.EIO: "is the disk well? the next cycle tries again",
    errno.ENOENT: "is the archive's file system mounted?",
}
_PASSING = {errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.EHOSTDOWN, errno.EAGAIN, errno.EMFILE, errno.ENFILE}


@contextmanager
def mapped_errors(path: Path | str) -> Iterator[None]:
    """Raise StoreError, with path and remedy, for an OSError inside. path: for the message if the OSError has none."""
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOENT and error.filename and Path(error.filename).parent.is_dir():
            raise StoreUnavailable(
                "another program removed a file that was just written",
                path=error.filename,
                hint="does another archiver store the same runs here? Stop one of them",
            ) from error
        kind = StoreUnavailable if error.errno in _PASSING else StoreError
        message = f"the artdaqDB directory cannot be used: {host_limits.plain(error)}"
        raise kind(
            message,
            path=error.filename or path,
            hint=_HINTS.get(error.errno or 0) or host_limits.REMEDIES.get(error.errno or 0),
        ) from error


def documents(directory: Path) -> Iterator[str]:
    """File names of the documents of a collection; none if the directory does not exist. Raises OSError."""
    try:
        entries = os.scandir(directory)
    except FileNotFoundError:
        return
    with entries:
        for entry in entries:
            if entry.name.endswith(".json") and entry.name != "index.json" and not entry.name.startswith("."):
                yield entry.name


def has_documents(directory: Path) -> bool:
    """Whether a collection holds any document. Raises OSError."""
    return next(documents(directory), None) is not None
