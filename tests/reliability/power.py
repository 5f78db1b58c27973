"""A disk that loses what was not synced: power loss as POSIX permits it, not as one file system happens to do it.

Follows the steps that `rra_state/base/files.py` announces. What `fsync` did not reach is kept apart: the content of a
file, and each creation, rename and removal in a directory. When the power goes, any of that is lost and any is kept.
"""

from __future__ import annotations

import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.reliability.mortal import KILLED


class Recorder:
    """Listener of a process that dies at its `step`-th step: what it did before is in `file`."""

    def __init__(self, file: Path, step: int) -> None:
        self._file = file
        self._left = step

    def __call__(self, step: str, *details: Any) -> None:
        self._left -= 1
        if self._left == 0:
            os._exit(KILLED)
        if step == "rewrite":
            details = (Path(f"/proc/self/fd/{details[0]}").readlink(), details[1])
        details = tuple(Path(each) if isinstance(each, str) else each for each in details)
        with self._file.open("ab") as stream:
            pickle.dump((step, details), stream)


def recorded(file: Path) -> Iterator[tuple[str, Any]]:
    """The steps in such a file."""
    if not file.exists():
        return
    with file.open("rb") as stream:
        while True:
            try:
                yield pickle.load(stream)
            except EOFError:
                return


@dataclass(eq=False)
class File:
    """durable: the content that is on the disk for certain."""

    durable: bytes = b""
    latest: bytes = b""


@dataclass(eq=False)
class Directory:
    """entries: those on the disk for certain. pending: changes of names, each all or nothing, in order."""

    entries: dict[str, Any] = field(default_factory=dict)
    pending: list[dict[str, Any]] = field(default_factory=list)

    def now(self) -> dict[str, Any]:
        """The entries as programs see them."""
        return self.after(self.pending)

    def after(self, changes: list[dict[str, Any]]) -> dict[str, Any]:
        """The entries if of what is pending only these changes came to pass."""
        entries = dict(self.entries)
        for change in changes:
            entries.update(change)
        return {name: node for name, node in entries.items() if node is not None}

    def sync(self) -> None:
        self.entries, self.pending = self.now(), []


class Disk:
    """The tree below `root`, all of it durable at first."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._top = _loaded(root)

    def follow(self, step: str, details: Any) -> None:
        """One step that was taken."""
        method = getattr(self, f"_{step.replace(' ', '_')}", None)
        if method is not None:
            method(*details)

    def lose_power(self, keeps: Callable[[], bool]) -> None:
        """Put below `root` what is left. keeps: asked for every change that nothing made durable."""
        for entry in self._root.iterdir():
            shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        _leave(self._top, self._root, keeps)

    def _directory(self, path: Path) -> Directory:
        node = self._top
        for part in path.relative_to(self._root).parts:
            node = node.now()[part]
        return node

    def _create(self, path: Path) -> None:
        directory = self._directory(path.parent)
        present = directory.now().get(path.name)
        if present is None:
            directory.pending.append({path.name: File()})
        else:
            present.latest = b""

    def _write(self, path: Path, data: bytes) -> None:
        self._directory(path.parent).now()[path.name].latest = bytes(data)

    def _rewrite(self, path: Path, data: bytes) -> None:
        if path.name not in self._directory(path.parent).now():
            self._create(path)
        self._write(path, data)

    def _fsync(self, path: Path) -> None:
        file = self._directory(path.parent).now()[path.name]
        file.durable = file.latest

    def _rename(self, source: Path, target: Path) -> None:
        directory = self._directory(source.parent)
        directory.pending.append({source.name: None, target.name: directory.now()[source.name]})

    def _unlink(self, path: Path) -> None:
        directory = self._directory(path.parent)
        if path.name in directory.now():
            directory.pending.append({path.name: None})

    def _mkdir(self, path: Path) -> None:
        self._directory(path.parent).pending.append({path.name: Directory()})

    def _fsync_directory(self, path: Path) -> None:
        self._directory(path).sync()

    def _syncfs(self, directory: Path) -> None:
        """Archive and work directory may be two file systems: one is not made durable along with the other."""
        part = directory.relative_to(self._root).parts[0]
        _sync_all(self._top.now()[part])


def _loaded(path: Path) -> Directory:
    entries: dict[str, Any] = {}
    for entry in path.iterdir():
        entries[entry.name] = _loaded(entry) if entry.is_dir() else File(entry.read_bytes(), entry.read_bytes())
    return Directory(entries)


def _sync_all(directory: Directory) -> None:
    directory.sync()
    for node in directory.entries.values():
        if isinstance(node, Directory):
            _sync_all(node)
        else:
            node.durable = node.latest


def _leave(directory: Directory, path: Path, keeps: Callable[[], bool]) -> None:
    path.mkdir(exist_ok=True)
    for name, node in directory.after([change for change in directory.pending if keeps()]).items():
        if isinstance(node, Directory):
            _leave(node, path / name, keeps)
            continue
        content = node.durable
        if node.latest != node.durable and keeps():
            # A torn write is as good as none, and as likely.
            content = node.latest if keeps() else node.latest[: len(node.latest) // 2]
        (path / name).write_bytes(content)
