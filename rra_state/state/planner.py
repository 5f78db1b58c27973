"""The planner: which runs a cycle takes, in which order, in which windows. Functions of a snapshot.

A record is looked into only when its run is about to be planned, to see whether it is ready.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Literal

from rra_state.base import run_numbers
from rra_state.base.errors import ConfigError
from rra_state.config.loading import Settings
from rra_state.state.changed_records import NamedRuns, Refresh
from rra_state.state.outcome import STAGES, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Known, StateFiles, derive

Mode = Literal["full", "incremental", "retry", "refresh"]
Order = Literal["oldest", "newest"]
WINDOW_KEY = "rra_window"
"""Key of Snakemake's `--config` through which the command line hands a window to the Snakefile."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What the operator asked for. only: runs named with --runs or --refresh, else None."""

    stages: tuple[Stage, ...] = STAGES
    mode: Mode = "full"
    only: frozenset[int] | None = None
    order: Order = "oldest"

    @property
    def explicit(self) -> bool:
        """True if the runs were named, not found by a rule."""
        return self.only is not None or self.mode == "retry"


@dataclass(frozen=True, slots=True)
class Window:
    """The runs one Snakemake process handles, and how far `last_attempted_run` may rise for them."""

    imports: frozenset[int] = frozenset()
    migrations: frozenset[int] = frozenset()
    refreshes: tuple[Refresh, ...] = ()
    order: Order = "oldest"
    explicit: bool = False

    def __len__(self) -> int:
        return len(self.imports | self.migrations) + len(self.refreshes)

    def stages(self) -> tuple[tuple[Stage, frozenset[int]], ...]:
        """The runs of each stage."""
        return ("import", self.imports), ("migrate", self.migrations)

    def targets(self, stage: Stage | None = None) -> list[str]:
        """Marker files to ask Snakemake for: of one stage, or the last one of each run."""
        last = dict.fromkeys(self.imports, "import") if stage in (None, "import") else {}
        last |= dict.fromkeys(self.migrations, "migrate") if stage in (None, "migrate") else {}
        targets = [f"markers/{last[run]}/{run}.json" for run in self.sorted(last)]
        return targets if stage else [*targets, *(f"markers/refresh/{each}.json" for each in self.refreshes)]

    def sorted(self, chosen: Iterable[int]) -> list[int]:
        """Runs in the order in which they are to be taken."""
        return sorted(chosen, reverse=self.order == "newest")

    def without(self, stopped: Collection[str]) -> Window:
        """The window without these stages. A refresh needs both, and a run's migration its import."""
        imports = frozenset[int]() if "import" in stopped else self.imports
        migrations = frozenset[int]() if "migrate" in stopped else self.migrations - (self.imports - imports)
        return replace(self, imports=imports, migrations=migrations, refreshes=() if stopped else self.refreshes)

    def mapping(self) -> dict[str, Any]:
        """The window as plain values, for `snakemake --config`."""
        return {
            "import": run_numbers.text(self.imports),
            "migrate": run_numbers.text(self.migrations),
            "refresh": ",".join(map(str, self.refreshes)),
            "order": self.order,
            "explicit": self.explicit,
        }

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Window:
        """Inverse of `mapping`."""
        imports, migrations = (frozenset(run_numbers.parse(str(values[stage]))) for stage in STAGES)
        refreshes = tuple(Refresh.of(name) for name in str(values["refresh"]).split(",") if name)
        return cls(imports, migrations, refreshes, values["order"], bool(values["explicit"]))


def windows(snapshot: Snapshot, selection: Selection) -> list[Window]:
    """The cycle's runs, each once, in windows of the configured size, as far as the limit goes.

    Without the records (`snapshot.source_error`) only migrations are planned. Raises StateFileError, WorkDirError.
    """
    with_imports = "import" in selection.stages and snapshot.source_error is None
    imports = frozenset(_imports(snapshot, selection)) if with_imports else frozenset[int]()
    migrations = (
        frozenset(_migrations(snapshot, selection, imports)) if "migrate" in selection.stages else frozenset[int]()
    )
    order = _in_order(snapshot, imports | migrations, selection)
    refreshes = _refreshes(snapshot, selection) if snapshot.source_error is None else ()
    size = snapshot.settings.app.window_size
    found = []
    for first in range(0, max(len(order), len(refreshes[:1])), size):
        part = frozenset(order[first : first + size])
        with_it = refreshes if first == 0 else ()
        found.append(Window(part & imports, part & migrations, with_it, selection.order, selection.explicit))
    return found


def not_found(snapshot: Snapshot, selection: Selection) -> set[int]:
    """Runs the operator named that are neither on disk nor in artdaqDB. Raises SourceUnreadable."""
    return set(selection.only or ()) - snapshot.records - snapshot.archived["import"] - snapshot.arriving


def still_open(snapshot: Snapshot, selection: Selection) -> set[int]:
    """Runs that the operator asked for and that are not taken, since their records changed a moment ago."""
    if not selection.explicit or "import" not in selection.stages:
        return set()
    wanted = _wanted(snapshot, "import", snapshot.records, selection) & snapshot.records
    return {run for run in wanted if not snapshot.is_ready(run)}


def named(snapshot: Snapshot, selection: Selection) -> NamedRuns:
    """What --refresh can do for the runs it names; nothing for any other selection. Raises SourceUnreadable."""
    if selection.mode != "refresh" or selection.only is None:
        return NamedRuns()
    return snapshot.named(selection.only - not_found(snapshot, selection))


def failed_before(snapshot: Snapshot, selection: Selection) -> NamedRuns:
    """What a full cycle can do for the runs whose refresh failed and that are not watched."""
    if selection.mode != "full" or selection.stages != STAGES:
        return NamedRuns()
    runs = snapshot.outdated - snapshot.watched
    return snapshot.named(runs if selection.only is None else runs & selection.only)


def _refreshes(snapshot: Snapshot, selection: Selection) -> tuple[Refresh, ...]:
    """Changed records to archive again. One that failed before waits for a full cycle, as any other failure."""
    if selection.mode == "refresh":
        return tuple(named(snapshot, selection).changed)
    if selection.stages != STAGES or selection.mode == "retry":
        return ()
    wanted = {each for each in snapshot.changes.changed if selection.only is None or each.run in selection.only}
    wanted |= set(failed_before(snapshot, selection).changed)
    return tuple(sorted(wanted - snapshot.failed_refreshes if selection.mode == "incremental" else wanted))


def _imports(snapshot: Snapshot, selection: Selection) -> Iterator[int]:
    offered = snapshot.records | snapshot.arriving
    order = _in_order(snapshot, _wanted(snapshot, "import", offered, selection), selection)
    ready = (run for run in order if run not in snapshot.records or snapshot.is_ready(run))
    return islice(ready, _limit(snapshot.settings, selection))


def _migrations(snapshot: Snapshot, selection: Selection, imports: frozenset[int]) -> Iterator[int]:
    missing = _wanted(snapshot, "migrate", snapshot.archived["import"] | imports, selection)
    return islice(_in_order(snapshot, missing, selection), _limit(snapshot.settings, selection))


def _wanted(snapshot: Snapshot, stage: Stage, offered: frozenset[int], selection: Selection) -> Set[int]:
    """Runs that the stage has to take, ready or not. Raises StateFileError."""
    archived, failed = snapshot.archived[stage], snapshot.failed[stage]
    missing = offered - archived
    if selection.mode == "retry":
        listed = StateFiles(snapshot.settings, stage).read_log() - archived
        # A run that is in neither store stays an import's failure; a migration never imports.
        return listed if stage == "import" else listed & offered
    if selection.only is not None:
        return missing & selection.only
    if selection.mode == "incremental":
        written = snapshot.written(stage)
        if written.error is not None:
            raise written.error
        known, ledger = Known(offered, archived, failed), written.ledger
        start = derive(known, ledger).state.start
        # Also runs that were open when the numbers passed them: no log has these, so `Derived.incremental` misses them.
        late = missing - failed if ledger.held is None else frozenset[int]()
        return {run for run in missing if run > start or (run > ledger.base and run in late)}
    return missing


def _in_order(snapshot: Snapshot, runs: Iterable[int], selection: Selection) -> list[int]:
    """Never-tried runs first, so that old failures do not use up the window; then by number."""
    failed_before = snapshot.failed["import"] | snapshot.failed["migrate"]
    sign = -1 if selection.order == "newest" else 1
    return sorted(runs, key=lambda run: (run in failed_before, sign * run))


def _limit(settings: Settings, selection: Selection) -> int | None:
    """Runs per stage and execution: `batch_size`, tenfold in full mode, as in the existing archiver."""
    size = settings.app.batch_size
    if size is None or selection.explicit:
        return None
    return size * 10 if selection.mode == "full" else size


def current(settings: Settings, config: Mapping[str, Any], snapshot: Snapshot | None = None) -> Window:
    """The window of this parse of the Snakefile: the command line's if it gave one, else the first of a full cycle.

    Raises SourceUnreadable or SiteShrank if a full cycle can do nothing for that reason.
    """
    given = config.get(WINDOW_KEY)
    if given is None:
        snapshot = snapshot or Snapshot.take(settings)
        found = next(iter(windows(snapshot, Selection())), Window())
        if not found and snapshot.source_error is not None:
            raise snapshot.source_error
        return found
    try:
        return Window.from_mapping(given)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{WINDOW_KEY} is for the command line's own use", hint="leave it out") from error
