"""What each channel was sent, so that nothing is sent twice. The note `state/told.json`.

If the work directory cannot be written, a file in shared memory serves until the next boot.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pydantic

from rra_state.base import files, run_numbers
from rra_state.base.errors import UsageError, WorkDirError
from rra_state.monitoring.changes import Delivered, Fault
from rra_state.reporting.failures import EVERY_STAGE
from rra_state.state.markers import Tree
from rra_state.state.outcome import Stage

NOTE = "told"
SPARE_DIRECTORY = Path("/dev/shm")  # noqa: S108 - of a file there only an own one is believed
"""Writable when disks are full. Not /tmp: under systemd each cycle may have one of its own, empty."""


@dataclass
class _Entry:
    """`Delivered` as JSON: runs as ranges."""

    failed: dict[Stage, str] = field(default_factory=dict)
    stuck: list[Stage] = field(default_factory=list)
    silent: list[Stage] = field(default_factory=list)
    fault: Fault | None = None

    @classmethod
    def of(cls, delivered: Delivered) -> _Entry:
        failed = {stage: run_numbers.text(found) for stage, found in delivered.failed.items()}
        return cls(failed, sorted(delivered.stuck), sorted(delivered.silent), delivered.fault)

    def delivered(self) -> Delivered:
        failed = {stage: frozenset(run_numbers.parse(self.failed.get(stage, ""))) for stage in EVERY_STAGE}
        return Delivered(failed, frozenset(self.stuck), frozenset(self.silent), self.fault)


_ENTRIES = pydantic.TypeAdapter(dict[str, _Entry])


class Memory:
    """What each channel was sent, by the channel's key."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known = _parsed(_newer(tree.root / "state" / f"{NOTE}.json", self._spare))

    def of(self, key: str) -> Delivered:
        """What this channel knows; nothing if it is new, or if the note is damaged."""
        return self._known.get(key, Delivered())

    def keep(self, known: Mapping[str, Delivered]) -> None:
        """Remember this, and nothing else. Raises OSError, WorkDirError if it can be kept nowhere."""
        values = {key: asdict(_Entry.of(delivered)) for key, delivered in known.items()}
        try:
            self._tree.write_note(NOTE, values)
        except WorkDirError:
            files.write_atomic(self._spare, json.dumps(values).encode(), mode=0o600)
            return
        if self._spare.exists():
            files.remove_batch([self._spare])

    @property
    def _spare(self) -> Path:
        name = hashlib.sha256(os.fsencode(self._tree.root)).hexdigest()[:16]
        return SPARE_DIRECTORY / f"run-record-archiver-{os.geteuid()}-{name}.json"


def _newer(note: Path, spare: Path) -> Path | None:
    """The file that was written last. A spare one has to be ours: anybody may write there."""
    found = {}
    for path in (note, spare):
        try:
            status = path.lstat()
        except OSError:
            continue
        if path is note or (stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid()):
            found[path] = status.st_mtime_ns
    return max(found, key=found.__getitem__, default=None)


def _parsed(path: Path | None) -> dict[str, Delivered]:
    try:
        text: Any = b"{}" if path is None else path.read_bytes()
        return {key: entry.delivered() for key, entry in _ENTRIES.validate_json(text).items()}
    except (OSError, ValueError, UsageError):
        return {}
