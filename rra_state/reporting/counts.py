"""Runs by state and stage, and how long the oldest waits. Functions of a snapshot, cheap enough for every cycle.

No marker is read and pandas is not loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, get_args

from rra_state.base.errors import ArchiverError
from rra_state.base.wording import seconds
from rra_state.reporting import failures
from rra_state.reporting.failures import FailureGroup
from rra_state.state.outcome import STAGES, Failure, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Derived

RunState = Literal["archived", "waiting", "failed", "open", "lost"]
RUN_STATES: tuple[RunState, ...] = get_args(RunState)
"""The states of a run over both stages. archived: in UconDB. waiting: ready, not yet in UconDB. failed: in a stage, or
archived with a finding. open: still being written. lost: seen or tried, and nowhere any more."""


@dataclass(frozen=True, slots=True)
class Oldest:
    """The run that waits longest in a stage. since: UTC."""

    run: int
    since: datetime

    def age(self, at: float) -> float:
        """Seconds until `at`, seconds since 1970; 0 if the record's time is in the future."""
        return max(0.0, at - self.since.timestamp())


@dataclass(frozen=True, slots=True)
class StageCounts:
    """One stage in numbers of runs.

    waiting: ready, and neither archived nor failed. derived: state and failure log as they follow from the markers.
    classes: runs by class of failure, `NotAttempted` included; such a run counts as waiting, not as failed.
    oldest_waiting: since the record was last written, or since its import. oldest_failed: since its first failure.
    """

    stage: Stage
    archived: int
    waiting: int
    failed: int
    derived: Derived
    classes: Mapping[str, int]
    oldest_waiting: Oldest | None = None
    oldest_failed: Oldest | None = None


@dataclass(frozen=True, slots=True)
class Counts:
    """Both stages. at: seconds since 1970. runs: by state, over both. failed: by stage, refreshes and findings too.

    source_error: why the records' disk cannot be read; then only what was imported before is counted.
    """

    at: float
    runs: Mapping[RunState, frozenset[int]]
    stages: Mapping[Stage, StageCounts]
    groups: tuple[FailureGroup, ...]
    failed: Mapping[Stage, frozenset[int]]
    source_error: ArchiverError | None = None

    @property
    def numbers(self) -> Mapping[RunState, int]:
        """Number of runs by state."""
        return {state: len(self.runs[state]) for state in RUN_STATES}

    @property
    def oldest(self) -> Oldest | None:
        """The run that has been on its way longest, waiting or failed, in either stage."""
        found = [each for stage in self.stages.values() for each in (stage.oldest_waiting, stage.oldest_failed) if each]
        return min(found, key=lambda each: each.since, default=None)


def count_runs(snapshot: Snapshot, listed: frozenset[int] = frozenset()) -> Counts:
    """Count the runs of a snapshot. listed: runs that a store has, which are not lost. Raises WorkDirError."""
    groups = failures.groups(snapshot)
    return Counts(
        snapshot.at,
        by_state(snapshot, listed),
        {stage: _stage(snapshot, stage, groups) for stage in STAGES},
        groups,
        {**snapshot.failed, "refresh": snapshot.outdated, "verify": snapshot.findings},
        snapshot.source_error,
    )


def by_state(snapshot: Snapshot, listed: frozenset[int]) -> dict[RunState, frozenset[int]]:
    """The runs by state; each has one. A run that UconDB holds as it is now is archived, whatever failed before."""
    differing, lost = snapshot.outdated | snapshot.findings, snapshot.lost - listed
    archived = snapshot.archived["migrate"] - differing
    failed = (snapshot.failed["import"] | snapshot.failed["migrate"] | differing) - archived - lost
    still_open = snapshot.open - archived - failed
    everything = snapshot.on_disk | snapshot.archived["import"] | archived | failed
    return {
        "archived": archived,
        "waiting": everything - archived - failed - still_open,
        "failed": failed,
        "open": still_open,
        "lost": lost,
    }


def waiting(snapshot: Snapshot, stage: Stage) -> frozenset[int]:
    """Runs that are ready for a stage, and neither archived nor failed there."""
    offered = snapshot.on_disk - snapshot.open if stage == "import" else snapshot.archived["import"]
    return offered - snapshot.archived[stage] - snapshot.failed[stage] - snapshot.arriving


def _stage(snapshot: Snapshot, stage: Stage, groups: Iterable[FailureGroup]) -> StageCounts:
    ready = waiting(snapshot, stage)
    records = {run: each for run, each in snapshot.failures(stage).items() if isinstance(each, Failure)}
    return StageCounts(
        stage,
        archived=len(snapshot.archived[stage]),
        waiting=len(ready),
        failed=len(snapshot.failed[stage]),
        derived=snapshot.derived(stage),
        classes={group.kind: len(group.runs) for group in failures.by_class(groups) if group.stage == stage},
        oldest_waiting=_oldest(ready, lambda run: snapshot.waiting_since(stage, run)),
        oldest_failed=_oldest(records, lambda run: seconds(records[run].first)),
    )


def _oldest(found: Iterable[int], since: Callable[[int], float | None]) -> Oldest | None:
    known = ((when, run) for run in found if (when := since(run)) is not None)
    when, run = min(known, default=(0.0, 0))
    return Oldest(run, datetime.fromtimestamp(when, UTC)) if run else None
