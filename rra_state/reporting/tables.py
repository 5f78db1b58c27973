"""The catalog as pandas frames: one frame per question. Only reads, and asks no store.

Columns, types and units are `COLUMNS`; docs/report.md shows them, and a test keeps both the same. Loads pandas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from rra_state.base import run_numbers as run_sets
from rra_state.records import dates
from rra_state.reporting import catalog as catalogs
from rra_state.reporting.catalog import Catalog
from rra_state.state.counts import RUN_STATES, Oldest, seconds
from rra_state.state.outcome import STAGES

TIME = "datetime64[s, UTC]"


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a frame: its dtype as pandas prints it, its unit, and what it says."""

    name: str
    dtype: str
    unit: str
    meaning: str


COLUMNS: dict[str, tuple[Column, ...]] = {
    "runs": (
        Column("run", "int64", "", "run number, ascending"),
        Column("state", "category", "", "`archived`, `waiting`, `failed` or `open`"),
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
        Column("failed_stage", "category", "", "where it failed: `import`, `migrate` or `refresh`"),
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
        Column("stage", "category", "", "`import`, `migrate` or `refresh`"),
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
        Column("day", "datetime64[s]", "UTC", "every day from the first to the last with any event"),
        Column("imported", "int64", "runs", "came into artdaqDB"),
        Column("migrated", "int64", "runs", "came into UconDB"),
        Column("size", "int64", "bytes", "of the blobs that came into UconDB"),
        Column("failed", "int64", "runs", "failed last on this day and are not archived"),
    ),
}
"""The columns of each frame, in order."""

_CATEGORIES: dict[str, Sequence[str]] = {
    "state": RUN_STATES,
    "stage": (*STAGES, "refresh"),
    "failed_stage": (*STAGES, "refresh"),
    "place": ("filesystem", "artdaqDB", "UconDB"),
}


def runs(catalog: Catalog) -> pd.DataFrame:
    """One row per run that is on disk or was archived, ascending."""
    census = catalog.census
    states = catalog.states()
    imported, migrated = (catalog.shelves[stage] for stage in STAGES)
    known = census.source_error is None
    facts: dict[str, dict[int, Any]] = {
        "imported_at": imported.by_run("archived"),
        "migrated_at": migrated.by_run("archived"),
        "started": imported.by_run("start_time"),
        "stopped": imported.by_run("stop_time"),
        "verified": migrated.by_run("verified"),
        "size": migrated.by_run("size"),
        "configuration": imported.by_run("configuration"),
        "version": imported.by_run("version"),
        "kept_files": _names(imported.by_run("kept")),
        "skipped_files": _names(imported.by_run("skipped")),
        "missing_since": _missing_since(catalog, states),
        **_troubles(catalog),
    }
    _overlay(facts, catalog.refreshed)
    columns: dict[str, list[Any]] = {name: [values.get(run) for run in states] for name, values in facts.items()}
    columns |= {
        "run": list(states),
        "state": list(states.values()),
        "on_disk": [run in census.on_disk if known else None for run in states],
        "ready": [run not in census.open if run in census.on_disk else None for run in states],
        "imported": [run in census.archived["import"] for run in states],
        "migrated": [run in census.archived["migrate"] for run in states],
        "refreshes": [catalog.refreshed.get(run, {}).get("refreshes", 0) for run in states],
        "refreshed_at": [seconds(catalog.refreshed.get(run, {}).get("archived")) for run in states],
    }
    for name in ("started", "stopped"):
        columns[name] = _times_of_day(columns[name])
    return _frame("runs", columns)


def stages(catalog: Catalog) -> pd.DataFrame:
    """One row per stage."""
    rows = []
    for stage, counted in catalog.summary.stages.items():
        oldest = _older(counted.oldest_waiting, counted.oldest_failed)
        rows.append(
            {
                "stage": stage,
                "archived": counted.archived,
                "waiting": counted.waiting,
                "failed": counted.failed,
                "in_log": counted.in_log,
                "not_attempted": len(catalog.derived[stage].not_attempted),
                "last_contiguous_run": counted.state.last_contiguous_run,
                "last_attempted_run": counted.state.last_attempted_run,
                "oldest_run": oldest and oldest.run,
                "missing_since": oldest and oldest.since.timestamp(),
                "age": oldest and oldest.age(catalog.summary.at),
            }
        )
    return _of_rows("stages", rows)


def gaps(catalog: Catalog) -> pd.DataFrame:
    """One row per range of missing runs, by place and number."""
    return _of_rows(
        "gaps",
        [
            {
                "place": gap.place,
                "first": gap.first,
                "last": gap.last,
                "runs": gap.runs,
                "failed": gap.failed,
                "since": gap.since,
                "age": None if gap.since is None else max(0.0, catalog.census.at - gap.since),
            }
            for gap in catalogs.gaps(catalog)
        ],
    )


def failures(catalog: Catalog) -> pd.DataFrame:
    """One row per stage and class of failure."""
    return _of_rows(
        "failures",
        [
            {
                "stage": kind.stage,
                "error_class": kind.name,
                "count": len(kind.runs),
                "runs": run_sets.text(kind.runs),
                "attempts": kind.attempts,
                "first": kind.first,
                "last": kind.last,
                "example": kind.example,
            }
            for kind in catalogs.kinds(catalog)
        ],
    )


def throughput(catalog: Catalog) -> pd.DataFrame:
    """One row per day (UTC), from the first to the last with any event, days without one included."""
    return _of_rows(
        "throughput",
        [
            {
                "day": pd.Timestamp(each.day),
                "imported": each.imported,
                "migrated": each.migrated,
                "size": each.size,
                "failed": each.failed,
            }
            for each in catalogs.days(catalog)
        ],
    )


# ---- columns -------------------------------------------------------------------------------------------------------


def _troubles(catalog: Catalog) -> dict[str, dict[int, Any]]:
    """What went wrong with runs that are not archived. Of two stages the later one counts: it is where it stuck."""
    names = ("failed_stage", "attempts", "error_class", "error", "failed_first", "failed_last")
    found: dict[str, dict[int, Any]] = {name: {} for name in names}
    for stage in catalog.failures:
        for run in catalog.troubled(stage):
            found["failed_stage"][run], found["error_class"][run] = stage, catalog.kind(stage, run)
        for run, failure in catalog.failures[stage].items():
            found["attempts"][run], found["error"][run] = failure.attempts, failure.message
            found["failed_first"][run], found["failed_last"][run] = map(seconds, (failure.first, failure.last))
    return found


def _overlay(facts: Mapping[str, dict[int, Any]], refreshed: Mapping[int, Mapping[str, Any]]) -> None:
    """Of a run that was archived again, the newest version counts."""
    names = {"size": "size", "version": "version", "configuration": "configuration", "stopped": "stop_time"}
    for run, marker in refreshed.items():
        for column, name in names.items():
            if marker.get(name) is not None:
                facts[column][run] = marker[name]


def _missing_since(catalog: Catalog, states: Mapping[int, str]) -> dict[int, Any]:
    wanted = (run for run, state in states.items() if state in ("waiting", "failed"))
    return {run: catalog.missing_since(catalog.stuck_in(run), run) for run in wanted}


def _names(entries: Mapping[int, Any]) -> dict[int, Any]:
    return {run: catalogs.readable(" ".join(sorted(files))) for run, files in entries.items() if files}


def _older(*candidates: Oldest | None) -> Oldest | None:
    return min((each for each in candidates if each is not None), key=lambda each: each.since, default=None)


def _times_of_day(texts: Sequence[str | None]) -> list[float | None]:
    """The DAQ's start and stop times as seconds since 1970."""
    return [None if text is None else dates.timestamp(text) for text in texts]


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
