"""What `--report-status` and `--compare-state` do: look once, and show it in the format asked for."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from io import TextIOWrapper
from typing import Literal, TextIO

from rra_state.config.loading import Settings
from rra_state.reporting import compare, status
from rra_state.reporting.catalog import Catalog
from rra_state.reporting.compare import Comparison
from rra_state.reporting.status import Status
from rra_state.state.outcome import Stage

Format = Literal["text", "json", "csv", "html"]


@dataclass(frozen=True, slots=True)
class Request:
    """What to show. report, comparison: which of the two. since: seconds since 1970; stage: only this one."""

    report: bool = True
    comparison: bool = False
    format: Format = "text"
    since: float | None = None
    stage: Stage | None = None


def show(settings: Settings, request: Request, out: TextIO | None = None) -> bool:
    """Write the report; True if all places could be read and, if it was compared, nothing is off.

    Raises StateFileError, WorkDirError.
    """
    out = _standard_output(request.format) if out is None else out
    found = status.take(settings)
    looked = status.of_places(found)
    compared = compare.compare(looked) if request.comparison else None
    if request.report:
        _report(found, looked, compared, request, out)
    if compared is not None and request.format == "text":
        out.write(compared.text())
    return looked.readable and (compared is None or compared.consistent)


def _standard_output(form: Format) -> TextIO:
    """Where the report goes; a name that the terminal cannot show is shown by its bytes. Files are UTF-8 anywhere."""
    out: TextIO = sys.stdout
    if isinstance(out, TextIOWrapper):
        out.reconfigure(encoding=None if form == "text" else "utf-8", errors="backslashreplace")
    return out


def _report(found: Catalog, looked: Status, compared: Comparison | None, request: Request, out: TextIO) -> None:
    from rra_state.reporting import text as report  # noqa: PLC0415 - pandas takes half a second to load, and a comparison needs none

    part = report.Part(request.since, request.stage)
    if request.format == "html":
        from rra_state.reporting.page import render  # noqa: PLC0415 - the template engine is for those who want a page

        out.write(render.html(found, looked))
    elif request.format == "text":
        text = report.text(looked, found, part)
        if out.isatty():
            report.show(text, out)
        else:
            out.write(text)
    else:
        from rra_state.reporting import export  # noqa: PLC0415 - see above

        as_json = request.format == "json"
        out.write(export.json_text(found, looked, part, compared) if as_json else export.csv_text(found, part))
