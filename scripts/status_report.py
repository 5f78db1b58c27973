"""Status report: what the stores say as text, and the page from the marker tree: status_report.py CONFIG."""

import sys
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


if __name__ == "__main__":
    given = loading.load(sys.argv[1])
    request.show(given)
    print(f"page: {write_page(given)}")
