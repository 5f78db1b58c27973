"""What each channel was sent, so that no message is repeated. The note `state/told.json`.

While the work directory cannot be written the note stays as it is, and each cycle repeats its message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import pydantic

from rra_state.base import run_numbers
from rra_state.base.errors import UsageError
from rra_state.monitoring.changes import WHERE, Fault, Told
from rra_state.state.markers import Tree
from rra_state.state.outcome import Stage

NOTE = "told"


@dataclass
class _Entry:
    """`Told` as JSON: runs as ranges."""

    failed: dict[Stage, str] = field(default_factory=dict)
    stuck: list[Stage] = field(default_factory=list)
    silent: list[Stage] = field(default_factory=list)
    fault: Fault | None = None

    @classmethod
    def of(cls, told: Told) -> _Entry:
        failed = {stage: run_numbers.text(found) for stage, found in told.failed.items()}
        return cls(failed, sorted(told.stuck), sorted(told.silent), told.fault)

    def told(self) -> Told:
        failed = {stage: frozenset(run_numbers.parse(self.failed.get(stage, ""))) for stage in WHERE}
        return Told(failed, frozenset(self.stuck), frozenset(self.silent), self.fault)


_ENTRIES = pydantic.TypeAdapter(dict[str, _Entry])


class Memory:
    """What each channel was told, by the channel's key."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._known = _parsed(tree.root / "state" / f"{NOTE}.json")

    def of(self, key: str) -> Told:
        """What this channel knows; nothing if it is new, or if the note is damaged."""
        return self._known.get(key, Told())

    def keep(self, known: Mapping[str, Told]) -> None:
        """Replace the note by this. Raises WorkDirError if it cannot be written."""
        self._tree.write_note(NOTE, {key: asdict(_Entry.of(told)) for key, told in known.items()})


def _parsed(path: Path) -> dict[str, Told]:
    try:
        return {key: entry.told() for key, entry in _ENTRIES.validate_json(path.read_bytes()).items()}
    except (OSError, ValueError, UsageError):
        return {}
