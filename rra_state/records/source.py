"""Read run records from the DAQ's disk: the list of runs, whether one is ready, and one record whole.

Reads bytes, each file once; never waits for a FIFO or follows a link. Converts and writes nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rra_state.base import host_limits, run_numbers
from rra_state.base.errors import RecordChanged, RecordError, RecordOpen, SourceUnreadable
from rra_state.base.wording import readable
from rra_state.records import metadata, signatures
from rra_state.records.model import Record, Skipped, SourceFile
from rra_state.records.signatures import Signature

TEXTS = ("boot", "known_boardreaders_list", "setup", "environment", "metadata", "settings", "ranks")
"""Stems of the seven text files of a record. Source: docs/design/run_records.md, Files of a record."""

MAX_FILE_BYTES = 64 * 2**20
MAX_RECORD_BYTES = 512 * 2**20
CLOCK_SECONDS = 86400
"""A change time further ahead than this comes from a wrong clock; waiting for it might take years."""

_TEXT_NAMES = frozenset(f"{stem}.txt" for stem in TEXTS)
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT_HINT = "does it belong to the record? Otherwise raise the limit"
_MAYBE_ALL = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.EACCES})
"""Errors of a record that may be errors of the whole disk, unmounted or unreachable."""
_RIGHTS_HINT = "the archiver's account needs read permission on the record's directory and files"


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing of the directory of run records. ignored: the entries that are not runs.

    signature: of the directory; None if it changed so recently that another change could leave the same times.
    """

    runs: frozenset[int]
    ignored: tuple[Skipped, ...]
    signature: Signature | None = None


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a record can be archived now, or is still open: the DAQ may write to it.

    stop_time: as metadata.txt has it; None if the run has not ended, or ended without writing it.
    """

    ready: bool
    stop_time: str | None


def listing(run_records_dir: Path, earlier: Listing | None = None) -> Listing:
    """The runs that have a directory here. Raises SourceUnreadable.

    Scans the directory once, without a stat per entry where the file system gives the type. Does not scan it if nothing
    came or went since the `earlier` listing.
    """
    try:
        descriptor = os.open(run_records_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            signature = signatures.of(os.fstat(descriptor))
            if earlier is not None and earlier.signature == signature:
                return earlier
            settled = not signatures.just_changed([signature], time.time())
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
    """The sub directories, and the other entries."""
    directories: list[str] = []
    others: list[Skipped] = []
    with os.scandir(descriptor) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                directories.append(entry.name)
            else:
                others.append(Skipped(entry.name, _why_no_run(entry)))
    return directories, others


def readiness(settings: SourceSettings, run: int, now: float) -> Readiness:
    """Whether the record of a run can be archived at `now` (seconds since 1970). Raises HostLimit.

    Ready: nothing in it changed for `quiet_seconds`, or for `settle_seconds` if metadata.txt has no stop time. Only
    metadata.txt is read. A record that cannot be read is ready too: the import then reports the error.
    """
    try:
        with _open(settings.run_records_dir / str(run), run) as opened:
            stop_time = _stop_time(opened)
            newest = _inventory(opened).newest
    except RecordChanged:
        return Readiness(ready=False, stop_time=None)
    except (OSError, RecordError, SourceUnreadable):
        return Readiness(ready=True, stop_time=None)
    ready = _unchanged_long_enough(settings, stop_time, newest, now)
    return Readiness(ready, _text(stop_time))


def _unchanged_long_enough(settings: SourceSettings, stop_time: str | None, newest: float, now: float) -> bool:
    """Whether a record that last changed at `newest` is complete by the rule of `readiness`.

    A change time more than a day ahead comes from a wrong clock and is ignored.
    """
    needed = settings.settle_seconds if stop_time is None else settings.quiet_seconds
    return needed <= 0 or now - newest >= needed or newest - now > CLOCK_SECONDS


def read(
    directory: Path,
    run: int,
    *,
    max_file_bytes: int = MAX_FILE_BYTES,
    max_record_bytes: int = MAX_RECORD_BYTES,
) -> Record:
    """Read the record of a run from its directory. Raises RecordError; RecordChanged if it changed during the read.

    Raises SourceUnreadable if the directory of all records cannot be read any more. Reads the regular files directly in
    the directory that are `*.fcl` or one of the seven texts; the other entries are in `skipped`.
    """
    return _read(directory, run, max_file_bytes, max_record_bytes)[0]


def _read(directory: Path, run: int, max_file_bytes: int, max_record_bytes: int) -> tuple[Record, float]:
    """The record, and when something in it changed last (seconds since 1970)."""
    with _open(directory, run) as opened:
        inventory = _inventory(opened)
        if signatures.just_changed(inventory.files.values(), time.time()):
            time.sleep(signatures.TICK_SECONDS)
            inventory = _inventory(opened)
        before, skipped = inventory.files, inventory.skipped
        total = sum(signature[2] for signature in before.values())
        if total > max_record_bytes:
            raise opened.fault(f"the record has {total} bytes, more than the limit of {max_record_bytes}", _LIMIT_HINT)
        files = tuple(SourceFile(name, _read_file(opened, name, max_file_bytes)) for name in sorted(before))
        after = _inventory(opened).files
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if changed:
            raise opened.changed(changed[0])
        if not files:
            raise opened.fault("the record holds no file to archive", "was it copied to the end, or emptied?")
        if metadata.NAME not in before:
            reason = next((entry.reason for entry in skipped if entry.name == metadata.NAME), "is missing")
            raise opened.fault(f"{metadata.NAME} {reason}", "put the file back")
    known = metadata.read(next(file.data for file in files if file.name == metadata.NAME))
    record = Record(run, files, skipped, fingerprint(files), _text(known.start_time), _text(known.stop_time))
    return record, inventory.newest


class SourceSettings(Protocol):
    """The keys of the section `source_files` that this module reads."""

    @property
    def run_records_dir(self) -> Path:
        """Directory with one sub directory per run."""

    @property
    def quiet_seconds(self) -> float:
        """Seconds without a change after which a record with a stop time is ready."""

    @property
    def settle_seconds(self) -> float:
        """The same for a record without a stop time."""

    @property
    def max_file_bytes(self) -> int:
        """A larger file fails its run."""

    @property
    def max_record_bytes(self) -> int:
        """A larger record fails its run."""


def read_record(settings: SourceSettings, run: int, *, even_if_open: bool = False) -> Record:
    """Read the record of a run from `run_records_dir`; see `read`. Raises RecordOpen if it is not ready any more.

    Between planning and reading, a copy of the record may have gone on.
    """
    directory = settings.run_records_dir / str(run)
    record, newest = _read(directory, run, settings.max_file_bytes, settings.max_record_bytes)
    if not even_if_open and not _unchanged_long_enough(settings, record.stop_time, newest, time.time()):
        raise RecordOpen(
            "changed again before it was read", run=run, path=directory, hint="another program is writing there"
        )
    return record


def signature(directory: Path, run: int) -> str | None:
    """A text that differs once a file of a record was written, renamed or replaced. None if it cannot be listed.

    Opens no file. Raises SourceUnreadable if the directory of all records cannot be read.
    """
    try:
        with _open(directory, run) as opened:
            found = _inventory(opened)
    except RecordError:
        return None
    names = [f"{name!a} {entry}" for name, entry in sorted(found.files.items())]
    names += [str(entry) for entry in found.skipped]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def fingerprint(files: tuple[SourceFile, ...]) -> str:
    """Sha256 (hex) over names and contents, each with its length, in the order of the names."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        name = os.fsencode(file.name)
        digest.update(b"%d:%s%d:" % (len(name), name, len(file.data)))
        digest.update(file.data)
    return digest.hexdigest()


# ---- the directory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OpenRecord:
    """The open directory of a run. If another directory is moved to its path, the open one is still read."""

    descriptor: int
    directory: Path
    run: int

    def fault(self, message: str, hint: str, name: str | None = None) -> RecordError:
        return RecordError(message, run=self.run, path=self._path(name), hint=hint)

    def changed(self, name: str) -> RecordChanged:
        hint = "another program is writing there"
        return RecordChanged("changed while it was read", run=self.run, path=self._path(name), hint=hint)

    def _path(self, name: str | None) -> Path:
        return self.directory / readable(name) if name else self.directory


@contextmanager
def _open(directory: Path, run: int) -> Iterator[_OpenRecord]:
    try:
        descriptor = os.open(directory, _OPEN_DIRECTORY)
    except FileNotFoundError as error:
        _check_above(directory, error)
        hint = f"put it back; if it is gone for good: --forget {run}"
        raise RecordError("the record's directory is gone", run=run, path=directory, hint=hint) from error
    except OSError as error:
        _check_above(directory, error)
        reason = "is no directory" if error.errno in (errno.ENOTDIR, errno.ELOOP) else _plain(error)
        message = f"the record's directory cannot be read: {reason}"
        raise RecordError(message, run=run, path=directory, hint=_RIGHTS_HINT) from error
    try:
        yield _OpenRecord(descriptor, directory, run)
    finally:
        os.close(descriptor)


def _check_above(directory: Path, fault: OSError) -> None:
    """Raise SourceUnreadable or HostLimit if `fault` is not an error of this run.

    SourceUnreadable: the directory of all records is unreadable or empty, as with the disk not mounted. HostLimit:
    `fault` is a limit of this process.
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
    """One listing of a record's directory.

    files: the files to archive, with their signatures. skipped: the other entries. newest: latest change time of the
    directory and its entries, seconds since 1970.
    """

    files: dict[str, Signature]
    skipped: tuple[Skipped, ...]
    newest: float


def _inventory(opened: _OpenRecord) -> _Inventory:
    wanted: dict[str, Signature] = {}
    skipped: list[Skipped] = []
    try:
        newest = signatures.changed_at(os.fstat(opened.descriptor))
        with os.scandir(opened.descriptor) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                newest = max(newest, signatures.changed_at(status))
                reason = _why_not_archived(entry.name, status.st_mode)
                if reason:
                    skipped.append(Skipped(readable(entry.name), reason))
                else:
                    wanted[entry.name] = signatures.of(status)
    except FileNotFoundError as error:
        raise opened.changed(str(error.filename or "")) from error
    except OSError as error:
        _check_above(opened.directory, error)
        raise opened.fault(f"the record's directory cannot be read: {_plain(error)}", _RIGHTS_HINT) from error
    return _Inventory(wanted, tuple(sorted(skipped, key=lambda entry: entry.name)), newest)


_NO_NUMBER = "is no run number"


def _why_no_run(entry: os.DirEntry[str]) -> str:
    """Why an entry that is not a directory is not a run."""
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


def _read_file(opened: _OpenRecord, name: str, limit: int) -> bytes:
    """The bytes of a regular file. `_read` lists the directory again to see whether a file was replaced."""
    try:
        with open(os.open(name, _OPEN_FILE, dir_fd=opened.descriptor), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise opened.changed(name)
            if status.st_size > limit:
                raise opened.fault(f"has {status.st_size} bytes, more than the limit of {limit}", _LIMIT_HINT, name)
            data = stream.read(status.st_size + 1)
            if len(data) != status.st_size or signatures.of(os.fstat(stream.fileno())) != signatures.of(status):
                raise opened.changed(name)
            return data
    except FileNotFoundError as error:
        raise opened.changed(name) from error
    except OSError as error:
        _check_above(opened.directory, error)
        raise opened.fault(f"cannot be read: {_plain(error)}", _RIGHTS_HINT, name) from error


def _stop_time(opened: _OpenRecord) -> str | None:
    try:
        return metadata.read(_read_file(opened, metadata.NAME, MAX_FILE_BYTES)).stop_time
    except RecordChanged:
        return None


def _text(time: str | None) -> str | None:
    return None if time is None else readable(time)


def _plain(error: OSError) -> str:
    return (error.strerror or str(error)).lower()
