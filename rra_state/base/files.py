"""Write files atomically and durably. No other module writes files that the archiver keeps; none is read here."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

LONGEST_NAME = 255
"""Bytes of a file's name on every Linux file system."""

LEAST_FREE = 100 * 2**20
"""Bytes that must be free on a disk for `--check`: about what a window of 2,000 runs writes in documents."""

_libc = ctypes.CDLL(None, use_errno=True)


def announce(step: str, *details: object) -> None:
    """Called before each step that changes a file or a store, and after a store has answered; does nothing.

    Tests replace it by a function that ends the process at a chosen step, or that records the steps.
    step, details: `create path`, `write path bytes`, `rename from to`, ...
    """


def write_atomic(path: Path, data: bytes, *, for_all: bool = False) -> None:
    """Replace `path` by `data` so that a crash leaves the old or the new content, never a mixture.

    Temporary file in the same directory, fsync, rename, fsync of the directory. for_all: all accounts may read the
    file, whatever the umask is. Raises OSError.
    """
    temporary = _temporary(path)
    try:
        with _naming(path):
            _write(temporary, data, sync=True, for_all=for_all)
            _replace(temporary, str(path))
    except OSError:
        Path(temporary).unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_batch(files: Iterable[tuple[Path, bytes]]) -> None:
    """Write many files so that all of them are durable when the call returns.

    As `write_atomic`, but with one `syncfs` for all contents and one fsync per directory: 160 files of 12 kB take 8 ms
    instead of 51 ms. After a crash each file has its old or its new content. Of a path that comes twice the last
    content counts. Raises OSError, and what `files` raises.
    """
    pending: dict[str, str] = {}  # str, not Path: with 100,000 markers half of the time went into Path objects
    try:
        for path, data in files:
            temporary = _temporary(path)
            pending[str(path)] = temporary
            with _naming(path):
                _write(temporary, data, sync=False)
        directories = [Path(name) for name in dict.fromkeys(map(os.path.dirname, pending))]
        for directory in {each.stat().st_dev: each for each in directories}.values():
            _sync_file_system(directory)
        for target, temporary in pending.items():
            _replace(temporary, target)
    except BaseException:
        for temporary in pending.values():
            Path(temporary).unlink(missing_ok=True)
        raise
    for directory in directories:
        sync_directory(directory)


def remove_batch(paths: Iterable[Path]) -> None:
    """Remove files, present or not, and make that durable. Raises OSError."""
    directories = set()
    for path in paths:
        announce("unlink", path)
        try:
            path.unlink()
        except FileNotFoundError:
            continue
        directories.add(path.parent)
    for directory in directories:
        sync_directory(directory)


def make_directory(path: Path) -> None:
    """Make a directory and its parents, durably; an existing one is fine. Raises OSError."""
    missing = []
    while not path.exists():
        missing.append(path)
        path = path.parent
    for directory in reversed(missing):
        announce("mkdir", directory)
        directory.mkdir(mode=0o755, exist_ok=True)
        sync_directory(directory.parent)


def write_directory(directory: Path, contents: Mapping[str, bytes]) -> None:
    """Make a new directory with these files, not yet durably: see `place_directories`. Raises OSError.

    contents: by name; bytes that are not UTF-8 are lone surrogates. Raises ValueError before anything is written if a
    name is not one of a file directly in the directory.
    """
    for name in contents:
        if name in ("", ".", "..") or "/" in name or "\0" in name:
            raise ValueError(f"{name!a} is no name of a file")
    announce("mkdir", directory)
    directory.mkdir(mode=0o755)
    for name, data in contents.items():
        with _naming(directory):
            _write(f"{directory}/{os.fsdecode(name.encode('utf-8', 'surrogateescape'))}", data, sync=False)


def place_directories(places: Mapping[Path, Path]) -> None:
    """Make directories durable, then rename each to its place; all are on one file system. Raises OSError.

    Replaces nothing but an empty directory.
    """
    for directory in list(places)[:1]:
        _sync_file_system(directory)
    for directory, place in places.items():
        _replace(str(directory), str(place))
    for parent in {place.parent for place in places.values()}:
        sync_directory(parent)


def check_replaceable(path: Path) -> None:
    """Raise the OSError with which `write_atomic` would fail here. Leaves no file behind."""
    temporary = _temporary(path)
    with _naming(path):
        _write(temporary, b"", sync=False)
    announce("unlink", temporary)
    Path(temporary).unlink()


def check_writable(directory: Path) -> None:
    """Raise the OSError with which writing, locking or a lack of space would fail in a directory.

    The file that is written has no name, so nothing is left behind, whatever happens.
    """
    with _naming(directory):
        disk = os.statvfs(directory)
        if disk.f_bavail * disk.f_frsize < LEAST_FREE or (disk.f_files and not disk.f_favail):
            raise OSError(errno.ENOSPC, f"less than {LEAST_FREE // 2**20} megabytes, or no inode, are free")
        with tempfile.TemporaryFile(dir=directory) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            stream.write(bytes(4096))
            stream.flush()
            os.fsync(stream.fileno())


def move(path: Path, target: Path) -> None:
    """Rename a file or directory within its directory, durably. Raises OSError."""
    _replace(str(path), str(target))
    sync_directory(path.parent)


def rewrite(descriptor: int, data: bytes) -> None:
    """Replace the content behind an open descriptor in place: for lock files, which must keep their inode."""
    announce("rewrite", descriptor, data)
    with _naming(Path(f"/proc/self/fd/{descriptor}").readlink()):
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, data, 0)


def sync_directory(path: Path) -> None:
    """Make renames and removals in `path` durable. Raises OSError."""
    announce("fsync directory", path)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Make an OSError name `path`: that of a full disk names no file, others name the temporary one."""
    try:
        yield
    except OSError as error:
        error.filename, error.filename2 = str(path), None
        raise


def _temporary(path: Path) -> str:
    """The name of the temporary file, always the same for a target: the next try overwrites what a crash left."""
    directory, name = os.path.split(path)
    if len(os.fsencode(name)) > LONGEST_NAME - len("..tmp"):
        name = hashlib.sha256(os.fsencode(name)).hexdigest()
    return os.path.join(directory, f".{name}.tmp")  # noqa: PTH118 - as in write_batch


def _write(path: str, data: bytes, *, sync: bool, for_all: bool = False) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    announce("create", path)
    with open(os.open(path, flags, 0o644), "wb", buffering=0) as stream:
        if for_all:
            os.fchmod(stream.fileno(), 0o644)
        announce("write", path, data)
        view = memoryview(data)
        while view:
            view = view[stream.write(view) :]
        if sync:
            announce("fsync", path)
            os.fsync(stream.fileno())


def _replace(source: str, target: str) -> None:
    announce("rename", source, target)
    os.replace(source, target)  # noqa: PTH105 - of texts


def _sync_file_system(directory: Path) -> None:
    announce("syncfs", directory)
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number), str(directory))
    finally:
        os.close(descriptor)
