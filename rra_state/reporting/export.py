"""The status report for machines: JSON after `schemas/status.schema.json`, and CSV with a row per run. Loads pandas."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from rra_state import __version__
from rra_state.base import run_numbers
from rra_state.reporting import tables as frames
from rra_state.reporting.catalog import Catalog, utc
from rra_state.reporting.compare import Comparison
from rra_state.reporting.status import Place, Status
from rra_state.reporting.text import Part
from rra_state.reporting.verdict import steps, verdict
from rra_state.state.outcome import PLACES

VERSION = 1
"""Of the schema. It rises when a field changes its meaning or goes away; a new field alone does not raise it."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_EVENTS = {None: ("imported_at", "migrated_at"), "import": ("imported_at",), "migrate": ("migrated_at",)}
"""Columns of `runs` with the times of what a stage did."""


def json_text(catalog: Catalog, status: Status, part: Part, comparison: Comparison | None = None) -> str:
    """One JSON object: verdict, places, and the rows of every frame, as far as `part` wants them."""
    judged = verdict(status)
    head = {
        "version": VERSION,
        "written": catalog.summary.at.strftime(_TIME),
        "archiver": __version__,
        "config": str(status.settings.path),
        "part": {"since": None if part.since is None else utc(part.since).strftime(_TIME), "stage": part.stage},
        "verdict": {"level": judged.level, "text": judged.text},
        "steps": [{"command": step.command(status), "why": step.why} for step in steps(status)],
        "places": [_place(place) for place in status.places],
        "open": run_numbers.text(status.open),
        "watched": run_numbers.text(status.watched),
        "outdated": run_numbers.text({failure.run for failure in status.outdated}),
        "ignored": [{"name": name, "reason": reason} for name, reason in status.ignored],
        "damaged": list(status.damaged),
        "comparison": None if comparison is None else _comparison(comparison),
    }
    tables = {
        "stages": _of_stage(frames.stages(catalog), part),
        "gaps": _gaps(catalog, part),
        "failures": _since(_of_stage(frames.failures(catalog), part), part, "last"),
        "throughput": _throughput(catalog, part),
        "runs": run_rows(catalog, part),
    }
    rows = ",\n".join(f'"{name}": {_rows(frame)}' for name, frame in tables.items())
    return f"{json.dumps(head, indent=1)[:-2]},\n{rows}\n}}\n"


def csv_text(catalog: Catalog, part: Part) -> str:
    """The frame `runs`, one line per run; its first line names the columns."""
    return str(run_rows(catalog, part).to_csv(index=False, date_format=_TIME))


def run_rows(catalog: Catalog, part: Part) -> pd.DataFrame:
    """The frame `runs` without the runs that `part` leaves out.

    stage: import keeps what is on disk or was imported, migrate what was imported. since: keeps what the stage did,
    or failed to do, from then on, and what it has still to do.
    """
    frame = frames.runs(catalog)
    if part.stage == "migrate":
        frame = frame[frame["imported"]]
    if part.since is None:
        return frame
    since = pd.Timestamp(utc(part.since))
    columns = [*_EVENTS[part.stage], "failed_last", "missing_since"]
    wanted = pd.concat([frame[name] >= since for name in columns], axis=1).any(axis=1)
    done = frame["imported"] if part.stage == "import" else frame["migrated"]
    return frame[wanted | ~done.astype(bool)]


def _gaps(catalog: Catalog, part: Part) -> pd.DataFrame:
    frame = frames.gaps(catalog)
    if part.stage is not None:
        frame = frame[frame["place"].isin(["filesystem", PLACES[part.stage]])]
    return frame


def _throughput(catalog: Catalog, part: Part) -> pd.DataFrame:
    frame = frames.throughput(catalog)
    if part.since is not None:
        frame = frame[frame["day"] >= pd.Timestamp(utc(part.since).date())]
    return frame


def _of_stage(frame: pd.DataFrame, part: Part) -> pd.DataFrame:
    return frame if part.stage is None else frame[frame["stage"] == part.stage]


def _since(frame: pd.DataFrame, part: Part, column: str) -> pd.DataFrame:
    """Without what ended before; what has no time is kept."""
    if part.since is None:
        return frame
    return frame[frame[column].isna() | (frame[column] >= pd.Timestamp(utc(part.since)))]


def _rows(frame: pd.DataFrame) -> str:
    """The rows as JSON objects: times as ISO texts to the second, what is missing as null."""
    texts = {
        name: frame[name].dt.strftime("%Y-%m-%d" if name == "day" else _TIME).astype(object)
        for name in frame.select_dtypes(include=["datetime", "datetimetz"]).columns
    }
    return str(frame.assign(**texts).to_json(orient="records"))


def _place(place: Place) -> dict[str, Any]:
    return {
        "name": place.name,
        "count": None if place.error else len(place.runs),
        "lowest": min(place.runs, default=None),
        "highest": max(place.runs, default=None),
        "runs": None if place.error else run_numbers.text(place.runs),
        "error": None if place.error is None else str(place.error),
    }


def _comparison(comparison: Comparison) -> dict[str, Any]:
    return {
        "complete": comparison.complete,
        "consistent": comparison.consistent,
        "notes": list(comparison.notes),
        "findings": [{"text": finding.text, "mend": finding.mend} for finding in comparison.findings],
    }
