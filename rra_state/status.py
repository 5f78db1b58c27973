"""What is where: the runs of the three places, and what the archiver knows about them. Only reads.

The places are asked, not the markers: a report that believed the archiver's own notes could not find its errors.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from rra_state.config import Settings
from rra_state.errors import ArchiverError
from rra_state.markers import Tree
from rra_state.outcome import STAGES, Failure, Stage
from rra_state.plan import Planner
from rra_state.records import blob
from rra_state.state import Keeper, Ledger, State, derive
from rra_state.stores import artdaqdb
from rra_state.stores.ucondb import UconDB

PLACE_NAMES = ("filesystem", "artdaqDB", "UconDB")


@dataclass(frozen=True, slots=True)
class Place:
    """The runs one place holds; `error` if it could not be read."""

    name: str
    runs: frozenset[int] = frozenset()
    error: ArchiverError | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """State, failure log and reasons of one stage."""

    stage: Stage
    state: State
    log: tuple[int, ...]
    not_attempted: frozenset[int]
    failures: tuple[Failure, ...]


@dataclass(frozen=True, slots=True)
class Status:
    """Everything a report needs.

    open: runs on disk whose record is still being written. kept: per run the files kept as text, with the reason.
    """

    settings: Settings
    places: tuple[Place, ...]
    progress: tuple[Progress, ...]
    open: frozenset[int]
    kept: dict[int, dict[str, str]] = field(default_factory=dict)
    ignored: tuple[tuple[str, str], ...] = ()

    def place(self, name: str) -> Place:
        """The place of this name."""
        return next(place for place in self.places if place.name == name)

    @property
    def readable(self) -> bool:
        """True if all three places could be read."""
        return all(place.error is None for place in self.places)


def collect(settings: Settings) -> Status:
    """Ask the three places and read the tree. Unreadable places are part of the answer. Raises StateFileError."""
    planner = Planner(settings)
    places = tuple(_place(name, settings, planner) for name in PLACE_NAMES)
    readable = places[0].error is None
    progress = tuple(_progress(settings, stage, planner) for stage in STAGES) if readable else ()
    archived = planner.tree.archived("import")
    fresh = places[0].runs - archived
    return Status(
        settings,
        places,
        progress,
        open=frozenset(run for run in fresh if not planner.is_ready(run)),
        kept=_kept(planner.tree),
        ignored=tuple(planner.ignored()) if readable else (),
    )


def _place(name: str, settings: Settings, planner: Planner) -> Place:
    ask: dict[str, Callable[[], Iterable[int]]] = {
        "filesystem": lambda: planner.listing.runs,
        "artdaqDB": lambda: artdaqdb.open_store(settings.artdaq_db).runs(),
        "UconDB": lambda: UconDB(settings.ucon_db, same=blob.same).runs(),
    }
    try:
        return Place(name, frozenset(ask[name]()))
    except ArchiverError as error:
        return Place(name, error=error)


def _progress(settings: Settings, stage: Stage, planner: Planner) -> Progress:
    known = planner.known(stage)
    ledger: Ledger = Keeper(settings, stage).read(known)
    derived = derive(known, ledger)
    failures = (planner.tree.failure(stage, run) for run in sorted(known.failed - set(known.archived)))
    found = tuple(failure for failure in failures if failure is not None)
    return Progress(stage, derived.state, derived.log, derived.not_attempted, found)


def _kept(tree: Tree) -> dict[int, dict[str, str]]:
    """Files kept as text, per run. Reads every import marker's `kept`."""
    found = {}
    for run in sorted(tree.archived("import")):
        kept = (tree.marker("import", run) or {}).get("kept")
        if kept:
            found[run] = dict(kept)
    return found
