"""What `--report-status` and `--compare-state` do: look once, and show it in the format asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Literal, TextIO

from rra_state.base.errors import ArchiverError
from rra_state.config.loading import Settings
from rra_state.reporting.assessment import Assessment, assess
from rra_state.reporting.part import WHOLE, Part
from rra_state.reporting.verdict import Listing, Listings
from rra_state.state import shrunk_sites
from rra_state.state.outcome import Stage
from rra_state.state.snapshot import Snapshot
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.ucondb.client import UconDB

Format = Literal["text", "json", "csv", "html"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to show: report, comparison or both, in which format. part: of the report."""

    report: bool = True
    comparison: bool = False
    format: Format = "text"
    part: Part = WHOLE


def show(settings: Settings, request: Request, out: TextIO | None = None) -> bool:
    """Write the report; True if what was asked for is all right: the verdict SAFE, the comparison consistent.

    A new archive, with nothing anywhere, is all right too. Raises WorkDirError.
    """
    out = _standard_output(request.format) if out is None else out
    snapshot = Snapshot.take(settings)
    assessment = assess(snapshot, ask(snapshot))
    if request.report:
        _report(snapshot, assessment, request, out)
    if request.comparison and request.format == "text":
        from rra_state.reporting import text  # noqa: PLC0415 - see _report

        out.write(text.comparison(assessment))
    consistent = not (request.comparison and assessment.discrepancies)
    safe = assessment.safe or not request.report
    return assessment.readable and not assessment.unusable and consistent and safe


def ask(snapshot: Snapshot) -> Listings:
    """The runs that each store lists, or why it cannot be asked."""
    settings = snapshot.settings
    return Listings(
        _listed(snapshot, "import", lambda: artdaqdb.open_store(settings.artdaq_db)),
        _listed(snapshot, "migrate", lambda: UconDB(settings.ucon_db)),
    )


def _listed(snapshot: Snapshot, stage: Stage, opened: Callable[[], ArtdaqDB | UconDB]) -> Listing:
    try:
        store = opened()
        held = store.runs()
    except ArchiverError as error:
        return error
    return shrunk_sites.store(store.describe(), stage, snapshot.archived[stage], held) or frozenset(held)


def _standard_output(form: Format) -> TextIO:
    """Standard output. Characters that a terminal lacks are shown as escapes; json, csv and html are always UTF-8."""
    out: TextIO = sys.stdout
    if isinstance(out, TextIOWrapper):
        out.reconfigure(encoding=None if form == "text" else "utf-8", errors="backslashreplace")
    return out


def _report(snapshot: Snapshot, assessment: Assessment, request: Request, out: TextIO) -> None:
    # Each format loads what it needs: pandas and the template engine take half a second each.
    from rra_state.reporting import text  # noqa: PLC0415

    part = request.part
    if request.format == "html":
        from rra_state.reporting.page import render  # noqa: PLC0415

        out.write(render.html(snapshot, assessment))
    elif request.format == "text":
        written = text.report(part.of(assessment, snapshot), part)
        if out.isatty():
            text.show(written, out)
        else:
            out.write(written)
    else:
        from rra_state.reporting import export  # noqa: PLC0415

        narrowed = part.of(assessment, snapshot)
        if request.format == "json":
            out.write(export.json_text(snapshot, narrowed, part, compared=request.comparison))
        else:
            out.write(export.csv_text(snapshot, narrowed, part))
