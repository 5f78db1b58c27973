"""Sites that hold much less than the marker tree says: a disk is not mounted, for example.

Source: docs/design/state.md, Sites that shrink.
"""

from __future__ import annotations

from collections.abc import Set
from pathlib import Path

from rra_state.base.errors import SiteShrank
from rra_state.base.wording import count
from rra_state.records.listing import Listing
from rra_state.state.outcome import Stage

LEAST = 5
"""A store shrank if it lacks at least so many runs that have a marker; fewer are lost runs."""
SHARE = 10
"""And if it lacks at least one in so many of them."""
_ALWAYS_THERE = {"lost+found"}
"""What an empty file system holds."""


def source(directory: Path, listing: Listing, known: int) -> SiteShrank | None:
    """The error of a records' directory that is empty although it held `known` runs before.

    If it holds a record, or anything else, it is mounted, and its other records were removed on purpose.
    """
    if not known or listing.runs or {entry.name for entry in listing.ignored} - _ALWAYS_THERE:
        return None
    return SiteShrank(
        f"the directory of run records is empty, and {count(known, 'run')} came from it",
        path=directory,
        hint="is it mounted? If all records were removed on purpose, leave a file in it",
        stage="import",
    )


def store(name: str, stage: Stage, marked: Set[int], held: Set[int]) -> SiteShrank | None:
    """The error of a store that lacks most of the runs that have a marker, or is empty."""
    missing = len(marked - held)
    if not missing or (held and (missing < LEAST or missing * SHARE < len(marked))):
        return None
    return SiteShrank(
        f"{name}: has lost {missing} of {count(len(marked), 'run')} that were archived there",
        hint=f"is it mounted? If they are lost for good: --recover-{stage}-state --accept-loss",
    )
