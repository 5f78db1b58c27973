"""The archive in a few numbers: runs by state and stage, how long the oldest waits, failures by class.

From the tree and the list of records on disk; no store is asked and pandas is not loaded, so that every cycle can
afford it. The frames with a row per run are `frames.py`'s.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from rra_state.base.errors import ArchiverError
from rra_state.config.loading import Settings
from rra_state.state.changed_records import Refresh
from rra_state.state.outcome import STAGES, Failure, Stage
from rra_state.state.planner import Planner
from rra_state.state.state_files import Derived, Keeper, Known, State, derive

RunState = Literal["archived", "waiting", "failed", "open"]
RUN_STATES: tuple[RunState, ...] = ("archived", "waiting", "failed", "open")
"""What a run can be, taken over both stages: in UconDB; ready and on its way; failed; still being written."""

NOT_ATTEMPTED = "NotAttempted"
"""Class of a run that is in the failure log without ever having been tried.

Source: docs/design/state.md, Typed records.
"""
DAMAGED = "Damaged"
"""Class of a failure record that cannot be read."""
LISTED = "Listed"
"""Class of a run that an operator wrote into the failure log, and that nobody has tried."""


@dataclass(frozen=True, slots=True)
class Oldest:
    """The run that waits longest in a stage. since: UTC."""

    run: int
    since: datetime

    def age(self, now: datetime) -> float:
        """Seconds; never negative, a record may be of the future."""
        return max(0.0, (now - self.since).total_seconds())


@dataclass(frozen=True, slots=True)
class StageSummary:
    """One stage in numbers of runs.

    waiting: ready, and neither archived nor failed. in_log: lines of the failure log as it has to be.
    kinds: runs by class of failure, `NotAttempted` included; such a run counts as waiting, not as failed.
    oldest_waiting: since the record was last written, or since its import. oldest_failed: since its first failure.
    """

    stage: Stage
    archived: int
    waiting: int
    failed: int
    in_log: int
    state: State
    kinds: Mapping[str, int]
    oldest_waiting: Oldest | None = None
    oldest_failed: Oldest | None = None


@dataclass(frozen=True, slots=True)
class Summary:
    """Both stages. runs: number of runs by state, over both. source_error: why the records' disk cannot be read."""

    at: datetime
    runs: Mapping[RunState, int]
    stages: Mapping[Stage, StageSummary]
    source_error: ArchiverError | None = None

    @property
    def total(self) -> int:
        """All runs known: on disk, or archived before."""
        return sum(self.runs.values())

    @property
    def oldest(self) -> Oldest | None:
        """The run that has been on its way longest, waiting or failed, in either stage."""
        found = [
            each
            for stage in self.stages.values()
            for each in (stage.oldest_waiting, stage.oldest_failed)
            if each is not None
        ]
        return min(found, key=lambda each: each.since, default=None)


def summary(settings: Settings, now: float | None = None) -> Summary:
    """Count the runs. now: seconds since 1970. Raises StateFileError, WorkDirError.

    A records' disk that cannot be read is part of the answer: then only what was imported before is counted.
    """
    return counted(Census.take(settings, time.time() if now is None else now))


def counted(census: Census) -> Summary:
    """Count these runs. Raises StateFileError, WorkDirError."""
    failures = {stage: dict(_readable_failures(census, stage)) for stage in STAGES}
    return summarize(census, {stage: derived(census, stage) for stage in STAGES}, failures)


@dataclass(frozen=True, slots=True)
class Census:
    """Which runs there are, by what the tree and the records' directory say. at: seconds since 1970.

    archived, failed: per stage; a run with a marker has not failed. waiting: per stage, ready and not tried.
    outdated: archived runs whose record changed since and could not be archived again.
    """

    at: float
    on_disk: frozenset[int]
    archived: Mapping[Stage, Set[int]]
    failed: Mapping[Stage, Set[int]]
    waiting: Mapping[Stage, Set[int]]
    open: frozenset[int]
    outdated: frozenset[int]
    planner: Planner = field(repr=False)
    source_error: ArchiverError | None = None

    @classmethod
    def take(cls, settings: Settings, now: float, planner: Planner | None = None) -> Census:
        """List the directories; look into the records that nobody has tried yet. Raises WorkDirError.

        planner: one that has listed them since the last change.
        """
        planner = planner or Planner(settings, now)
        on_disk, source_error = _on_disk(planner)
        archived = {stage: planner.archived(stage) for stage in STAGES}
        failed = {stage: planner.failed(stage) - archived[stage] for stage in STAGES}
        fresh = on_disk - archived["import"] - failed["import"]
        still_open = frozenset(run for run in fresh if not planner.is_ready(run))
        waiting: dict[Stage, Set[int]] = {
            "import": fresh - still_open,
            "migrate": archived["import"] - archived["migrate"] - failed["migrate"],
        }
        refreshes = map(Refresh.of, planner.tree.failed_refreshes())
        outdated = frozenset(each.run for each in refreshes) & archived["migrate"]
        return cls(now, on_disk, archived, failed, waiting, still_open, outdated, planner, source_error)

    def is_open(self, run: int) -> bool:
        """Whether a run that nobody has tried is still being written."""
        return run in self.open

    def by_state(self) -> dict[RunState, Set[int]]:
        """Every run once. A run that is in UconDB as it is now is archived, whatever is left of earlier troubles."""
        archived = self.archived["migrate"] - self.outdated
        failed = (self.failed["import"] | self.failed["migrate"] | self.outdated) - archived
        everything = self.on_disk | self.archived["import"] | archived | failed
        still_open = self.open - archived - failed
        waiting = everything - archived - failed - still_open
        return {"archived": archived, "waiting": waiting, "failed": failed, "open": still_open}

    def waiting_since(self, stage: Stage, run: int) -> float | None:
        """Since when a waiting run could have been archived, in seconds since 1970; None if it just vanished.

        Before its import: since the DAQ last wrote to the record. After it: since then.
        """
        if stage == "migrate":
            return _last_written(self.planner.tree.marker_path("import", run))
        directory = self.planner.settings.source_files.run_records_dir / str(run)
        times = (_last_written(directory), _last_written(directory / "metadata.txt"))
        return max((each for each in times if each is not None), default=None)


def _on_disk(planner: Planner) -> tuple[frozenset[int], ArchiverError | None]:
    try:
        return planner.listing.runs, None
    except ArchiverError as error:
        return frozenset(), error


def summarize(
    census: Census, states: Mapping[Stage, Derived], failures: Mapping[Stage, Mapping[int, Failure]]
) -> Summary:
    """The census in numbers. states: see `derived`. failures: the records that can be read."""
    stages = {stage: _stage(census, stage, states[stage], failures[stage]) for stage in STAGES}
    numbers = {state: len(found) for state, found in census.by_state().items()}
    return Summary(datetime.fromtimestamp(census.at, UTC), numbers, stages, census.source_error)


def derived(census: Census, stage: Stage) -> Derived:
    """State and failure log of a stage as they have to be. Raises StateFileError."""
    source = census.on_disk if stage == "import" else census.archived["import"]
    known = Known(source, set(census.archived[stage]), set(census.failed[stage]), census.is_open)
    return derive(known, Keeper(census.planner.settings, stage).read(known))


def _stage(census: Census, stage: Stage, state: Derived, failures: Mapping[int, Failure]) -> StageSummary:
    kinds = Counter(failure.kind for failure in failures.values())
    unread = census.failed[stage] - failures.keys()
    kinds[DAMAGED] += sum(census.planner.tree.failure_path(stage, run).exists() for run in unread)
    kinds[NOT_ATTEMPTED] = len(state.not_attempted)
    return StageSummary(
        stage,
        archived=len(census.archived[stage]),
        waiting=len(census.waiting[stage]),
        failed=len(census.failed[stage]),
        in_log=len(state.log),
        state=state.state,
        kinds={kind: number for kind, number in sorted(kinds.items()) if number},
        oldest_waiting=_oldest(census.waiting[stage], lambda run: census.waiting_since(stage, run)),
        oldest_failed=_oldest(failures, lambda run: seconds(failures[run].first)),
    )


def _readable_failures(census: Census, stage: Stage) -> Iterator[tuple[int, Failure]]:
    for run, failure in census.planner.tree.failures(stage, census.failed[stage]):
        if isinstance(failure, Failure):
            yield run, failure


def _oldest(found: Iterable[int], since: Callable[[int], float | None]) -> Oldest | None:
    known = ((when, run) for run in found if (when := since(run)) is not None)
    when, run = min(known, default=(0.0, 0))
    return Oldest(run, datetime.fromtimestamp(when, UTC)) if run else None


def _last_written(path: Path) -> float | None:
    try:
        return os.stat(path).st_mtime  # noqa: PTH116 - of 100,000 runs, after a long pause
    except OSError:
        return None


def seconds(text: object) -> float | None:
    """Seconds since 1970 of a time in ISO form, as markers and failure records have it; None if it is none."""
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None
