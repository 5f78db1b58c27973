"""Why runs are not archived: failures in groups that have one cause, since when, and what to do about each class.

Functions of a snapshot. docs/troubleshoot.md explains the messages themselves.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from rra_state.base import run_numbers
from rra_state.base.wording import seconds
from rra_state.state.lost_runs import RecordLost
from rra_state.state.outcome import DIFFERS, MARKER_DIFFERS, NOT_LISTED, RECORD_DIFFERS, STAGES, Damaged, Failure, Stage
from rra_state.state.snapshot import Snapshot

EVERY_STAGE: tuple[Stage, ...] = (*STAGES, "refresh", "verify")
"""Stages in which a run can fail. The failures of a verification are its findings."""
NOT_ATTEMPTED = "NotAttempted"
"""Class of a run that is in the failure log without ever having been tried."""
DAMAGED = "Damaged"
"""Class of a failure record that cannot be read."""
LISTED = "Listed"
"""Class of a run that an operator wrote into the failure log, and that was never tried."""

RECOVER = tuple(f"--recover-{stage}-state" for stage in STAGES)
"""Options that rebuild the markers."""

_WITHOUT_RECORD = {
    NOT_ATTEMPTED: "waiting: the next cycle takes it",
    LISTED: "an operator wrote it into the failure log; it was never tried",
    DAMAGED: "its failure record cannot be read",
}
"""The reason, by class, of a run without a readable failure record."""
_REMEDIES = {
    "RecordError": "Repair the record as the reason says, then retry.",
    "FhiclError": "Repair the file at the line named, or allow on_bad_file: keep_text, then retry.",
    "BlobError": "Look at what artdaqDB holds of the run, then retry.",
    "Conflict": "UconDB holds other content under this run. Compare both; remove what is wrong there, then retry.",
    "VerificationError": "What was read back differs. --compare-state shows which store is off; then retry.",
    "WorkerLost": "A worker process died on it twice: look for lack of memory in the system's log, then retry.",
    "LostFromIndex": "artdaqDB's index lost the run and its record is gone: look in UconDB, and --rebuild-index.",
    "NotFinished": "Nothing is wrong with it.",
    RecordLost.__name__: "Put the record back, or give the run up.",
    NOT_LISTED: "UconDB holds the blob and does not list it: have its administrator look at the row of this key.",
    DIFFERS: "Look with --show; restore what is damaged from a backup of that store. The next cycle looks again.",
    MARKER_DIFFERS: "The stores agree, the marker is another's: make it anew. The next cycle verifies it.",
    RECORD_DIFFERS: "If the record on disk is right, archive it again; if not, put back what it lost.",
    NOT_ATTEMPTED: "Nothing is wrong with it.",
    LISTED: "The retry takes it once it has a record, or is in artdaqDB.",
    DAMAGED: "Remove the record, then recover the state.",
}


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Runs of one stage that failed for the same reason, ascending. first, last: seconds since 1970.

    text: the reason without the run's number. example: the message of the lowest run, None if none was tried.
    attempts: most attempts of one of them.
    """

    stage: Stage
    kind: str
    text: str
    runs: tuple[int, ...]
    example: str | None = None
    attempts: int | None = None
    first: float | None = None
    last: float | None = None

    @property
    def remedy(self) -> str:
        """What to do."""
        return _REMEDIES.get(self.kind, "Do what the reason says, then retry.")

    @property
    def option(self) -> str:
        """The option of the command line to type once that is done."""
        runs = run_numbers.text(self.runs)
        if self.stage == "verify":
            options = {RECORD_DIFFERS: f"--refresh {runs}", MARKER_DIFFERS: " ".join(RECOVER)}
            return options.get(self.kind, f"--verify --runs {runs}")
        if self.stage == "refresh":
            return f"--runs {runs}"
        if self.kind == RecordLost.__name__:
            return f"--forget {runs}"
        if self.kind == NOT_ATTEMPTED:
            return "--incremental"
        return f"--recover-{self.stage}-state" if self.kind == DAMAGED else f"--retry-failed-{self.stage}"


def groups(snapshot: Snapshot, since: float | None = None) -> tuple[FailureGroup, ...]:
    """All that failed, by stage, class and reason, the largest group of a stage first.

    since: seconds since 1970; runs whose last failure is older are left out.
    """
    return tuple(group for stage in EVERY_STAGE for group in _of_stage(snapshot, stage, since))


def by_class(found: Iterable[FailureGroup]) -> list[FailureGroup]:
    """The groups joined by stage and class, in alphabetical order within a stage."""
    joined: dict[tuple[Stage, str], list[FailureGroup]] = {}
    for group in found:
        joined.setdefault((group.stage, group.kind), []).append(group)
    every = [_joined(members) for members in joined.values()]
    return sorted(every, key=lambda group: (EVERY_STAGE.index(group.stage), group.kind))


def not_archived(snapshot: Snapshot, stage: Stage) -> Collection[int]:
    """Runs that failed in a stage, or are in its failure log without having been tried."""
    logged = snapshot.derived(stage).log if stage in STAGES else ()
    return snapshot.failures(stage).keys() | logged


def kind(snapshot: Snapshot, stage: Stage, run: int) -> str:
    """The class of failure of a run that `not_archived` names."""
    if stage in STAGES and run in snapshot.derived(stage).not_attempted:
        return NOT_ATTEMPTED
    found = snapshot.failures(stage).get(run)
    return LISTED if found is None else DAMAGED if isinstance(found, Damaged) else found.kind


def stuck_in(snapshot: Snapshot, run: int) -> Stage:
    """The stage that a waiting or failed run still has to pass."""
    if run in snapshot.outdated:
        return "refresh"
    if run in snapshot.findings:
        return "verify"
    return "migrate" if run in snapshot.archived["import"] else "import"


def missing_since(snapshot: Snapshot, stage: Stage, run: int) -> float | None:
    """Since when a run is missing in the stage's store, seconds since 1970: first failure, or ready and waiting."""
    failure = snapshot.failures(stage).get(run)
    if isinstance(failure, Failure) and (first := seconds(failure.first)) is not None:
        return first
    return snapshot.waiting_since(stage, run) if stage in STAGES else None


def _of_stage(snapshot: Snapshot, stage: Stage, since: float | None) -> list[FailureGroup]:
    found: dict[tuple[str, str], list[int]] = {}
    records = snapshot.failures(stage)
    for run in sorted(not_archived(snapshot, stage)):
        record, name = records.get(run), kind(snapshot, stage, run)
        if isinstance(record, Failure) and since is not None and (seconds(record.last) or since) < since:
            continue
        text = _without_run(record.message, run) if isinstance(record, Failure) else _WITHOUT_RECORD[name]
        found.setdefault((name, text), []).append(run)
    made = [_group(stage, name, text, runs, snapshot) for (name, text), runs in found.items()]
    return sorted(made, key=lambda group: (-len(group.runs), group.runs))


def _group(stage: Stage, name: str, text: str, runs: Sequence[int], snapshot: Snapshot) -> FailureGroup:
    records = [record for run in runs if isinstance(record := snapshot.failures(stage).get(run), Failure)]
    return FailureGroup(
        stage,
        name,
        text,
        tuple(runs),
        example=records[0].message if records else None,
        attempts=max((record.attempts for record in records), default=None),
        first=min(_known(seconds(record.first) for record in records), default=None),
        last=max(_known(seconds(record.last) for record in records), default=None),
    )


def _joined(members: Sequence[FailureGroup]) -> FailureGroup:
    return replace(
        min(members, key=lambda group: group.runs),
        runs=tuple(sorted(run for group in members for run in group.runs)),
        attempts=max((group.attempts for group in members if group.attempts is not None), default=None),
        first=min(_known(group.first for group in members), default=None),
        last=max(_known(group.last for group in members), default=None),
    )


def _known(values: Iterable[float | None]) -> Iterator[float]:
    return (value for value in values if value is not None)


def _without_run(message: str, run: int) -> str:
    """The message with `<run>` for its run's number, so that runs with the same fault have the same text."""
    text = message.removeprefix(f"run {run}: ")
    return re.sub(rf"(?<![\w.-]){run}(?![\w-])", "<run>", text)
