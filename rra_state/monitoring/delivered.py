"""What each channel was sent, so that no message is repeated. The note `state/told.json`.

While the work directory cannot be written the note stays as it is, and each cycle repeats its message.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pydantic

from rra_state.base import run_numbers
from rra_state.base.errors import UsageError
from rra_state.monitoring.changes import Delivered, Episode
from rra_state.reporting.failures import EVERY_STAGE
from rra_state.state.markers import Tree
from rra_state.state.outcome import Stage

NOTE = "told"


@dataclass
class _Entry:
    """`Delivered` as JSON: runs as ranges."""

    failed: dict[Stage, str] = field(default_factory=dict)
    stuck: list[Stage] = field(default_factory=list)
    silent: list[Stage] = field(default_factory=list)
    episode: Episode | None = None

    @classmethod
    def of(cls, delivered: Delivered) -> _Entry:
        failed = {stage: run_numbers.text(found) for stage, found in delivered.failed.items()}
        return cls(failed, sorted(delivered.stuck), sorted(delivered.silent), delivered.episode)

    def delivered(self) -> Delivered:
        failed = {stage: frozenset(run_numbers.parse(self.failed.get(stage, ""))) for stage in EVERY_STAGE}
        return Delivered(failed, frozenset(self.stuck), frozenset(self.silent), self.episode)


_ENTRIES = pydantic.TypeAdapter(dict[str, _Entry])


def known(tree: Tree) -> dict[str, Delivered]:
    """What was delivered, by the channel's key; nothing if the note is damaged."""
    try:
        entries = _ENTRIES.validate_python(tree.note(NOTE) or {})
        return {key: entry.delivered() for key, entry in entries.items()}
    except (ValueError, UsageError):
        return {}


def keep(tree: Tree, known: Mapping[str, Delivered]) -> None:
    """Replace the note by this. Raises WorkDirError if it cannot be written."""
    entries = {key: _Entry.of(delivered) for key, delivered in known.items()}
    tree.write_note(NOTE, _ENTRIES.dump_python(entries, mode="json"))
