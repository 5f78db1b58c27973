"""The archiver's exceptions, and what each means for the cycle.

The root is `ArchiverError`; its attributes hold what a message names. Exceptions of drivers are mapped to these classes
at one place per store. A class's docstring is its default message.
"""

from __future__ import annotations

from os import PathLike


class ArchiverError(Exception):
    """something went wrong"""

    stops_cycle = False
    """True: an error of a store, a disk or the host, not of a run. The cycle ends; no failure record is written."""
    stage: str | None = None
    """With `stops_cycle`: the only stage that ends (and refreshes, which need both); None: the whole cycle."""
    transient = False
    """True: the same call may succeed later, so it is retried."""
    postpones = False
    """True: the run is not judged. No failure record is written, and the next cycle takes it again."""

    def __init__(
        self,
        message: str | None = None,
        *,
        run: int | None = None,
        path: str | PathLike[str] | None = None,
        line: int | None = None,
        hint: str | None = None,
        stage: str | None = None,
    ) -> None:
        self.message = message or (type(self).__doc__ or "").strip()
        self.run = run
        self.path = None if path is None else str(path)
        self.line = line
        self.hint = hint
        self.stage = stage or self.stage
        self.tries = 1
        super().__init__(self.message)

    def __str__(self) -> str:
        """`run 7027: wibtest.fcl line 12: what is wrong (what to do)`."""
        where = self.path or ""
        if self.line is not None:
            where = f"{where} line {self.line}".strip()
        parts = [f"run {self.run}" if self.run is not None else "", where, self.message]
        text = ": ".join(part for part in parts if part)
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(ArchiverError):
    """the configuration cannot be used"""


class UsageError(ArchiverError):
    """these command line options do not go together"""


# ---- errors of one run -----------------------------------------------------------------------------------------------


class RecordError(ArchiverError):
    """the run record cannot be archived as it is"""


class RecordChanged(RecordError):
    """the run record changed while it was read"""

    transient = True
    postpones = True


class RecordOpen(RecordError):
    """the run record is still being written or copied"""

    postpones = True


class StillArriving(ArchiverError):
    """another program is still storing the run in artdaqDB"""

    postpones = True


class RecordTooLarge(RecordError):
    """the run record needs more memory than a worker may take"""


class RecordTooSlow(RecordError):
    """the run record took too long to read and convert"""


class FhiclError(RecordError):
    """not a FHiCL document; `line` counts from 1"""


class BlobError(RecordError):
    """not a run record blob"""


class Conflict(ArchiverError):
    """the store holds other content for this run; a person has to decide"""


class NotListed(ArchiverError):
    """UconDB: held but not listed (is its row marked as deleted, or not valid yet?)"""

    transient = True


class NotFinished(ArchiverError):
    """the refresh was begun and not finished"""


class RecordShrank(RecordError):
    """the record on disk has lost something that is archived"""


class VerificationError(ArchiverError):
    """what was read back is not what was stored"""

    transient = True


class WorkerLost(ArchiverError):
    """the worker process that had this run died twice"""


# ---- errors of a store, a disk or the host: they end the cycle and fail no run ---------------------------------------


class CycleError(ArchiverError):
    """the cycle cannot go on"""

    stops_cycle = True


class StoreError(CycleError):
    """a store cannot be used"""


class StoreUnavailable(StoreError):
    """a store did not answer"""

    transient = True


class AccessDenied(StoreError):
    """a store refused the user, the password or the folder"""


class IndexDamaged(StoreError):
    """the index of the artdaqDB archive is missing or damaged"""


class SourceUnreadable(CycleError):
    """the directory of run records cannot be read"""

    stage = "import"


class SiteShrank(CycleError):
    """a site does not hold what it held before"""


class WorkDirError(CycleError):
    """the work directory cannot be written"""


class StateFileError(CycleError):
    """a state file cannot be read or written"""


class LockHeld(CycleError):
    """another instance of the archiver is running"""


class HostLimit(CycleError):
    """the host refuses what the archiver needs"""


class WorkersUnusable(CycleError):
    """worker processes die again and again, whichever run they have; see the system's log (memory, limits)"""


class NotSent(ArchiverError):
    """a message was not sent; it costs the cycle nothing"""


class Interrupted(CycleError):
    """stopped by a signal"""
