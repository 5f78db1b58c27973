"""Names on disk that hold terminal sequences, line ends and characters that turn a line around."""

from __future__ import annotations

import pytest

from scripts.make_run_records import make_records
from tests.site import Site

pytestmark = pytest.mark.in_process

NAME = "a\x1b]0;owned\x07\nrun 9: archived\u202e"
SHOWN = r"a\x1B]0;owned\x07\x0Arun 9: archived\u202E"
RAW = ("\x1b", "\x07", "\u202e", "\nrun 9: archived")
FORMS = ("text", "csv", "html", "json")


@pytest.fixture
def hostile(site: Site) -> Site:
    """Run 1 failed because of such a file, run 2 has one that is kept as text; a directory's name is no run number."""
    make_records(2, site.records, first_run=1)
    for run, suffix in ((1, ".fcl"), (2, ".txt")):
        (site.records / str(run)).chmod(0o755)
        (site.records / str(run) / f"{NAME}{suffix}").write_text("a: {")
    (site.records / NAME).mkdir()
    site.configure(
        app={"log_file": str(site.root / "archiver.log"), "log_level": "DEBUG"},
        source_files={"on_bad_file": "fail"},
        reporting={"html_file": str(site.root / "status.html")},
    )
    return site


def test_case_b15_no_name_on_disk_forges_a_line(hostile: Site) -> None:
    cycle = hostile.archive_runs("-v", status=1)
    said = {
        "cycle": cycle.stderr,
        "log": (hostile.root / "archiver.log").read_text(),
        "page": (hostile.root / "status.html").read_text(),
        "comparison": hostile.archive_runs("--compare-state", status=None).stdout,
    }
    said |= {form: hostile.archive_runs("--report-status", "--format", form, status=1).stdout for form in FORMS}
    said |= {f"show {run}": hostile.archive_runs("--show", str(run)).stdout for run in (1, 2)}

    assert {name: mark for name, text in said.items() for mark in RAW if mark in text} == {}
    assert {name for name, text in said.items() if SHOWN in text} >= {"cycle", "log", "page", "csv", "html"}
