"""What `--report-status` and `--compare-state` do: look once, and show it in the format asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Literal, TextIO

from rra_state.base.errors import ArchiverError
from rra_state.config.loading import Settings
from rra_state.reporting.assessment import WHOLE, Assessment, Part, assess
from rra_state.reporting.verdict import Listing, Listings
from rra_state.state import shrunk_sites
from rra_state.state.outcome import Stage
from rra_state.state.snapshot import Snapshot
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.base import ArtdaqDB
from rra_state.stores.ucondb.client import UconDB

Format = Literal["text", "json", "csv", "html"]


def show(
    settings: Settings,
    out: TextIO | None = None,
    *,
    report: bool = True,
    comparison: bool = False,
    form: Format = "text",
    part: Part = WHOLE,
) -> bool:
    """Write the report, the comparison or both; True if that is all right: the verdict SAFE, the comparison consistent.

    part: of the report. A new archive, with nothing anywhere, is all right too. Raises WorkDirError.
    """
    out = _standard_output(form) if out is None else out
    snapshot = Snapshot.take(settings)
    assessment = assess(snapshot, ask(snapshot))
    if report:
        _report(snapshot, assessment, form, part, out, compared=comparison)
    if comparison and form == "text":
        from rra_state.reporting import text  # noqa: PLC0415 - see _report

        out.write(text.comparison(assessment))
    consistent = not (comparison and assessment.discrepancies)
    safe = assessment.safe or not report
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


def _report(
    snapshot: Snapshot, assessment: Assessment, form: Format, part: Part, out: TextIO, *, compared: bool
) -> None:
    # Each format loads what it needs: pandas and the template engine take half a second each.
    from rra_state.reporting import text  # noqa: PLC0415

    if form == "html":
        from rra_state.reporting.page import render  # noqa: PLC0415

        out.write(render.html(snapshot, assessment))
    elif form == "text":
        written = text.report(part.of(assessment, snapshot), part)
        if out.isatty():
            text.show(written, out)
        else:
            out.write(written)
    else:
        from rra_state.reporting import export  # noqa: PLC0415

        narrowed = part.of(assessment, snapshot)
        if form == "json":
            out.write(export.json_text(snapshot, narrowed, part, compared=compared))
        else:
            out.write(export.csv_text(snapshot, narrowed, part))
