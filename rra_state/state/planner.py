"""The planner: which runs a cycle takes, in which order, in which windows. Only reads.

Directories are listed; a record is opened only when its run is about to be planned, to see whether it is ready.
Source: docs/design/state.md, Incremental mode and Ready; docs/design/architecture.md, Snakemake.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from functools import cached_property
from itertools import islice
from typing import Any, Literal

from rra_state.base import run_numbers
from rra_state.base.errors import ConfigError
from rra_state.config.loading import Settings
from rra_state.records import source
from rra_state.state import changed_records
from rra_state.state.changed_records import Look, NamedRuns, Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Stage
from rra_state.state.state_files import Keeper, Known, derive

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
        return targets if stage else [*targets, *(refresh.target for refresh in self.refreshes)]

    def sorted(self, chosen: Iterable[int]) -> list[int]:
        """Runs in the order in which they are to be taken."""
        return sorted(chosen, reverse=self.order == "newest")

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


@dataclass
class Planner:
    """What lies where, listed once, and what follows for a cycle.

    now: seconds since the epoch. earlier: a listing of the run records that may still be true.
    """

    settings: Settings
    now: float = field(default_factory=time.time)
    earlier: source.Listing | None = None
    _ready: dict[int, bool] = field(default_factory=dict)
    _archived: dict[Stage, set[int]] = field(default_factory=dict)
    _failed: dict[Stage, set[int]] = field(default_factory=dict)
    _named: NamedRuns | None = None

    def again(self) -> Planner:
        """One that looks anew."""
        return Planner(self.settings, earlier=self.listing)

    @cached_property
    def tree(self) -> Tree:
        """The marker tree."""
        return Tree(self.settings.app.work_dir)

    def archived(self, stage: Stage) -> set[int]:
        """Runs with a marker. Raises WorkDirError."""
        if stage not in self._archived:
            self._archived[stage] = self.tree.archived(stage)
        return self._archived[stage]

    def failed(self, stage: Stage) -> set[int]:
        """Runs with a failure record. Raises WorkDirError."""
        if stage not in self._failed:
            self._failed[stage] = self.tree.failed(stage)
        return self._failed[stage]

    @cached_property
    def listing(self) -> source.Listing:
        """The run records on disk. Raises SourceUnreadable."""
        return source.listing(self.settings.source_files.run_records_dir, self.earlier)

    def ignored(self) -> Iterator[tuple[str, str]]:
        """Entries of the records' directory that are no run records, each with the reason."""
        return ((entry.name, entry.reason) for entry in self.listing.ignored)

    def is_ready(self, run: int) -> bool:
        """Whether nothing in the record of a run changed for long enough. Reads its metadata.txt."""
        if run not in self._ready:
            self._ready[run] = source.readiness(self.settings.source_files, run, self.now).ready
        return self._ready[run]

    def known(self, stage: Stage) -> Known:
        """The runs of a stage as the tree and the source show them now."""
        archived, failed = self.archived(stage), self.failed(stage)
        if stage == "migrate":
            return Known(self.archived("import"), archived, failed)
        return Known(self.listing.runs, archived, failed, lambda run: not self.is_ready(run))

    def windows(self, selection: Selection) -> Iterator[Window]:
        """The cycle's runs, each once, in windows of the configured size, as far as the limit goes."""
        imports = self._imports(selection) if "import" in selection.stages else iter(())
        taken = frozenset(imports)
        migrations = frozenset(self._migrations(selection, taken)) if "migrate" in selection.stages else frozenset()
        order = sorted(taken | migrations, key=lambda run: self._rank(run, selection))
        size = self.settings.app.window_size
        refreshes = self._refreshes(selection)
        for first in range(0, max(len(order), len(refreshes[:1])), size):
            part = frozenset(order[first : first + size])
            with_it = refreshes if first == 0 else ()
            yield Window(part & taken, part & migrations, with_it, selection.order, selection.explicit)

    @cached_property
    def watch(self) -> Look:
        """The archived runs whose record may have changed. Raises SourceUnreadable."""
        return changed_records.look(self.settings, self.tree, self.is_ready)

    def named(self, selection: Selection) -> NamedRuns:
        """What --refresh can do for the runs it names; nothing for any other selection. Raises SourceUnreadable."""
        if selection.mode != "refresh":
            return NamedRuns()
        if self._named is None:
            self._named = changed_records.look_at(self.settings, self.tree, selection.only or ())
        return self._named

    def _refreshes(self, selection: Selection) -> tuple[Refresh, ...]:
        """Changed records to archive again. One that failed before waits for a full cycle, as any other failure."""
        if selection.mode == "refresh":
            return tuple(self.named(selection).changed)
        if selection.stages != STAGES or selection.mode == "retry":
            return ()
        wanted = {each for each in self.watch.changed if selection.only is None or each.run in selection.only}
        if selection.mode == "incremental" and wanted:
            wanted -= {Refresh.of(name) for name in self.tree.failed_refreshes()}
        return tuple(sorted(wanted))

    def not_found(self, selection: Selection) -> set[int]:
        """Runs the operator named that are neither on disk nor in artdaqDB."""
        return set(selection.only or ()) - self.listing.runs - self.archived("import")

    def _imports(self, selection: Selection) -> Iterator[int]:
        missing = self._wanted("import", self.listing.runs, selection)
        order = sorted(missing, key=lambda run: self._rank(run, selection))
        ready = (run for run in order if run not in self.listing.runs or self.is_ready(run))
        return islice(ready, self._limit(selection))

    def _migrations(self, selection: Selection, imports: frozenset[int]) -> Iterator[int]:
        offered = self.archived("import") | imports
        missing = self._wanted("migrate", offered, selection)
        return islice(sorted(missing, key=lambda run: self._rank(run, selection)), self._limit(selection))

    def _wanted(self, stage: Stage, offered: Set[int], selection: Selection) -> Set[int]:
        """Runs that the stage has to take, ready or not."""
        archived = self.archived(stage)
        if selection.mode == "retry":
            listed = Keeper(self.settings, stage).read_log() - archived
            # A run that is in neither place stays an import's failure; a migration never imports.
            return listed if stage == "import" else listed & offered
        missing = offered - archived
        if selection.only is not None:
            return missing & selection.only
        if selection.mode == "incremental":
            known = Known(offered, archived, self.failed(stage))
            keeper = Keeper(self.settings, stage)
            ledger = keeper.read(known)
            start = derive(known, ledger).state.start
            missing = {run for run in missing if run > start or (run > ledger.base and run not in known.failed)}
        return missing

    def _rank(self, run: int, selection: Selection) -> tuple[bool, int]:
        """Never-tried runs first, so that old failures do not use up the window; then by number."""
        return run in self._failed_before, -run if selection.order == "newest" else run

    @cached_property
    def _failed_before(self) -> set[int]:
        return self.failed("import") | self.failed("migrate")

    def _limit(self, selection: Selection) -> int | None:
        """Runs per stage and execution: `batch_size`, tenfold in full mode, as in the existing archiver."""
        size = self.settings.app.batch_size
        if size is None or selection.explicit:
            return None
        return size * 10 if selection.mode == "full" else size


def current(settings: Settings, config: Mapping[str, Any]) -> Window:
    """The window of this parse of the Snakefile: the command line's if it gave one, else the first of a full cycle."""
    given = config.get(WINDOW_KEY)
    if given is None:
        return next(Planner(settings).windows(Selection()), Window())
    try:
        return Window.from_mapping(given)
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise ConfigError(f"{WINDOW_KEY} is for the command line's own use", hint="leave it out") from error
