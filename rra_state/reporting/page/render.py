"""The status page, rendered from snapshot and assessment. Loads no pandas.

Template, style and script lie beside this module. Whatever comes from records, stores or people is escaped by the
template engine; the script puts text into the page as text only.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import socket
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from rra_state.base import files, run_numbers
from rra_state.base.errors import ArchiverError, SiteShrank
from rra_state.base.version import __version__
from rra_state.base.wording import by_text, count, minute, printable, ranges, second, shortened, utc, which_runs
from rra_state.config.loading import Settings
from rra_state.reporting.assessment import Assessment, assess
from rra_state.reporting.failures import FailureGroup
from rra_state.reporting.page import map_data, run_changes
from rra_state.reporting.verdict import DISK, Listings
from rra_state.state.outcome import STAGES
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended

_HERE = Path(__file__).parent
MOST_ROWS = 400
"""Most rows of a table; the page gives the number of the others."""
MOST_SEARCHED = 2000
"""Most reasons in the data of the search."""
_LONGEST_NOTE = 200


def write(settings: Settings, path: Path, snapshot: Snapshot | None = None, cycle: Ended | None = None) -> None:
    """Replace the page at `path` atomically, from the marker tree alone. Raises OSError.

    snapshot: taken after the last change, if there is one. cycle: the one before this page; if artdaqDB had shrunk, it
    does not hold what the markers say. A tree that cannot be read makes a page that says so.
    """
    try:
        found = snapshot or Snapshot.take(settings)
        fault = None if cycle is None else cycle.fault
        shrunk = fault if isinstance(fault, SiteShrank) and fault.stage is None else None
        assessment = assess(found, Listings(shrunk, found.archived["migrate"]) if shrunk else None)
        text = html(found, replace(assessment, asked=False), cycle)
    except ArchiverError as error:
        text = unknown(settings, str(error))
    files.make_directory(path.parent)
    files.write_atomic(path, text.encode("utf-8", "backslashreplace"))


def html(snapshot: Snapshot, assessment: Assessment, cycle: Ended | None = None) -> str:
    """The page."""
    return environment().get_template("page.html").render(values(snapshot, assessment, cycle))


def values(snapshot: Snapshot, assessment: Assessment, cycle: Ended | None) -> dict[str, Any]:
    """Every name that `page.html` may use, with its value."""
    ages = map_data.ages(snapshot, assessment.counts)
    return {
        **_judgement(snapshot, assessment),
        **_tables(assessment),
        **_common(snapshot.settings),
        "cycle": cycle,
        "written": utc(assessment.counts.at),
        "asked": assessment.asked,
        "days": map_data.last_days(assessment.days, utc(assessment.counts.at).date()),
        "ages": ages,
        "longest_age": max(sum(numbers.values()) for numbers in ages.values()),
        "data": _searched(snapshot, assessment),
        "script": Markup(_script()),  # noqa: S704 - made of files of this package
        "script_digest": _digest(_script()),
    }


def unknown(settings: Settings, reason: str) -> str:
    """The page for an archive that cannot be read, with the reason."""
    return environment().get_template("unknown.html").render(unknown_values(settings, reason))


def unknown_values(settings: Settings, reason: str) -> dict[str, Any]:
    """Every name that `unknown.html` may use, with its value."""
    return {**_common(settings), "reason": reason, "written": minute(datetime.now(UTC))}


def _common(settings: Settings) -> dict[str, Any]:
    style = _asset("page.css")
    return {
        "settings": settings,
        "host": socket.gethostname(),
        "version": __version__,
        "style": Markup(style),  # noqa: S704 - a file of this package
        "style_digest": _digest(style),
    }


def _judgement(snapshot: Snapshot, assessment: Assessment) -> dict[str, Any]:
    still_open = assessment.counts.runs["open"]
    errors = [(site.name, str(site.error)) for site in assessment.sites if site.error is not None]
    return {
        "verdict": assessment.verdict,
        "tone": _tone(assessment, snapshot.settings.reporting.alert_after_hours * 3600),
        "open": ranges(still_open) if still_open else "",
        "steps": [(assessment.command(step.options), step.why) for step in assessment.steps],
        "errors": errors + [("State files", text) for text in assessment.unusable],
        "sites": assessment.sites,
        "counts": assessment.counts.numbers,
        "stages": [assessment.counts.stages[stage] for stage in STAGES],
    }


def _tables(assessment: Assessment) -> dict[str, Any]:
    # Runs that can be archived come first; numbers without a record are rarely a mistake.
    gaps = sorted(assessment.gaps, key=lambda gap: (gap.place == DISK, -gap.runs, gap.first))
    reasons, remarks = _by_size(assessment.failures), assessment.remarks
    return {
        "reasons": reasons[:MOST_ROWS],
        "more_reasons": max(0, len(reasons) - MOST_ROWS),
        "failed_runs": sum(len(reason.runs) for reason in reasons),
        "gaps": gaps[:MOST_ROWS],
        "missing_numbers": sum(gap.runs for gap in gaps if gap.place == DISK),
        "more_gaps": max(0, len(gaps) - MOST_ROWS),
        "readable": assessment.readable,
        "notes": [shortened(note, _LONGEST_NOTE) for note in assessment.notes],
        "discrepancies": assessment.discrepancies,
        "remarks": [(which_runs(runs), text) for text, runs in by_text(remarks.of_runs)[-MOST_ROWS:]],
        "runs_with_remarks": len(remarks.of_runs),
        "ignored": remarks.ignored[:MOST_ROWS],
        "watched": ranges(remarks.watched) if remarks.watched else "",
        "forgotten": ranges(assessment.forgotten) if assessment.forgotten else "",
        "damaged": remarks.damaged[:MOST_ROWS],
    }


def _by_size(groups: Sequence[FailureGroup]) -> list[FailureGroup]:
    return sorted(groups, key=lambda group: (-len(group.runs), group.runs))


def _tone(assessment: Assessment, limit: float) -> str:
    """The verdict's colour. Runs that wait less than `limit` seconds are no alarm: there are always some."""
    level, counts = assessment.verdict.level, assessment.counts
    if level != "unsafe" or counts.runs["failed"] or counts.runs["lost"]:
        return level
    return "soon" if counts.oldest is None or counts.oldest.age(counts.at) < limit else level


def _options(text: str) -> Markup:
    """The text with every option of the command line set as code."""
    parts = re.split(r"(--[a-z][a-z-]*)", text)
    return Markup("").join(Markup("<code>{}</code>").format(part) if n % 2 else part for n, part in enumerate(parts))


def _searched(snapshot: Snapshot, assessment: Assessment) -> Markup:
    """The data of map and search. Of more than MOST_SEARCHED reasons, those with most runs."""
    reasons = [
        {
            "stage": reason.stage,
            "kind": reason.kind,
            "text": printable(reason.text),
            "runs": run_numbers.ranges(reason.runs),
        }
        for reason in _by_size(assessment.failures)[:MOST_SEARCHED]
    ]
    segments, columns = map_data.segments(assessment.counts), map_data.columns(snapshot, assessment)
    compared = run_changes.noted(snapshot.tree)
    found = {"segments": segments, "runs": columns, "reasons": reasons, "changes": compared}
    # So it cannot end the script element around it.
    text = json.dumps(found, separators=(",", ":")).replace("<", "\\u003c").replace("&", "\\u0026")
    return Markup(text)  # noqa: S704 - escaped just above


@cache
def environment() -> jinja2.Environment:
    """The template engine. A name that a template uses without a value is an error, never an empty text."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_HERE),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,  # markup is no plain str
    )
    made.filters |= {
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
    """The digest by which the page's content security policy allows its own script and style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def _time(value: datetime | float) -> Markup:
    return Markup('<time datetime="{}">{}</time>').format(second(value), minute(value).removesuffix(" UTC"))
