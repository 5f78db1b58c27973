"""The status report for machines: JSON after `schemas/status.schema.json`, and CSV with a row per run. Loads pandas."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd

from rra_state.base import run_numbers
from rra_state.base.version import __version__
from rra_state.base.wording import printable, second, utc
from rra_state.reporting import tables
from rra_state.reporting.assessment import Assessment, Part
from rra_state.reporting.verdict import Site
from rra_state.state.snapshot import Snapshot

VERSION = 1
"""Of the schema. It rises when a field changes its meaning or goes away; a new field alone does not raise it."""

_TIME = "%Y-%m-%dT%H:%M:%SZ"
_EVENTS = {None: ("imported_at", "migrated_at"), "import": ("imported_at",), "migrate": ("migrated_at",)}
"""Columns of `runs` with the times of what a stage did."""


def json_text(snapshot: Snapshot, assessment: Assessment, part: Part, *, compared: bool = False) -> str:
    """One JSON object: verdict, sites, and the rows of every frame. assessment: narrowed to `part`."""
    remarks = assessment.remarks
    head = {
        "version": VERSION,
        "written": second(assessment.counts.at),
        "archiver": __version__,
        "config": str(assessment.config),
        "part": {"since": None if part.since is None else second(part.since), "stage": part.stage},
        "verdict": {"level": assessment.verdict.level, "text": assessment.verdict.text},
        "steps": [
            {"command": assessment.command(step.options), "why": step.why, "person": step.person}
            for step in assessment.steps
        ],
        "places": [_site(site) for site in assessment.sites],
        "open": run_numbers.text(assessment.counts.runs["open"]),
        "watched": run_numbers.text(remarks.watched),
        "lost": run_numbers.text(assessment.lost),
        "forgotten": run_numbers.text(assessment.forgotten),
        "outdated": run_numbers.text(assessment.counts.failed["refresh"]),
        "ignored": [{"name": name, "reason": reason} for name, reason in remarks.ignored],
        "damaged": list(remarks.damaged),
        "comparison": _comparison(assessment) if compared else None,
    }
    frames = {
        "stages": tables.stages(assessment),
        "gaps": tables.gaps(assessment),
        "failures": tables.failures(assessment),
        "throughput": tables.throughput(assessment),
        "runs": run_rows(snapshot, assessment, part),
    }
    rows = ",\n".join(f'"{name}": {_rows(frame)}' for name, frame in frames.items())
    return f"{json.dumps(head, indent=1)[:-2]},\n{rows}\n}}\n"


def csv_text(snapshot: Snapshot, assessment: Assessment, part: Part) -> str:
    """The frame `runs`, one line per run; its first line names the columns."""
    frame = run_rows(snapshot, assessment, part)
    texts = frame.select_dtypes(include=["object", "string"]).columns
    shown = {name: frame[name].map(printable, na_action="ignore") for name in texts}
    return str(frame.assign(**shown).to_csv(index=False, date_format=_TIME))


def run_rows(snapshot: Snapshot, assessment: Assessment, part: Part) -> pd.DataFrame:
    """The frame `runs` without the runs that `part` leaves out.

    stage: import keeps what is on disk or was imported, migrate what was imported. since: keeps what the stage did,
    or failed to do, from then on, and what it has still to do.
    """
    frame = tables.runs(snapshot, assessment)
    if part.stage == "migrate":
        frame = frame[frame["imported"]]
    if part.since is None:
        return frame
    since = pd.Timestamp(utc(part.since))
    columns = [*_EVENTS[part.stage], "failed_last", "missing_since"]
    wanted = pd.concat([frame[name] >= since for name in columns], axis=1).any(axis=1)
    done = frame["imported"] if part.stage == "import" else frame["migrated"]
    return frame[wanted | ~done.astype(bool)]


def _rows(frame: pd.DataFrame) -> str:
    """The rows as JSON objects: times as ISO texts to the second, what is missing as null."""
    texts = {
        name: frame[name].dt.strftime("%Y-%m-%d" if name == "day" else _TIME).astype(object)
        for name in frame.select_dtypes(include=["datetime", "datetimetz"]).columns
    }
    return str(frame.assign(**texts).to_json(orient="records"))


def _site(site: Site) -> dict[str, Any]:
    return {
        "name": site.name,
        "count": None if site.error else len(site.runs),
        "lowest": min(site.runs, default=None),
        "highest": max(site.runs, default=None),
        "runs": None if site.error else run_numbers.text(site.runs),
        "error": None if site.error is None else str(site.error),
    }


def _comparison(assessment: Assessment) -> dict[str, Any]:
    return {
        "complete": assessment.readable,
        "consistent": assessment.readable and not assessment.discrepancies,
        "notes": list(assessment.notes),
        "findings": [{"text": each.text, "mend": each.remedy} for each in assessment.discrepancies],
    }
