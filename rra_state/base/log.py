"""Logging: plain lines on standard error, and the log file of the configuration, rotated by size and by age."""

from __future__ import annotations

import logging
import sys
import time
from datetime import UTC, datetime
from logging.handlers import RotatingFileHandler
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.errors import WorkDirError
from rra_state.config.models import App

MAX_BYTES = 500 * 2**20
MAX_AGE_SECONDS = 14 * 86400
BACKUPS = 5

log = logging.getLogger("rra")


class AgingFileHandler(RotatingFileHandler):
    """Starts a new file at 500 MB or 14 days. The age is that of the file's first line, not of its inode."""

    _told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - the base class's name
        """Tell once that the log cannot be written; that costs the cycle nothing."""
        error = sys.exc_info()[1]
        if not isinstance(error, OSError):
            super().handleError(record)
        elif not self._told:
            self._told = True
            print(f"{self.baseFilename}: log file cannot be written: {host_limits.reason(error)}", file=sys.stderr)  # noqa: T201 - it is the log that fails

    def shouldRollover(self, record: logging.LogRecord) -> bool:  # noqa: N802 - the base class's name
        """Whether this record belongs into a new file."""
        return bool(super().shouldRollover(record)) or self._too_old(record.created)

    def _too_old(self, now: float) -> bool:
        if not hasattr(self, "_born"):
            self._born = _first_time(Path(self.baseFilename)) or now
        return now - self._born > MAX_AGE_SECONDS

    def doRollover(self) -> None:  # noqa: N802 - the base class's name
        """Rename the files by one and begin anew."""
        super().doRollover()
        self._born = time.time()


def setup(app: App, *, level: int = logging.INFO, to_console: bool = True, to_file: bool = True) -> None:
    """Attach the handlers, once. level: least important message for the console. Raises WorkDirError."""
    if log.handlers:
        return
    log.setLevel(logging.DEBUG)
    log.propagate = False
    if to_console:
        console = logging.StreamHandler(sys.stderr)
        console.setLevel(level)
        console.setFormatter(logging.Formatter("%(message)s"))
        log.addHandler(console)
    if to_file and app.log_file is not None:
        log.addHandler(_file_handler(app.log_file, app.log_level))


def _file_handler(path: Path, level: str) -> logging.Handler:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handler = AgingFileHandler(path, maxBytes=MAX_BYTES, backupCount=BACKUPS, encoding="utf-8", delay=False)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise WorkDirError(f"log file cannot be written: {reason}", path=path, hint="see app.log_file") from error
    handler.setLevel(level)
    formatter = logging.Formatter("%(asctime)sZ %(levelname)s %(message)s", datefmt="%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler.setFormatter(formatter)
    return handler


def _first_time(path: Path) -> float | None:
    try:
        with path.open(encoding="utf-8", errors="replace") as stream:
            stamp = stream.readline().partition("Z ")[0]
        return datetime.strptime(stamp, "%Y-%m-%dT%H:%M:%S").replace(tzinfo=UTC).timestamp()
    except (OSError, ValueError):
        return None
