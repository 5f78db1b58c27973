"""Snapshot and assessment as pandas frames: one frame per question.

Columns, types and units are `COLUMNS`; docs/report.md shows them, and a test keeps both the same. Loads pandas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd

from rra_state.base import run_numbers
from rra_state.base.wording import printable, seconds
from rra_state.records import dates
from rra_state.records.model import KEPT, LEFT_OUT
from rra_state.reporting import failures as reasons
from rra_state.reporting.assessment import Assessment
from rra_state.reporting.counts import RUN_STATES
from rra_state.reporting.failures import EVERY_STAGE
from rra_state.reporting.verdict import DISK
from rra_state.state.outcome import STAGES, STORES, Failure, Marker
from rra_state.state.snapshot import Snapshot

TIME = "datetime64[s, UTC]"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame: its dtype as pandas prints it, its unit, and its meaning."""

    name: str
    dtype: str
    unit: str
    meaning: str


COLUMNS: dict[str, tuple[Column, ...]] = {
    "runs": (
        Column("run", "int64", "", "run number, ascending"),
        Column("state", "category", "", "`archived`, `waiting`, `failed`, `open` or `lost`"),
        Column("on_disk", "boolean", "", "has a run record; missing if the disk cannot be read"),
        Column("ready", "boolean", "", "its record is complete; missing if there is none"),
        Column("imported", "boolean", "", "in artdaqDB"),
        Column("migrated", "boolean", "", "in UconDB"),
        Column("verified", "boolean", "", "read back from UconDB and compared; missing until migrated"),
        Column("started", TIME, "UTC", "start time in metadata.txt"),
        Column("stopped", TIME, "UTC", "stop time in metadata.txt"),
        Column("imported_at", TIME, "UTC", "when it was in artdaqDB"),
        Column("migrated_at", TIME, "UTC", "when it was in UconDB"),
        Column("refreshes", "int64", "", "how often it was archived again, since its record had changed"),
        Column("refreshed_at", TIME, "UTC", "when it was last"),
        Column("missing_since", TIME, "UTC", "since when it could have been archived further, or failed first"),
        Column("size", "Int64", "bytes", "size of the blob"),
        Column("configuration", "string", "", "name of the configuration"),
        Column("version", "string", "", "version in artdaqDB"),
        Column("kept_files", "string", "", "files kept as text, separated by spaces"),
        Column("skipped_files", "string", "", "entries of the record that are not archived, likewise"),
        Column("remarks", "string", "", "what a person should know of the run, separated by `; `"),
        Column("failed_stage", "category", "", "where it failed: `import`, `migrate`, `refresh` or `verify`"),
        Column("attempts", "Int64", "", "attempts that failed there"),
        Column(
            "error_class",
            "string",
            "",
            "class of the last failure; `NotAttempted` or `Listed` if in the log but never tried",
        ),
        Column("error", "string", "", "its message"),
        Column("failed_first", TIME, "UTC", "first failure"),
        Column("failed_last", TIME, "UTC", "last failure"),
    ),
    "stages": (
        Column("stage", "category", "", "`import` or `migrate`"),
        Column("archived", "int64", "runs", "have a marker"),
        Column("waiting", "int64", "runs", "are ready, and neither archived nor failed"),
        Column("failed", "int64", "runs", "have a failure record"),
        Column("in_log", "int64", "runs", "are in the failure log"),
        Column("not_attempted", "int64", "runs", "are in the failure log but were never tried"),
        Column("last_contiguous_run", "int64", "", "as in the state file"),
        Column("last_attempted_run", "int64", "", "as in the state file"),
        Column("oldest_run", "Int64", "", "the run that is missing longest"),
        Column("missing_since", TIME, "UTC", "since when it is"),
        Column("age", "Float64", "seconds", "how long that is"),
    ),
    "gaps": (
        Column("place", "category", "", "where the runs are missing: `filesystem`, `artdaqDB` or `UconDB`"),
        Column("first", "int64", "", "lowest run of the range"),
        Column("last", "int64", "", "highest run of the range"),
        Column("runs", "int64", "runs", "how many"),
        Column("failed", "int64", "runs", "how many of them failed there"),
        Column("since", TIME, "UTC", "when the first of them came to be missing"),
        Column("age", "Float64", "seconds", "how long ago that was"),
    ),
    "failures": (
        Column("stage", "category", "", "`import`, `migrate`, `refresh` or `verify`"),
        Column(
            "error_class",
            "string",
            "",
            "class of the failure; `NotAttempted` or `Listed` (by an operator) if in the log but never tried",
        ),
        Column("count", "int64", "runs", "how many"),
        Column("runs", "string", "", "which, such as `100-200,305`"),
        Column("attempts", "Int64", "", "most attempts of one run"),
        Column("first", TIME, "UTC", "first failure"),
        Column("last", TIME, "UTC", "last failure"),
        Column("example", "string", "", "message of the lowest run"),
    ),
    "throughput": (
        Column(
            "day", "datetime64[s]", "UTC", "every day from the first with any event; after today only days with one"
        ),
        Column("imported", "int64", "runs", "came into artdaqDB"),
        Column("migrated", "int64", "runs", "came into UconDB"),
        Column("size", "int64", "bytes", "of the blobs that came into UconDB"),
        Column("failed", "int64", "runs", "failed last on this day and are not archived"),
    ),
}
"""The columns of each frame, in order."""

_CATEGORIES: dict[str, Sequence[str]] = {
    "state": RUN_STATES,
    "stage": EVERY_STAGE,
    "failed_stage": EVERY_STAGE,
    "place": (DISK, *(STORES[stage] for stage in STAGES)),
}


def runs(snapshot: Snapshot, assessment: Assessment) -> pd.DataFrame:
    """One row per run that is on disk or was archived, ascending."""
    states = {run: state for state, members in assessment.counts.runs.items() for run in members}
    order = sorted(states)
    missing = assessment.counts.runs["waiting"] | assessment.counts.runs["failed"]
    imported, migrated = (snapshot.columns(stage) for stage in STAGES)
    values: dict[str, Mapping[int, Any]] = {
        "imported_at": imported.by_run(imported.archived),
        "migrated_at": migrated.by_run(migrated.archived),
        "started": imported.by_run(imported.start_time),
        "stopped": imported.by_run(imported.stop_time),
        "verified": migrated.by_run(migrated.verified),
        "size": migrated.by_run(migrated.size),
        "configuration": imported.by_run(imported.configuration),
        "version": imported.by_run(imported.version),
        "kept_files": _files(assessment, KEPT),
        "skipped_files": _files(assessment, LEFT_OUT),
        "remarks": {run: printable("; ".join(map(str, found))) for run, found in assessment.remarks.of_runs.items()},
        "state": states,
        "missing_since": {
            run: reasons.missing_since(snapshot, reasons.stuck_in(snapshot, run), run) for run in missing
        },
    }
    for name, found in {**_newest(snapshot), **_troubles(snapshot)}.items():
        values[name] = {**values.get(name, {}), **found}
    columns: dict[str, list[Any]] = {name: [found.get(run) for run in order] for name, found in values.items()}
    known = snapshot.source_error is None
    columns |= {
        "run": order,
        "on_disk": [run in snapshot.on_disk if known else None for run in order],
        "ready": [run not in snapshot.open if run in snapshot.on_disk else None for run in order],
        "imported": [run in snapshot.archived["import"] for run in order],
        "migrated": [run in snapshot.archived["migrate"] for run in order],
        "refreshes": [len(snapshot.refreshed.get(run, ())) for run in order],
    }
    for name in ("started", "stopped"):
        columns[name] = [None if text is None else dates.timestamp(text) for text in columns[name]]
    return _frame("runs", columns)


def stages(assessment: Assessment) -> pd.DataFrame:
    """One row per stage."""
    rows = []
    for stage, counted in assessment.counts.stages.items():
        times = [each for each in (counted.oldest_waiting, counted.oldest_failed) if each is not None]
        oldest = min(times, key=lambda each: each.since, default=None)
        rows.append(
            {
                "stage": stage,
                "archived": counted.archived,
                "waiting": counted.waiting,
                "failed": counted.failed,
                "in_log": len(counted.derived.log),
                "not_attempted": len(counted.derived.not_attempted),
                "last_contiguous_run": counted.derived.state.last_contiguous_run,
                "last_attempted_run": counted.derived.state.last_attempted_run,
                "oldest_run": oldest and oldest.run,
                "missing_since": oldest and oldest.since.timestamp(),
                "age": oldest and oldest.age(assessment.counts.at),
            }
        )
    return _of_rows("stages", rows)


def gaps(assessment: Assessment) -> pd.DataFrame:
    """One row per range of missing runs, by site and number."""
    return _of_rows(
        "gaps",
        [
            asdict(gap)
            | {"runs": gap.runs, "age": None if gap.since is None else max(0.0, assessment.counts.at - gap.since)}
            for gap in assessment.gaps
        ],
    )


def failures(assessment: Assessment) -> pd.DataFrame:
    """One row per stage and class of failure."""
    return _of_rows(
        "failures",
        [
            {
                "stage": group.stage,
                "error_class": group.kind,
                "count": len(group.runs),
                "runs": run_numbers.text(group.runs),
                "attempts": group.attempts,
                "first": group.first,
                "last": group.last,
                "example": group.example,
            }
            for group in reasons.by_class(assessment.failures)
        ],
    )


def throughput(assessment: Assessment) -> pd.DataFrame:
    """One row per day (UTC)."""
    return _of_rows("throughput", [asdict(each) | {"day": pd.Timestamp(each.day)} for each in assessment.days])


# ---- columns -------------------------------------------------------------------------------------------------------


def _troubles(snapshot: Snapshot) -> dict[str, dict[int, Any]]:
    """The failure of each run that is not archived. If it failed in several stages, the last of them counts."""
    names = ("failed_stage", "attempts", "error_class", "error", "failed_first", "failed_last")
    found: dict[str, dict[int, Any]] = {name: {} for name in names}
    for stage in EVERY_STAGE:
        for run in reasons.not_archived(snapshot, stage):
            failure = snapshot.failures(stage).get(run)
            found["failed_stage"][run], found["error_class"][run] = stage, reasons.kind(snapshot, stage, run)
            if isinstance(failure, Failure):
                found["attempts"][run], found["error"][run] = failure.attempts, failure.message
                found["failed_first"][run], found["failed_last"][run] = seconds(failure.first), seconds(failure.last)
    return found


def _newest(snapshot: Snapshot) -> dict[str, dict[int, Any]]:
    """The values of the newest refresh of each run that was archived again."""
    newest = snapshot.newest_markers.items()
    markers = {run: each for run, each in newest if isinstance(each, Marker) and each.stage == "refresh"}
    found: dict[str, dict[int, Any]] = {
        "refreshed_at": {run: seconds(each.archived) for run, each in markers.items()},
        "size": {run: each.facts.size for run, each in markers.items()},
        "version": {run: each.facts.version for run, each in markers.items()},
        "configuration": {run: each.facts.configuration for run, each in markers.items()},
        "stopped": {run: each.facts.stop_time for run, each in markers.items()},
    }
    return {name: {run: each for run, each in column.items() if each is not None} for name, column in found.items()}


def _files(assessment: Assessment, end: str) -> dict[int, str]:
    """Per run, the files whose remarks end with `end`."""
    names = {
        run: sorted(each.file for each in remarks if each.text.endswith(end))
        for run, remarks in assessment.remarks.of_runs.items()
    }
    return {run: printable(" ".join(found)) for run, found in names.items() if found}


def _of_rows(name: str, rows: Sequence[Mapping[str, Any]]) -> pd.DataFrame:
    return _frame(name, {column.name: [row[column.name] for row in rows] for column in COLUMNS[name]})


def _frame(name: str, columns: Mapping[str, Sequence[Any]]) -> pd.DataFrame:
    """A frame with the documented columns in the documented order and types."""
    return pd.DataFrame({column.name: _series(column, columns[column.name]) for column in COLUMNS[name]})


def _series(column: Column, values: Sequence[Any]) -> pd.Series[Any]:
    if column.dtype == "category":
        return pd.Series(pd.Categorical(values, categories=list(_CATEGORIES[column.name])))
    if column.dtype == TIME:
        moments = np.array([None if value is None else int(value) for value in values], dtype="datetime64[s]")
        return pd.Series(moments).dt.tz_localize("UTC")
    return pd.Series(values, dtype=column.dtype)
