"""What each channel was sent, so that no message is repeated. The note `state/told.json`.

While the work directory cannot be written the note stays as it is, and each cycle repeats its message.
"""

from __future__ import annotations

from dataclasses import replace

import pydantic

from rra_state.base.errors import UsageError
from rra_state.monitoring.changes import NO_RUNS, Delivered
from rra_state.state.markers import Tree

NOTE = "told"

_ENTRIES = pydantic.TypeAdapter(dict[str, Delivered])


def known(tree: Tree) -> dict[str, Delivered]:
    """What was delivered, by the channel's key; nothing if the note is damaged."""
    try:
        entries = _ENTRIES.validate_python(tree.note(NOTE) or {})
    except (ValueError, UsageError):
        return {}
    return {key: replace(each, failed={**NO_RUNS, **each.failed}) for key, each in entries.items()}


def keep(tree: Tree, known: dict[str, Delivered]) -> None:
    """Replace the note by this. Raises WorkDirError if it cannot be written."""
    tree.write_note(NOTE, _ENTRIES.dump_python(known, mode="json"))
