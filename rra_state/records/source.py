"""Read run records from the DAQ's disk: whether one is ready, and one record whole.

Reads bytes, each file once; never waits for a FIFO or follows a link. Converts and writes nothing.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.errors import RecordChanged, RecordError, RecordOpen, SourceUnreadable
from rra_state.base.wording import count, readable
from rra_state.records import completeness, metadata, signatures
from rra_state.records.model import Record, Remark, Skipped, SourceFile, SourceSettings
from rra_state.records.signatures import Signature

TEXTS = ("boot", "known_boardreaders_list", "setup", "environment", "metadata", "settings", "ranks")
"""Stems of the seven text files of a record; their converters: `records.convert`. Order of a blob: `records.blob`.

Source: docs/design/run_records.md, Files of a record.
"""
TEXT_NAMES = frozenset(f"{stem}.txt" for stem in TEXTS)

NOT_READ_BEFORE = (
    "is neither a .fcl file nor one of the seven texts",
    "has a name with control characters or bytes that are not UTF-8",
)
"""Why versions before 2026-12 skipped files that are archived now."""

_MOST_JUDGED = 64 * 2**20
"""Bytes of a file that is read to see whether its record is ready."""
_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_LIMIT_HINT = "does it belong to the record? Otherwise raise the limit"
_MAYBE_OF_DISK = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EIO, errno.ESTALE, errno.EACCES})
"""Errors of reading a record that also occur if the whole disk is not mounted or not reachable."""
_LINK_HINT = "put the directory itself there: links are not followed"
_RIGHTS_HINT = "the archiver's account needs read permission on the record's directory and files"

Sighting = tuple[str, float]
"""The signature of a record whose change time is in the future, and since when this host has seen it unchanged."""


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a record can be archived now, or is still open: the DAQ may write to it.

    sighting: to be passed to the next look; None unless the record was changed in the future.
    """

    ready: bool
    sighting: Sighting | None = None


def readiness(settings: SourceSettings, run: int, now: float, before: Sighting | None = None) -> Readiness:
    """Whether the record of a run can be archived at `now` (seconds since 1970). Raises HostLimit.

    Ready: nothing in it changed for `quiet_seconds`, or for `settle_seconds` if it lacks something (`completeness`).
    Reads metadata.txt and the boot file, and nothing if the last change is old enough for both. A record that cannot be
    read is ready too: the import then reports the error. before: the `sighting` of the last look.
    """
    try:
        with _open(settings.run_records_dir / str(run), run) as opened:
            found = _inventory(opened, settings.max_other_file_bytes)
            longest = max(settings.quiet_seconds, settings.settle_seconds)
            if longest <= 0 or now - found.newest >= longest:
                return Readiness(ready=True)
            judged = {
                name: _read_file(opened, name, _MOST_JUDGED) for name in completeness.JUDGED if name in found.files
            }
            needed = _needed(settings, completeness.gaps(judged, list(map(_utf8, found.files))))
            found = _inventory(opened, settings.max_other_file_bytes)
    except RecordChanged:
        return Readiness(ready=False)
    except (OSError, RecordError, SourceUnreadable):
        return Readiness(ready=True)
    if found.newest <= now or needed <= 0:
        return Readiness(now - found.newest >= needed or needed <= 0)
    same = before is not None and before[0] == found.signature and before[1] <= now
    sighting = before if same and before is not None else (found.signature, now)
    return Readiness(now - sighting[1] >= needed, sighting)


def _needed(settings: SourceSettings, gaps: Collection[Remark]) -> float:
    """Seconds for which nothing may have changed in a record that lacks this."""
    return settings.settle_seconds if gaps else settings.quiet_seconds


def _read(
    directory: Path, run: int, settings: SourceSettings, without: Collection[str]
) -> tuple[Record, _Inventory, tuple[Remark, ...]]:
    """The record, the listing that it was read by, and what it lacks."""
    with _open(directory, run) as opened:
        inventory = _inventory(opened, settings.max_other_file_bytes)
        if signatures.just_changed(inventory.files.values(), time.time()):
            time.sleep(signatures.TICK_SECONDS)
            inventory = _inventory(opened, settings.max_other_file_bytes)
        before = inventory.files
        total = sum(signature[2] for signature in before.values())
        if total > settings.max_record_bytes:
            message = f"the record has {total} bytes, more than the limit of {settings.max_record_bytes}"
            raise opened.error(message, _LIMIT_HINT)
        files, skipped = _files(opened, inventory, settings, without)
        after = _inventory(opened, settings.max_other_file_bytes).files
        changed = sorted(name for name in before.keys() | after.keys() if before.get(name) != after.get(name))
        if changed:
            raise opened.changed(changed[0])
        if not files:
            raise opened.error("the record holds no file to archive", "was it copied to the end, or emptied?")
    contents = {file.name: file.data for file in files}
    known = metadata.read(contents.get(metadata.NAME, b""))
    gaps = completeness.gaps(contents, contents)
    texts = {name: contents[name] for name in sorted(TEXT_NAMES & contents.keys())}
    dates = {name: max(signature[3:]) / 1e9 for name, signature in before.items()}
    record = Record(
        run,
        files,
        skipped,
        signatures.fingerprint(files),
        known.start_time,
        known.stop_time,
        completeness.remarks(gaps, texts, {entry.name for entry in skipped}, dates, time.time()),
    )
    return record, inventory, gaps


def _files(
    opened: _OpenRecord, inventory: _Inventory, settings: SourceSettings, without: Collection[str]
) -> tuple[tuple[SourceFile, ...], tuple[Skipped, ...]]:
    """The files that are archived, and all entries that are not, in the order of their names."""
    files, skipped = [], list(inventory.skipped)
    for name in sorted(inventory.files, key=_utf8):
        required = _is_required(name)
        if readable(name) in without:
            skipped.append(Skipped(readable(name), NOT_READ_BEFORE[0]))
            continue
        try:
            data = _read_file(opened, name, settings.max_file_bytes if required else settings.max_other_file_bytes)
            files.append(SourceFile(_utf8(name), data))
        except RecordError as error:
            if required or isinstance(error, RecordChanged):
                raise
            skipped.append(Skipped(readable(name), error.message))
    return tuple(files), tuple(sorted(skipped, key=lambda entry: entry.name))


def read_record(
    settings: SourceSettings,
    run: int,
    *,
    even_if_open: bool = False,
    without: Collection[str] = (),
    sighting: Callable[[], Sighting | None] = lambda: None,
) -> Record:
    """Read the record of a run. Raises RecordError; RecordChanged if it changed during the read.

    Raises SourceUnreadable if the directory of all records cannot be read any more, and RecordOpen if the record is not
    ready any more: between planning and reading, a copy of it may have gone on. Reads every regular file directly in
    the directory; `skipped` has the other entries, and files that are neither `.fcl` nor one of the seven texts if they
    are larger than `max_other_file_bytes` or cannot be read. without: names of files to skip, as they stand in the
    remarks of a version that did not read them. sighting: gives the note by which the planner took a record that was
    changed in the future.
    """
    directory = settings.run_records_dir / str(run)
    record, found, gaps = _read(directory, run, settings, without)
    needed, now = _needed(settings, gaps), time.time()
    if even_if_open or needed <= 0 or now - found.newest >= needed:
        return record
    seen = sighting() if found.newest > now else None
    if seen is None or seen[0] != found.signature or now - seen[1] < needed:
        hint = "another program is writing there"
        raise RecordOpen("changed again before it was read", run=run, path=directory, hint=hint)
    return record


def signature(settings: SourceSettings, run: int) -> str | None:
    """A text that differs once a file of a record was written, renamed or replaced. None if it cannot be listed.

    Opens no file. Raises SourceUnreadable if the directory of all records cannot be read.
    """
    try:
        with _open(settings.run_records_dir / str(run), run) as opened:
            return _inventory(opened, settings.max_other_file_bytes).signature
    except RecordError:
        return None


# ---- the directory -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _OpenRecord:
    """The open directory of a run. If another directory is moved to its path, the open one is still read."""

    descriptor: int
    directory: Path
    run: int

    def error(self, message: str, hint: str, name: str | None = None) -> RecordError:
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
        misplaced = error.errno in (errno.ENOTDIR, errno.ELOOP)
        reason = "is no directory" if misplaced else host_limits.plain(error)
        message = f"the record's directory cannot be read: {reason}"
        raise RecordError(message, run=run, path=directory, hint=_LINK_HINT if misplaced else _RIGHTS_HINT) from error
    try:
        yield _OpenRecord(descriptor, directory, run)
    finally:
        os.close(descriptor)


def _check_above(directory: Path, failed: OSError) -> None:
    """Raise SourceUnreadable or HostLimit if `failed` is not an error of this run.

    SourceUnreadable: the directory of all records is unreadable or empty, as with the disk not mounted. HostLimit:
    `failed` is a limit of this process.
    """
    if failed.errno in host_limits.OF_PROCESS and (refused := host_limits.refusal(failed)):
        raise refused from failed
    if failed.errno not in _MAYBE_OF_DISK:
        return
    try:
        with os.scandir(directory.parent) as entries:
            if next(entries, None) is None:
                raise unreadable(directory.parent, FileNotFoundError("it is empty"))
    except OSError as error:
        raise unreadable(directory.parent, error) from error


def unreadable(run_records_dir: Path, error: OSError) -> SourceUnreadable:
    """The error of a directory of run records that cannot be listed."""
    return SourceUnreadable(
        f"the directory of run records cannot be read: {host_limits.plain(error)}",
        path=run_records_dir,
        hint="check source_files.run_records_dir, and that the disk is mounted and readable for this account",
    )


@dataclass(frozen=True, slots=True)
class _Inventory:
    """One listing of a record's directory.

    files: the files to archive, with their signatures; their names as this process opens them. skipped: the other
    entries. newest: latest change time of the directory and its entries, seconds since 1970.
    """

    files: dict[str, Signature]
    skipped: tuple[Skipped, ...]
    newest: float

    @property
    def signature(self) -> str:
        """A text that differs once a file was written, renamed or replaced."""
        names = [f"{_utf8(name)!a} {entry}" for name, entry in sorted(self.files.items())]
        names += [str(entry) for entry in self.skipped]
        return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


def _inventory(opened: _OpenRecord, other_limit: int) -> _Inventory:
    wanted: dict[str, Signature] = {}
    skipped: list[Skipped] = []
    try:
        newest = signatures.changed_at(os.fstat(opened.descriptor))
        with os.scandir(opened.descriptor) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                newest = max(newest, signatures.changed_at(status))
                reason = _KINDS.get(stat.S_IFMT(status.st_mode))
                if reason is None and not _is_required(entry.name) and status.st_size > other_limit:
                    reason = f"has {count(status.st_size, 'byte')}, more than max_other_file_bytes"
                if reason:
                    skipped.append(Skipped(readable(entry.name), reason))
                else:
                    wanted[entry.name] = signatures.of(status)
    except FileNotFoundError as error:
        raise opened.changed(str(error.filename or "")) from error
    except OSError as error:
        _check_above(opened.directory, error)
        message = f"the record's directory cannot be read: {host_limits.plain(error)}"
        raise opened.error(message, _RIGHTS_HINT) from error
    return _Inventory(wanted, tuple(sorted(skipped, key=lambda entry: entry.name)), newest)


_KINDS = {
    stat.S_IFLNK: "is a link",
    stat.S_IFDIR: "is a directory",
    stat.S_IFIFO: "is a FIFO",
    stat.S_IFSOCK: "is a socket",
    stat.S_IFBLK: "is a device",
    stat.S_IFCHR: "is a device",
}


def _is_required(name: str) -> bool:
    """Whether a file is of a kind without which a run is not archived: `.fcl`, or one of the seven texts."""
    return name in TEXT_NAMES or (name.endswith(".fcl") and name != ".fcl")


def _utf8(name: str) -> str:
    """A name as the same text in every locale; bytes that are not UTF-8 are lone surrogates."""
    return os.fsencode(name).decode("utf-8", "surrogateescape")


# ---- the files -----------------------------------------------------------------------------------------------------


def _read_file(opened: _OpenRecord, name: str, limit: int) -> bytes:
    """The bytes of a regular file. `_read` lists the directory again to see whether a file was replaced."""
    try:
        with open(os.open(name, _OPEN_FILE, dir_fd=opened.descriptor), "rb") as stream:
            status = os.fstat(stream.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise opened.changed(name)
            if status.st_size > limit:
                raise opened.error(f"has {status.st_size} bytes, more than the limit of {limit}", _LIMIT_HINT, name)
            data = stream.read(status.st_size + 1)
            if len(data) != status.st_size or signatures.of(os.fstat(stream.fileno())) != signatures.of(status):
                raise opened.changed(name)
            return data
    except FileNotFoundError as error:
        raise opened.changed(name) from error
    except OSError as error:
        _check_above(opened.directory, error)
        raise opened.error(f"cannot be read: {host_limits.plain(error)}", _RIGHTS_HINT, name) from error
