"""The status page, made from the catalog. Asks no store, loads no pandas.

Template, style and script lie beside this module. Whatever comes from records, stores or people is escaped by the
template engine; the script puts text into the page as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from rra_state import __version__
from rra_state.base import run_numbers
from rra_state.base.wording import count, ranges
from rra_state.config.loading import Settings
from rra_state.reporting import catalog as catalogs
from rra_state.reporting import compare
from rra_state.reporting.catalog import Catalog
from rra_state.reporting.page import data, plots, words
from rra_state.reporting.page.data import Reason
from rra_state.reporting.status import Status
from rra_state.reporting.verdict import Verdict, steps, verdict
from rra_state.state.outcome import STAGES

_HERE = Path(__file__).parent
MOST_ROWS = 400
"""Rows of a table; what is beyond is counted, and the frames have it."""
MOST_SEARCHED = 2000
"""Reasons that the search knows."""
_LONGEST_NOTE = 200


@dataclass(frozen=True, slots=True)
class Cycle:
    """How the cycle ended after which the page is made. told: its last line. good: it did all it set out to do."""

    told: str
    good: bool


@dataclass(frozen=True, slots=True)
class FileList:
    """Files of records that a person should know of. rows: run, name and reason; of very many files the latest runs'.

    runs: the number of runs that have such files.
    """

    title: str
    rows: Sequence[tuple[int, str, str]]
    runs: int


def html(catalog: Catalog, status: Status, *, cycle: Cycle | None = None, tree: str | None = None) -> str:
    """The page. status: what the places said, or `status.of_tree(catalog)`. tree: see `file.py`.

    Raises StateFileError.
    """
    return environment().get_template("page.html").render(values(catalog, status, cycle=cycle, tree=tree))


def values(catalog: Catalog, status: Status, *, cycle: Cycle | None, tree: str | None) -> dict[str, Any]:
    """Every name that `page.html` may use, with its value. Raises StateFileError."""
    reasons = data.reasons(catalog)
    return {
        **_judgement(catalog, status),
        **_tables(catalog, status, reasons),
        "cycle": cycle,
        "tree": tree,
        "written": catalog.summary.at,
        "settings": catalog.settings,
        "host": socket.gethostname(),
        "version": __version__,
        "asked": status.asked,
        "throughput": plots.throughput(catalogs.days(catalog), catalog.summary.at.date()),
        "ages": plots.ages(data.ages(catalog)),
        "data": _searched(catalog, reasons),
        "style": Markup(_asset("page.css")),  # noqa: S704 - a file of this package
        "script": Markup(_script()),  # noqa: S704 - the same
        "script_digest": _digest(_script()),
        "style_digest": _digest(_asset("page.css")),
    }


def unknown(settings: Settings, reason: str) -> str:
    """A page that says why there is none."""
    return environment().get_template("unknown.html").render(unknown_values(settings, reason))


def unknown_values(settings: Settings, reason: str) -> dict[str, Any]:
    """Every name that `unknown.html` may use, with its value."""
    style = _asset("page.css")
    return {
        "reason": reason,
        "settings": settings,
        "written": words.minute(datetime.now(UTC)),
        "host": socket.gethostname(),
        "version": __version__,
        "style": Markup(style),  # noqa: S704 - a file of this package
        "style_digest": _digest(style),
    }


def _judgement(catalog: Catalog, status: Status) -> dict[str, Any]:
    judged = verdict(status)
    unverified = sum(value is False for value in catalog.shelves["migrate"].columns["verified"])
    return {
        "verdict": judged,
        "tone": _tone(catalog, judged),
        "open": ranges(status.open) if status.open else "",
        "unverified": unverified,
        "steps": [(step.command(status), step.why) for step in steps(status)],
        "errors": [(place.name, str(place.error)) for place in status.places if place.error is not None],
        "places": status.places,
        "counts": catalog.summary.runs,
        "stages": [catalog.summary.stages[stage] for stage in STAGES],
    }


def _tables(catalog: Catalog, status: Status, reasons: Sequence[Reason]) -> dict[str, Any]:
    # First what can be archived and is not; numbers that no record has are rarely a mistake.
    gaps = sorted(catalogs.gaps(catalog), key=lambda gap: (gap.place == "filesystem", -gap.runs, gap.first))
    comparison = compare.compare(status)
    return {
        "reasons": reasons[:MOST_ROWS],
        "more_reasons": max(0, len(reasons) - MOST_ROWS),
        "failed_runs": sum(len(reason.runs) for reason in reasons),
        "gaps": gaps[:MOST_ROWS],
        "missing_numbers": sum(gap.runs for gap in gaps if gap.place == "filesystem"),
        "more_gaps": max(0, len(gaps) - MOST_ROWS),
        "notes": [_short(note) for note in comparison.notes[len(status.places) :]],
        "findings": comparison.findings,
        "comparison": comparison,
        "files": [
            _files("Files kept as text: archived as they are, but no FHiCL", status.kept),
            _files("Entries of records that are not archived", status.skipped),
        ],
        "ignored": status.ignored[:MOST_ROWS],
        "watched": ranges(status.watched) if status.watched else "",
        "damaged": status.damaged[:MOST_ROWS],
    }


def _tone(catalog: Catalog, judged: Verdict) -> str:
    """The verdict's colour. Runs that are merely on their way are no alarm: some always are."""
    if judged.level != "unsafe" or catalog.summary.runs["failed"]:
        return judged.level
    oldest, limit = catalog.summary.oldest, catalog.settings.reporting.alert_after_hours * 3600
    return "soon" if oldest is None or oldest.age(catalog.summary.at) < limit else judged.level


def _options(text: str) -> Markup:
    """The text with every option of the command line set as code."""
    parts = re.split(r"(--[a-z][a-z-]*)", text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _files(title: str, found: Mapping[int, Mapping[str, str]]) -> FileList:
    rows = [(run, name, why) for run, files in found.items() for name, why in files.items()]
    return FileList(title, rows[-MOST_ROWS:], len(found))


def _searched(catalog: Catalog, reasons: Sequence[Reason]) -> Markup:
    """What map and search work on, within the page. Of very many reasons those with most runs are enough."""
    told = [
        {"stage": reason.stage, "kind": reason.kind, "text": reason.text, "runs": run_numbers.ranges(reason.runs)}
        for reason in reasons[:MOST_SEARCHED]
    ]
    return _embedded({"segments": data.segments(catalog), "runs": data.columns(catalog), "reasons": told})


def _embedded(values: Mapping[str, Any]) -> Markup:
    """JSON that cannot end the script element around it."""
    text = json.dumps(values, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - escaped just above


@cache
def environment() -> jinja2.Environment:
    """The template engine. A name that a template uses and nobody gives is an error, never an empty text."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    made.filters |= {
        "number": words.number,
        "time": _time,
        "ranges": ranges,
        "count": count,
        "options": _options,
        "ranges_data": run_numbers.text,
    }
    return made


@cache
def _asset(name: str) -> str:
    return (_HERE / name).read_text(encoding="utf-8")


@cache
def _script() -> str:
    """The script's files in one function, so that none of its names is the page's."""
    parts = "\n".join(_asset(name) for name in ("runs.js", "map.js", "page.js"))
    return f'"use strict";\n(() => {{\n{parts}}})();\n'


def _digest(text: str) -> str:
    """What the page's content security policy knows its own script and style by."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _time(value: datetime | float) -> Markup:
    return Markup(words.time_element(value))  # noqa: S704 - of digits only


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST_NOTE else f"{text[:_LONGEST_NOTE]} ..."
