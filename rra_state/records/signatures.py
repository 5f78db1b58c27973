"""Signatures of files: whether one was written or replaced, without reading it; and the fingerprint of a record."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable

from rra_state.records.model import SourceFile

Signature = tuple[int, int, int, int, int]
"""Device, inode, size, modification and change time. Differs after a file was written or replaced."""

TICK_SECONDS = 0.02
"""Two writes within a tick of the kernel's clock (1 to 10 ms) can leave the same times, and so the same signature."""


def of(status: os.stat_result) -> Signature:
    """The signature in a stat result."""
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


def just_changed(signatures: Iterable[Signature], now: float) -> bool:
    """Whether another write now could leave the same times."""
    return any(now - max(entry[3:]) / 1e9 < TICK_SECONDS for entry in signatures)


def changed_at(status: os.stat_result) -> float:
    """The change time (ctime) of an entry, seconds since 1970. Programs cannot set it.

    `rsync -a` and `cp -p` set the modification time of a copy to that of the original.
    """
    return status.st_ctime


def fingerprint(files: tuple[SourceFile, ...]) -> str:
    """Sha256 (hex) over names and contents, each with its length, in the order of the names."""
    digest = hashlib.sha256()
    for file in sorted(files, key=lambda file: file.name):
        name = file.name.encode("utf-8", "surrogateescape")
        digest.update(b"%d:%s%d:" % (len(name), name, len(file.data)))
        digest.update(file.data)
    return digest.hexdigest()
