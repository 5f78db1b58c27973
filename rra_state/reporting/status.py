"""What is where. Only reads.

    from rra_state.reporting import status
    status.runs("config.yaml")

`runs`, `stages`, `gaps`, `failures` and `throughput` answer one question each with a pandas frame, from the marker tree
and the records' disk; docs/report.md describes their columns. `collect` asks the three places themselves: a report that
believed the archiver's own notes could not find its errors. `summary` counts, without pandas.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from rra_state.base.errors import ArchiverError
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.records import blob
from rra_state.reporting import catalog
from rra_state.reporting.catalog import Catalog
from rra_state.state.counts import Summary, summary
from rra_state.state.outcome import PLACES, STAGES, Failure, Stage
from rra_state.state.state_files import State
from rra_state.stores import artdaqdb
from rra_state.stores.ucondb.client import UconDB

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Place",
    "Progress",
    "Status",
    "Summary",
    "collect",
    "failures",
    "gaps",
    "of_places",
    "of_tree",
    "runs",
    "stages",
    "summary",
    "take",
    "throughput",
]


@dataclass(frozen=True, slots=True)
class Place:
    """The runs one place holds; `error` if it could not be read."""

    name: str
    runs: frozenset[int] = frozenset()
    error: ArchiverError | None = None


@dataclass(frozen=True, slots=True)
class Progress:
    """State, failure log and reasons of one stage. archived: the runs with a marker. damaged: those whose failure
    record cannot be read.
    """

    stage: Stage
    state: State
    log: tuple[int, ...]
    not_attempted: frozenset[int]
    failures: tuple[Failure, ...]
    archived: frozenset[int] = frozenset()
    damaged: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Status:
    """Everything a report needs.

    open: runs on disk whose record is still being written. watched: archived before they had a stop time.
    outdated: why records that changed since could not be archived again.
    kept: per run the files kept as text, with the reason; skipped: likewise what of a record is not archived.
    damaged: what is wrong with markers and failure records that cannot be read. asked: whether the places themselves
    were asked, or only the marker tree.
    """

    settings: Settings
    places: tuple[Place, ...]
    progress: tuple[Progress, ...]
    open: frozenset[int]
    kept: dict[int, dict[str, str]] = field(default_factory=dict)
    skipped: dict[int, dict[str, str]] = field(default_factory=dict)
    ignored: tuple[tuple[str, str], ...] = ()
    watched: frozenset[int] = frozenset()
    outdated: tuple[Failure, ...] = ()
    damaged: tuple[str, ...] = ()
    asked: bool = True

    def place(self, name: str) -> Place:
        """The place of this name."""
        return next(place for place in self.places if place.name == name)

    @property
    def readable(self) -> bool:
        """True if all three places could be read."""
        return all(place.error is None for place in self.places)

    @property
    def complete(self) -> frozenset[int]:
        """Runs on disk that can be archived."""
        return self.place("filesystem").runs - self.open

    @property
    def unproven(self) -> set[int]:
        """Complete runs that a listing of UconDB shows, but that the archiver itself does not call archived."""
        proven = set(self.complete & self.place("artdaqDB").runs)
        for progress in self.progress:
            proven &= progress.archived - set(progress.log)
        proven -= {failure.run for failure in self.outdated}
        return set(self.complete & self.place("UconDB").runs) - proven


Source = str | os.PathLike[str] | Settings | Catalog
"""What a frame is made from: a configuration file, or what `take` gave, to ask several questions of one look."""


def take(source: str | os.PathLike[str] | Settings) -> Catalog:
    """Look at the tree once. Raises ConfigError, StateFileError, WorkDirError."""
    return catalog.take(source if isinstance(source, Settings) else loading.load(source))


def runs(source: Source) -> pd.DataFrame:
    """One row per run that is on disk or was archived, ascending. Raises ConfigError, StateFileError, WorkDirError."""
    from rra_state.reporting import tables  # noqa: PLC0415 - pandas takes half a second to load, and an idle cycle needs none

    return tables.runs(_taken(source))


def stages(source: Source) -> pd.DataFrame:
    """One row per stage: how many runs are archived, waiting, failed. Raises as `runs`."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.stages(_taken(source))


def gaps(source: Source) -> pd.DataFrame:
    """One row per range of missing runs, with its age. Raises as `runs`."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.gaps(_taken(source))


def failures(source: Source) -> pd.DataFrame:
    """One row per stage and class of failure. Raises as `runs`."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.failures(_taken(source))


def throughput(source: Source) -> pd.DataFrame:
    """One row per day: runs and bytes archived. Raises as `runs`."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.throughput(_taken(source))


def _taken(source: Source) -> Catalog:
    return source if isinstance(source, Catalog) else take(source)


def collect(settings: Settings) -> Status:
    """Ask the three places and read the tree. Unreadable places are part of the answer. Raises StateFileError."""
    return of_places(take(settings))


def of_places(found: Catalog) -> Status:
    """Ask artdaqDB and UconDB what they hold; the rest is the catalog's."""
    settings, (on_disk, *_) = found.settings, of_tree(found).places
    ask: dict[str, Callable[[], Iterable[int]]] = {
        "artdaqDB": lambda: artdaqdb.open_store(settings.artdaq_db).runs(),
        "UconDB": lambda: UconDB(settings.ucon_db, same=blob.same).runs(),
    }
    asked = tuple(_place(name, listing) for name, listing in ask.items())
    return replace(of_tree(found), places=(on_disk, *asked), asked=True)


def of_tree(found: Catalog) -> Status:
    """The same without asking a store: artdaqDB and UconDB hold what has a marker, read back when it was written."""
    census = found.census
    places = (
        Place("filesystem", census.on_disk, census.source_error),
        *(Place(PLACES[stage], frozenset(census.archived[stage])) for stage in STAGES),
    )
    progress = tuple(
        Progress(
            stage,
            found.derived[stage].state,
            found.derived[stage].log,
            found.derived[stage].not_attempted,
            tuple(failure for _, failure in sorted(found.failures[stage].items())),
            frozenset(census.archived[stage]),
            frozenset(census.failed[stage] - found.failures[stage].keys()),
        )
        for stage in STAGES
    )
    imported = found.shelves["import"]
    return Status(
        found.settings,
        places,
        progress,
        open=census.open,
        kept={run: files for run, files in imported.by_run("kept").items() if files},
        skipped={run: files for run, files in imported.by_run("skipped").items() if files},
        ignored=() if census.source_error else tuple(census.planner.ignored()),
        watched=frozenset(found.tree.watched()),
        outdated=tuple(failure for _, failure in sorted(found.failures["refresh"].items())),
        damaged=found.damaged,
        asked=False,
    )


def _place(name: str, listing: Callable[[], Iterable[int]]) -> Place:
    try:
        return Place(name, frozenset(listing()))
    except ArchiverError as error:
        return Place(name, error=error)
