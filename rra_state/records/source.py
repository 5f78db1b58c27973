"""Read run records from the DAQ's disk: the list of runs, whether one is ready, and one record whole.

Everything is read as bytes, once, and never waits on a FIFO or follows a link. Nothing is converted or written here.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from rra_state.base import host_limits, run_numbers
from rra_state.base.errors import RecordChanged, RecordError, RecordOpen, SourceUnreadable
from rra_state.base.wording import readable
from rra_state.records import metadata
from rra_state.records.model import Record, Skipped, SourceFile

TEXTS = ("boot", "known_boardreaders_list", "setup", "environment", "metadata", "settings", "ranks")
"""Stems of the seven text files of a record. Source: docs/design/run_records.md, Files of a record."""

MAX_FILE_BYTES = 64 * 2**20
MAX_RECORD_BYTES = 512 * 2**20
CLOCK_SECONDS = 86400
"""A change that lies further ahead than this was dated by a clock that was wrong; waiting for it might take years."""

TICK_SECONDS = 0.02
"""Two writes within a tick of the kernel's clock (1 to 10 ms) can leave the same times, and so the same signature."""

_TEXT_NAMES = frozenset(f"{stem}.txt" for stem in TEXTS)
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT_HINT = "does it belong to the record? Otherwise raise the limit"
_MAYBE_ALL = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.EACCES})
"""Faults of a record that can come from the disk under all of them, away or unreachable."""
_RIGHTS_HINT = "the archiver's account needs read permission on the record's directory and files"

Signature = tuple[int, int, int, int, int]
"""Device, inode, size, modification and change time: what differs when a file was written or replaced."""


@dataclass(frozen=True, slots=True)
class Listing:
    """One look at the directory of run records: the runs, and the entries that are none.

    signature: the directory's, which differs once an entry comes or goes; None if that might still go unnoticed.
    """

    runs: frozenset[int]
    ignored: tuple[Skipped, ...]
    signature: Signature | None = None


class Progress(Enum):
    """Whether a record can be archived: READY, or OPEN while the DAQ may still write to it."""

    READY = "ready"
    OPEN = "open"


@dataclass(frozen=True, slots=True)
class Readiness:
    """stop_time: as metadata.txt has it, None if the run has not ended or ended without writing it."""

    progress: Progress
    stop_time: str | None

    @property
    def ready(self) -> bool:
        """Whether the record can be archived now."""
        return self.progress is Progress.READY


def listing(run_records_dir: Path, earlier: Listing | None = None) -> Listing:
    """The runs that have a directory here. Raises SourceUnreadable.

    One scan without a stat per entry where the file system gives the type; none if nothing came or went since an
    `earlier` listing of the same directory.
    """
    try:
        descriptor = os.open(run_records_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            signature = _signature(os.fstat(descriptor))
            if earlier is not None and earlier.signature == signature:
                return earlier
            settled = not _just_changed([signature], time.time())
            directories, ignored = _entries(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise _unreadable(run_records_dir, error) from error
    found = run_numbers.numbers(directories)
    if len(found) < len(directories):
        ignored += (Skipped(name, _NO_NUMBER) for name in directories if run_numbers.number(name) is None)
    in_order = tuple(sorted(ignored, key=lambda skipped: skipped.name))
    return Listing(frozenset(found), in_order, signature if settled else None)


def _entries(descriptor: int) -> tuple[list[str], list[Skipped]]:
    """The directories in this one, and everything else."""
    directories: list[str] = []
    others: list[Skipped] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                others.append(Skipped(entry.name, _why_no_run(entry)))
    return directories, others


def readiness(limits: Limits, run: int, now: float) -> Readiness:
    """Whether the record of a run can be archived at `now` (seconds since 1970). Raises HostLimit.

    Ready: nothing in it changed for `quiet_seconds`, or for `settle_seconds` if metadata.txt has no stop time. Only
    metadata.txt is read. A record that cannot be read is ready as well: reading it names the fault, and leaving it
    open would hide it.
    """
    try:
        with _open(limits.run_records_dir / str(run), run) as place:
            stop_time = _stop_time(place)
            newest = _inventory(place).newest
    except RecordChanged:
        return Readiness(Progress.OPEN, None)
    except (OSError, RecordError, SourceUnreadable):
        return Readiness(Progress.READY, None)
    ready = _unchanged_long_enough(limits, stop_time, newest, now)
    return Readiness(Progress.READY if ready else Progress.OPEN, _text(stop_time))


def _unchanged_long_enough(limits: Limits, stop_time: str | None, newest: float, now: float) -> bool:
    """Whether a record whose last change was at `newest` is complete by the rule of `readiness`.

    A change that lies more than a day ahead was dated by a clock that was wrong, and does not count.
    """
    needed = limits.settle_seconds if stop_time is None else limits.quiet_seconds
    return needed <= 0 or now - newest >= needed or newest - now > CLOCK_SECONDS


def read(
    directory: Path,
    run: int,
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Record:
    """The record in `directory`, the run's own one. Raises RecordError; RecordChanged if the DAQ wrote to it meanwhile.

    Raises SourceUnreadable if not this record but the directory of all of them cannot be read any more.
    Taken: regular files directly in it that are `*.fcl` or one of the seven texts. The rest is in `skipped`, by name.
    """
    return _read(directory, run, max_file_bytes, max_record_bytes)[0]


def _read(directory: Path, run: int, max_file_bytes: int, max_record_bytes: int) -> tuple[Record, float]:
    """The record, and when something in it changed last (seconds since 1970)."""
    with _open(directory, run) as place:
        inventory = _inventory(place)
        if _just_changed(inventory.files.values(), time.time()):
            time.sleep(TICK_SECONDS)
            inventory = _inventory(place)
        before, skipped = inventory.files, inventory.skipped
        total = sum(signature[2] for signature in before.values())
        if total > max_record_bytes:
            raise place.fault(f"the record has {total} bytes, more than the limit of {max_record_bytes}", _LIMIT_HINT)
        files = tuple(SourceFile(name, _read_file(place, name, max_file_bytes)) for name in sorted(before))
        after = _inventory(place).files
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if changed:
            raise place.changed(changed[0])
        if not files:
            raise place.fault("the record holds no file to archive", "was it copied to the end, or emptied?")
        if metadata.NAME not in before:
            reason = next((entry.reason for entry in skipped if entry.name == metadata.NAME), "is missing")
            raise place.fault(f"{metadata.NAME} {reason}", "put the file back")
    known = metadata.read(next(file.data for file in files if file.name == metadata.NAME))
    record = Record(run, files, skipped, fingerprint(files), _text(known.start_time), _text(known.stop_time))
    return record, inventory.newest


class Limits(Protocol):
    """The section `source_files`, as far as it is about reading."""

    @property
    def run_records_dir(self) -> Path:
        """Directory with one sub directory per run."""

    @property
    def quiet_seconds(self) -> float:
        """A record with a stop time is open until nothing in it changed for so long."""

    @property
    def settle_seconds(self) -> float:
        """The same for a record without a stop time."""

    @property
    def max_file_bytes(self) -> int:
        """A larger file fails its run."""

    @property
    def max_record_bytes(self) -> int:
        """A larger record fails its run."""


def read_record(limits: Limits, run: int, *, even_if_open: bool = False) -> Record:
    """The record of a run at its configured place; see `read`. Raises RecordOpen if it is not ready any more.

    Time passes between planning and reading, and a copy may have gone on in between.
    """
    directory = limits.run_records_dir / str(run)
    record, newest = _read(directory, run, limits.max_file_bytes, limits.max_record_bytes)
    if not even_if_open and not _unchanged_long_enough(limits, record.stop_time, newest, time.time()):
        raise RecordOpen("changed again before it was read", run=run, path=directory, hint="somebody is writing there")
    return record


def signature(directory: Path, run: int) -> str | None:
    """Differs once anything in a record was written, renamed or replaced; no file is opened. None: it cannot be listed.

    Raises SourceUnreadable if the directory of all records is at fault.
    """
    try:
        with _open(directory, run) as place:
            found = _inventory(place)
    except RecordError:
        return None
    names = [f"{name!a} {entry}" for name, entry in sorted(found.files.items())]
    names += [str(entry) for entry in found.skipped]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def fingerprint(files: tuple[SourceFile, ...]) -> str:
    """sha256 (hex) over names and contents, in the order of the names; lengths make the concatenation unambiguous."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        name = os.fsencode(file.name)
        digest.update(b"%d:%s%d:" % (len(name), name, len(file.data)))
        digest.update(file.data)
    return digest.hexdigest()


# ---- the directory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Place:
    """An open directory of a run: what is put in its place meanwhile is not read instead."""

    descriptor: int
    directory: Path
    run: int

    def fault(self, message: str, hint: str, name: str | None = None) -> RecordError:
        return RecordError(message, run=self.run, path=self._path(name), hint=hint)

    def changed(self, name: str) -> RecordChanged:
        hint = "somebody is writing there"
        return RecordChanged("changed while it was read", run=self.run, path=self._path(name), hint=hint)

    def _path(self, name: str | None) -> Path:
        return self.directory / readable(name) if name else self.directory


@contextmanager
def _open(directory: Path, run: int) -> Iterator[_Place]:
    try:
        descriptor = os.open(directory, _OPEN_DIRECTORY)
    except FileNotFoundError as error:
        _check_above(directory, error)
        hint = f"put it back; if it is gone for good, a person removes failures/import/{run}.json"
        raise RecordError("the record's directory is gone", run=run, path=directory, hint=hint) from error
    except OSError as error:
        _check_above(directory, error)
        reason = "is no directory" if error.errno in (errno.ENOTDIR, errno.ELOOP) else _plain(error)
        message = f"the record's directory cannot be read: {reason}"
        raise RecordError(message, run=run, path=directory, hint=_RIGHTS_HINT) from error
    try:
        yield _Place(descriptor, directory, run)
    finally:
        os.close(descriptor)


def _check_above(directory: Path, fault: OSError) -> None:
    """Raise SourceUnreadable if `fault` of a record is one of the directory of all records, and HostLimit if it is one
    of this process: it costs no run anything.

    An empty directory is what a disk that was unmounted leaves.
    """
    if fault.errno in host_limits.OF_PROCESS and (refused := host_limits.refusal(fault)):
        raise refused from fault
    if fault.errno not in _MAYBE_ALL:
        return
    try:
        with os.scandir(directory.parent) as entries:
            if next(entries, None) is None:
                raise _unreadable(directory.parent, FileNotFoundError("it is empty"))
    except OSError as error:
        raise _unreadable(directory.parent, error) from error


def _unreadable(run_records_dir: Path, error: OSError) -> SourceUnreadable:
    return SourceUnreadable(
        f"the directory of run records cannot be read: {_plain(error)}",
        path=run_records_dir,
        hint="check source_files.run_records_dir, and that the disk is mounted and readable for this account",
    )


@dataclass(frozen=True, slots=True)
class _Inventory:
    """One look at a record's directory.

    files: those to archive, each with what tells a later version from it. skipped: the entries that are left out.
    newest: when the directory or any entry changed last, in seconds since 1970.
    """

    files: dict[str, Signature]
    skipped: tuple[Skipped, ...]
    newest: float


def _inventory(place: _Place) -> _Inventory:
    wanted: dict[str, Signature] = {}
    skipped: list[Skipped] = []
    try:
        newest = changed_at(os.fstat(place.descriptor))
        with os.scandir(place.descriptor) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                newest = max(newest, changed_at(status))
                reason = _why_not_archived(entry.name, status.st_mode)
                if reason:
                    skipped.append(Skipped(readable(entry.name), reason))
                else:
                    wanted[entry.name] = _signature(status)
    except FileNotFoundError as error:
        raise place.changed(str(error.filename or "")) from error
    except OSError as error:
        _check_above(place.directory, error)
        raise place.fault(f"the record's directory cannot be read: {_plain(error)}", _RIGHTS_HINT) from error
    return _Inventory(wanted, tuple(sorted(skipped, key=lambda entry: entry.name)), newest)


def _just_changed(signatures: Iterable[Signature], now: float) -> bool:
    """Whether another write could still go unnoticed."""
    return any(now - max(entry[3:]) / 1e9 < TICK_SECONDS for entry in signatures)


_NO_NUMBER = "is no run number"


def _why_no_run(entry: os.DirEntry[str]) -> str:
    """Of an entry that is no directory."""
    if entry.is_symlink():
        return "is a link"
    return "is no directory" if run_numbers.number(entry.name) is not None else _NO_NUMBER


_KINDS = {
    stat.S_IFLNK: "is a link",
    stat.S_IFDIR: "is a directory",
    stat.S_IFIFO: "is a FIFO",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFBLK: "is a device",
    stat.S_IFCHR: "is a device",
}


def _why_not_archived(name: str, mode: int) -> str | None:
    if kind := _KINDS.get(stat.S_IFMT(mode)):
        return kind
    if name not in _TEXT_NAMES and (name == ".fcl" or not name.endswith(".fcl")):
        return "is neither a .fcl file nor one of the seven texts"
    return None if name.isprintable() else "has a name with control characters or bytes that are not UTF-8"


# ---- the files -----------------------------------------------------------------------------------------------------


def _read_file(place: _Place, name: str, limit: int) -> bytes:
    """The bytes of a regular file. Whether it is the one that was listed, a second look at the directory tells."""
    try:
        with open(os.open(name, _OPEN_FILE, dir_fd=place.descriptor), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise place.changed(name)
            if status.st_size > limit:
                raise place.fault(f"has {status.st_size} bytes, more than the limit of {limit}", _LIMIT_HINT, name)
            data = stream.read(status.st_size + 1)
            if len(data) != status.st_size or _signature(os.fstat(stream.fileno())) != _signature(status):
                raise place.changed(name)
            return data
    except FileNotFoundError as error:
        raise place.changed(name) from error
    except OSError as error:
        _check_above(place.directory, error)
        raise place.fault(f"cannot be read: {_plain(error)}", _RIGHTS_HINT, name) from error


def _stop_time(place: _Place) -> str | None:
    try:
        return metadata.read(_read_file(place, metadata.NAME, MAX_FILE_BYTES)).stop_time
    except RecordChanged:
        return None


def _signature(status: os.stat_result) -> Signature:
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def changed_at(status: os.stat_result) -> float:
    """When an entry changed last, in seconds since 1970: its change time (ctime), which nobody can set.

    `rsync -a` and `cp -p` give a new file the modification time of the one that they copied.
    """
    return status.st_ctime


def _text(time: str | None) -> str | None:
    return None if time is None else readable(time)


def _plain(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
