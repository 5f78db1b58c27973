"""Status report as a Snakemake script: what the stores say as text, and the page from the marker tree."""

from pathlib import Path

from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.reporting import request
from rra_state.reporting.page import render


def write_page(settings: Settings) -> Path:
    """Write the status page to its place, `status.html` in the work directory unless configured; give that place."""
    path = settings.reporting.html_file or settings.app.work_dir / "status.html"
    render.write(settings, path)
    return path


if "snakemake" in globals():
    given = loading.load(snakemake.params.config)  # type: ignore[name-defined]  # noqa: F821 - Snakemake's own
    request.show(given, request.Request())
    print(f"page: {write_page(given)}")
