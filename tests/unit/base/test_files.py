"""Writing files: old or new after a crash, never a mixture, and on the disk when the call returns."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from pathlib import Path

import pytest

from rra_state.base import files as fsio


def names(directory: Path) -> list[str]:
    return sorted(entry.name for entry in directory.iterdir())


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is asked of the operating system, in order: `sync NAME`, `rename NAME`."""
    found: list[str] = []
    fsync, replace = os.fsync, os.replace

    def spy_sync(descriptor: int) -> None:
        found.append("sync " + Path(f"/proc/self/fd/{descriptor}").readlink().name)
        fsync(descriptor)

    def spy_replace(path: str, target: str) -> None:
        found.append(f"rename {Path(path).name}")
        replace(path, target)

    monkeypatch.setattr(os, "fsync", spy_sync)
    monkeypatch.setattr(os, "replace", spy_replace)
    return found


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    fsio.write_atomic(tmp_path / "f", b"a long first content")
    fsio.write_atomic(tmp_path / "f", b"short")

    assert (tmp_path / "f").read_bytes() == b"short"
    assert names(tmp_path) == ["f"]


def test_content_is_durable_before_its_name(tmp_path: Path, calls: list[str]) -> None:
    fsio.write_atomic(tmp_path / "f", b"x")

    assert calls == ["sync .f.tmp", "rename .f.tmp", f"sync {tmp_path.name}"]


def test_a_crash_before_the_rename_leaves_the_old_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsio.write_atomic(tmp_path / "f", b"old")

    def crash(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, contextlib.suppress(KeyboardInterrupt):
        patched.setattr(os, "replace", crash)
        fsio.write_atomic(tmp_path / "f", b"a longer new content")
    after_crash = (tmp_path / "f").read_bytes()
    fsio.write_atomic(tmp_path / "f", b"new")

    assert after_crash == b"old"
    assert (tmp_path / "f").read_bytes() == b"new"
    assert names(tmp_path) == ["f"]


@pytest.mark.parametrize("batch", [False, True])
def test_a_full_disk_leaves_the_old_content_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch: bool
) -> None:
    fsio.write_atomic(tmp_path / "f", b"old")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(fsio if batch else os, "_sync_file_system" if batch else "fsync", full)

    write = (lambda: fsio.write_batch([(tmp_path / "g", b"new"), (tmp_path / "f", b"new")])) if batch else None
    with pytest.raises(OSError, match="No space left"):
        write() if write else fsio.write_atomic(tmp_path / "f", b"new")

    assert (tmp_path / "f").read_bytes() == b"old"
    assert names(tmp_path) == ["f"]


def test_a_batch_that_fails_leaves_no_temporary_files(tmp_path: Path) -> None:
    def files() -> object:
        yield tmp_path / "f", b"new"
        raise LookupError("the caller's fault")

    with pytest.raises(LookupError):
        fsio.write_batch(files())  # type: ignore[arg-type]

    assert names(tmp_path) == []


def test_a_batch_writes_all_files_and_syncs_each_directory_once(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    files = [(tmp_path / place / str(number), b"%d" % number) for place in "ab" for number in range(10)]

    fsio.write_batch(files)

    assert {path: path.read_bytes() for path, _ in files} == dict(files)
    assert sorted(call for call in calls if call.startswith("sync")) == ["sync a", "sync b"]
    assert calls[-1].startswith("sync")


def test_a_file_twice_in_a_batch_gets_the_last_content(tmp_path: Path) -> None:
    fsio.write_batch([(tmp_path / "f", b"first, and longer"), (tmp_path / "f", b"last")])

    assert (tmp_path / "f").read_bytes() == b"last"


def test_an_empty_batch_is_nothing_to_do() -> None:
    fsio.write_batch([])
    fsio.remove_batch([])


def test_a_link_as_temporary_file_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "precious").write_bytes(b"keep")
    (tmp_path / ".f.tmp").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        fsio.write_atomic(tmp_path / "f", b"x")

    assert (tmp_path / "precious").read_bytes() == b"keep"


def test_a_file_for_all_is_readable_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        fsio.write_atomic(tmp_path / "metrics", b"x", for_all=True)
    finally:
        os.umask(before)

    assert stat.S_IMODE((tmp_path / "metrics").stat().st_mode) == 0o644


def test_a_large_content_is_written_whole(tmp_path: Path) -> None:
    data = os.urandom(3 * 2**20)

    fsio.write_atomic(tmp_path / "f", data)

    assert (tmp_path / "f").read_bytes() == data


def test_removing_takes_what_is_there_and_makes_that_durable(tmp_path: Path, calls: list[str]) -> None:
    (tmp_path / "f").write_bytes(b"")

    fsio.remove_batch([tmp_path / "f", tmp_path / "never was"])

    assert names(tmp_path) == []
    assert calls == [f"sync {tmp_path.name}"]


def test_directories_are_made_with_their_parents(tmp_path: Path, calls: list[str]) -> None:
    fsio.make_directory(tmp_path / "a" / "b")
    fsio.make_directory(tmp_path / "a" / "b")

    assert (tmp_path / "a" / "b").is_dir()
    assert calls == [f"sync {tmp_path.name}", "sync a"]


def test_a_file_in_place_of_a_directory_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")

    with pytest.raises(NotADirectoryError):
        fsio.make_directory(tmp_path / "a" / "b")


def test_a_lock_file_is_rewritten_in_place(tmp_path: Path) -> None:
    file = tmp_path / "lock"
    file.write_bytes(b"a longer content\n")
    inode = file.stat().st_ino
    descriptor = os.open(file, os.O_RDWR)

    fsio.rewrite(descriptor, b"7\n")
    os.close(descriptor)

    assert (file.read_bytes(), file.stat().st_ino) == (b"7\n", inode)
