"""Logging: plain lines on standard error, and the log file of the configuration.

A new log file is begun at 500 MB, or when a process starts and finds the file's first line older than 14 days. Five
old files are kept. The standard library's timed rotation looks at the time of the last line, so it would never rotate
the file of a program that is started every few minutes. A stream such as `/dev/stdout`, a FIFO or a device is only
written to.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import sys
import time
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from rra_state.base import host_limits
from rra_state.base.errors import WorkDirError
from rra_state.base.wording import printable

MAX_BYTES = 500 * 2**20
MAX_AGE_SECONDS = 14 * 86400
BACKUPS = 5

_TIME_FORMAT = "%Y-%m-%dT%H:%M:%S"
_STREAMS = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,6})")

log = logging.getLogger("rra")


class LineFormatter(logging.Formatter):
    """A message is one line, whatever the names in it hold. A traceback keeps its lines."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's name
        """See logging.Formatter."""
        record.message = printable(record.message)
        return super().formatMessage(record)

    def formatException(self, ei: Any) -> str:  # noqa: N802 - the same
        """See logging.Formatter."""
        return "\n".join(map(printable, super().formatException(ei).splitlines()))


class LogFile(RotatingFileHandler):
    """A rotated log file. An error while writing it is printed once and does not stop the cycle."""

    _error_printed = False

    def _open(self) -> TextIOWrapper:
        if _is_rotated(Path(self.baseFilename)):
            return super()._open()
        return open(open_to_append(Path(self.baseFilename)), "w", encoding="utf-8")

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Print the first OSError on standard error; other errors are bugs, which the base class shows."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._error_printed:
            self._error_printed = True
            print(f"{self.baseFilename}: log file cannot be written: {host_limits.reason(error)}", file=sys.stderr)  # noqa: T201 - it is the log that fails


def setup(file: Path | None, file_level: str = "INFO", *, console_level: int | None = logging.INFO) -> None:
    """Attach the handlers, unless they are attached already. Raises WorkDirError.

    file: the log file, None for none. file_level, console_level: the least important messages there; a console_level
    of None writes nothing to standard error.
    """
    if log.handlers:
        return
    log.setLevel(logging.DEBUG)
    log.propagate = False
    if console_level is not None:
        console = logging.StreamHandler(sys.stderr)
        console.setLevel(console_level)
        console.setFormatter(LineFormatter("%(message)s"))
        log.addHandler(console)
    if file is not None:
        log.addHandler(open_log_file(file, file_level))


def open_log_file(path: Path, level: str, *, max_bytes: int = MAX_BYTES, backups: int = BACKUPS) -> LogFile:
    """Open the log file, and begin a new one if it is too old. Raises WorkDirError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        rotated = _is_rotated(path)
        handler = LogFile(path, maxBytes=max_bytes if rotated else 0, backupCount=backups, encoding="utf-8")
        if rotated and time.time() - (_first_time(path) or time.time()) > MAX_AGE_SECONDS:
            handler.doRollover()
    except OSError as error:
        why = "no program reads this FIFO" if error.errno == errno.ENXIO else host_limits.plain(error)
        raise WorkDirError(f"log file cannot be written: {why}", path=path, hint="see app.log_file") from error
    handler.setLevel(level)
    formatter = LineFormatter("%(asctime)sZ %(levelname)s %(message)s", datefmt=_TIME_FORMAT)
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    return handler


def open_to_append(path: Path) -> int:
    """A descriptor that appends to a log file, or to a stream of this process. Raises OSError.

    A stream is duplicated: opened by its name a socket is refused, and so is a pipe of another account. The open never
    waits for a FIFO's reader, and a write to one that is full fails instead of waiting with the archive's lock held.
    """
    numbered = _DESCRIPTOR.fullmatch(str(path))
    stream = int(numbered[1]) if numbered else _STREAMS.get(str(path))
    if stream is not None:
        return os.dup(stream)
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC, 0o644)


def _is_rotated(path: Path) -> bool:
    """True for a regular file. What `/dev/stdout` leads to is another program's, even if it is a file."""
    named = str(path) in _STREAMS or _DESCRIPTOR.fullmatch(str(path))
    return not named and (path.is_file() or not path.exists())


def _first_time(path: Path) -> float | None:
    """Time of the first line, in seconds since 1970; None for an empty file, or one of another program."""
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            stamp = stream.readline().partition("Z ")[0]
        return datetime.strptime(stamp, _TIME_FORMAT).replace(tzinfo=UTC).timestamp()
    except ValueError:
        return None
