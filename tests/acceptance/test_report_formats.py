"""Reports of a real archive, as the command line gives them."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import jsonschema
import pytest

import rra_state
from tests.acceptance.guide import forget, snapshot, take
from tests.site import Site

pytestmark = pytest.mark.in_process

SCHEMA = json.loads((Path(rra_state.__file__).parent / "reporting" / "schemas" / "status.schema.json").read_text())


def test_every_format_tells_the_same_archive_and_changes_nothing(site: Site) -> None:
    take(site, range(1, 6), broken=[3])
    site.archive_runs(status=1)
    before = snapshot(site)

    text = site.archive_runs("--report-status", status=1).stdout
    values = json.loads(site.archive_runs("--report-status", "--format", "json", "--compare-state", status=1).stdout)
    rows = list(csv.DictReader(io.StringIO(site.archive_runs("--report-status", "--format", "csv", status=1).stdout)))
    page = site.archive_runs("--report-status", "--format", "html", status=1).stdout

    jsonschema.validate(values, SCHEMA)
    assert "NOT SAFE: 1 run on disk not in UconDB." in text
    assert values["verdict"]["text"] == "NOT SAFE: 1 run on disk not in UconDB."
    assert values["comparison"]["consistent"] is True
    assert [place["runs"] for place in values["places"]] == ["1-5", "1-2,4-5", "1-2,4-5"]
    assert [row["state"] for row in rows] == ["archived", "archived", "failed", "archived", "archived"]
    assert all(row["verified"] == "True" and int(row["size"]) > 0 for row in rows if row["migrated"] == "True")
    assert "<h1>NOT SAFE</h1>" in page
    assert "The disk and both stores were asked." in page
    assert snapshot(site) == before


def test_what_has_no_marker_is_safe_in_no_format(site: Site) -> None:
    take(site, [1])
    site.archive_runs()
    forget(site)

    values = json.loads(site.archive_runs("--report-status", "--format", "json", "--compare-state", status=1).stdout)
    page = site.archive_runs("--report-status", "--format", "html", status=1).stdout

    assert values["verdict"]["level"] == "unsure"
    assert values["comparison"]["findings"][0]["mend"] == "--recover-import-state"
    assert "<h1>NOT SURE</h1>" in page


def test_a_store_that_is_down_is_in_every_format(site: Site) -> None:
    site.configure(ucon_db={"server_url": "http://127.0.0.1:9/app"})
    take(site, [1])

    values = json.loads(site.archive_runs("--report-status", "--format", "json", status=1).stdout)
    page = site.archive_runs("--report-status", "--format", "html", status=1).stdout

    jsonschema.validate(values, SCHEMA)
    assert values["places"][2]["error"].startswith("UconDB at http://127.0.0.1:9/app")
    assert "<h1>NOT KNOWN</h1>" in page


def test_the_page_follows_the_cycles(site: Site) -> None:
    path = site.root / "www" / "status.html"
    site.configure(reporting={"html_file": str(path)})
    take(site, [1, 2], broken=[2])

    site.archive_runs(status=1)
    first = path.read_text()
    take(site, [2])
    site.archive_runs()
    second = path.read_text()

    assert "<h1>NOT SAFE</h1>" in first
    assert "the record holds no file to archive" in first
    assert "<h1>SAFE</h1>" in second
    assert "the record holds no file to archive" not in second


def test_an_unwritable_page_does_not_fail_the_cycle(site: Site) -> None:
    (site.root / "www").write_text("a file in the way")
    site.configure(reporting={"html_file": str(site.root / "www" / "status.html")})
    take(site, [1])

    done = site.archive_runs()

    assert "status page:" in done.stderr
    assert "cannot be written:" in done.stderr
    assert "1 run into UconDB" in done.stderr
