"""The status page as a file: what is in it, and how it is kept up to date. Its looks are test_browser.py's."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest

from rra_state.base.errors import StoreUnavailable
from rra_state.base.wording import utc
from rra_state.monitoring import after_cycle
from rra_state.reporting import failures, request
from rra_state.reporting.assessment import Day, assess
from rra_state.reporting.counts import count_runs
from rra_state.reporting.page import map_data, render
from rra_state.state.outcome import STAGES, Facts, Failure, Marker
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended
from tests.unit.archive_site import Site

TIME = "2024-11-20T00:00:00Z"


def html(site: Site, **how: Any) -> str:
    snapshot = Snapshot.take(site.settings)
    return render.html(snapshot, assess(snapshot), **how)


def words(text: str) -> str:
    """What a person reads: without elements, in one line."""
    body = re.sub(r"<(style|script)[^>]*>.*?</\1>", "", text.partition("<body>")[2], flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", body)).split())


def failed(site: Site, run: int, message: str, stage: str = "import") -> None:
    site.tree.write_failures([Failure(run, stage, "RecordError", message, 1, TIME, TIME)])  # type: ignore[arg-type]


# ---- what it says --------------------------------------------------------------------------------------------------


def test_the_verdict_stands_first_with_the_next_command(site: Site) -> None:
    site.record(1, 2)
    site.archive("import", 1)
    site.archive("migrate", 1)
    failed(site, 2, "run 2: metadata.txt is missing")

    text = words(html(site))

    assert text.index("NOT SAFE") < text.index("1 run on disk not in UconDB.") < text.index("What to do")
    assert f"./run_archiver.sh {site.settings.path} --retry-failed-import" in text


@pytest.mark.parametrize(
    ("age", "broken", "tone"), [(60, False, "soon"), (60, True, "unsafe"), (25 * 3600, False, "unsafe")]
)
def test_runs_that_are_merely_on_their_way_are_no_alarm(site: Site, age: float, broken: bool, tone: str) -> None:
    site.record(1, age=age)
    if broken:
        site.record(2)
        site.fail("import", 2)

    assert f'<header class="verdict {tone}"' in html(site)


def test_runs_only_seen_in_a_listing_are_told(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    site.tree.write_markers([Marker.of("migrate", 1, Facts(verified=False))])

    text = words(html(site))

    assert "NOT SURE 1 run not read back and compared yet." in " ".join(text.split())
    assert f"./run_archiver.sh {site.settings.path} --verify" in text


def test_the_same_fault_of_many_runs_is_one_reason(site: Site) -> None:
    for run in (17, 18, 30):
        failed(site, run, f"run {run}: /records/{run}/metadata.txt: is missing since 1700")

    [reason] = failures.groups(Snapshot.take(site.settings))

    assert (reason.runs, reason.text) == ((17, 18, 30), "/records/<run>/metadata.txt: is missing since 1700")
    assert reason.option == "--retry-failed-import"


def test_an_outage_and_the_ended_cycle_are_shown(site: Site) -> None:
    site.records.rmdir()

    text = words(html(site, cycle=Ended(STAGES, 1.0, fault=StoreUnavailable("UconDB did not answer"))))

    assert "NOT KNOWN" in text
    assert "The last cycle ended early: UconDB did not answer" in text
    assert "filesystem: " in text


def test_what_the_sites_said_is_shown_if_asked(site: Site) -> None:
    site.record(1)
    snapshot = Snapshot.take(site.settings)

    text = words(render.html(snapshot, assess(snapshot, request.ask(snapshot))))

    assert "The disk and both stores were asked." in text
    assert "NOT KNOWN" in text  # there is no UconDB at this site
    assert "Not compared: a site cannot be read." in text


def test_state_files_that_disagree_have_the_command(site: Site) -> None:
    site.record(1, 2)
    site.archive("import", 1, 2)

    text = words(html(site))

    assert "importer_state.json is missing" in text
    assert "--recover-import-state" in text


def test_a_change_not_archived_again_has_its_command(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    site.archive("migrate", 1)
    failure = Failure(1, "refresh", "Conflict", "run 1: UconDB holds another blob", 1, TIME, TIME)
    site.tree.write_failed_refresh(failure, "1-0123abcd")

    text = words(html(site))

    assert "NOT SAFE" in text
    assert "Conflict refresh UconDB holds another blob" in text
    assert f"./run_archiver.sh {site.settings.path} --runs 1 records that changed" in text


# ---- the numbers behind it -----------------------------------------------------------------------------------------


def test_states_are_ranges_with_the_gaps_between(site: Site) -> None:
    site.record(1, 2, 3, 7, 9)
    site.archive("import", 1, 2, 3)
    site.archive("migrate", 1, 2)
    site.fail("import", 9)

    found = map_data.segments(count_runs(Snapshot.take(site.settings)))

    codes = map_data.CODES
    assert found == [
        (1, 2, codes["archived"]),
        (3, 1, codes["waiting"]),
        (4, 3, codes["gap"]),
        (7, 1, codes["waiting"]),
        (8, 1, codes["gap"]),
        (9, 1, codes["failed"]),
    ]


def test_columns_have_a_value_per_run(site: Site) -> None:
    site.record(1, 2, 3)
    site.archive("import", 1, 3, configuration="standard")
    site.archive("migrate", 3, size=10)
    for stage, run, when in (("import", 1, "10"), ("import", 3, "30"), ("migrate", 3, "35")):
        path = site.tree.marker_path(stage, run)  # type: ignore[arg-type]
        path.write_text(re.sub(r'"archived": "[^"]*"', f'"archived": "2026-11-20T00:00:{when}Z"', path.read_text()))

    columns = map_data.columns(snapshot := Snapshot.take(site.settings), assess(snapshot))

    begin = 1795132810
    assert columns["imported"] == f"{begin},,20"
    assert columns["migrated"] == ",,5"
    assert columns["size"] == ",,10"
    assert (columns["configuration"], columns["configurations"]) == ("0,,0", ["standard"])


def test_missing_runs_are_counted_by_age(site: Site) -> None:
    site.record(1)
    site.record(2, age=2 * 3600)
    site.record(3)
    failed(site, 3, "run 3: x")

    snapshot = Snapshot.take(site.settings)
    found = map_data.ages(snapshot, count_runs(snapshot))

    assert {name: numbers for name, numbers in found.items() if any(numbers.values())} == {
        "under 1 hour": {"waiting": 1, "failed": 0},
        "1 to 6 hours": {"waiting": 1, "failed": 0},
        "over 7 days": {"waiting": 0, "failed": 1},
    }


def test_days_without_work_are_empty_bars(site: Site) -> None:
    snapshot = Snapshot.take(site.settings)
    days = (Day(day=utc(snapshot.at - 86400).date(), imported=4, migrated=2, failed=1),)

    text = render.html(snapshot, replace(assess(snapshot), days=days))

    bars = re.findall(r'class="done" x="(.*?)" width="(.*?)" y=".*?" height="(.*?)"/>(<rect class="failed")?', text)
    assert len(bars) == map_data.DAYS
    assert [float(height) for _, _, height, _ in bars[-3:]] == [0, 50, 0]
    assert [bool(failed) for *_, failed in bars[-3:]] == [False, True, False]
    assert float(bars[-1][0]) + float(bars[-1][1]) < 100
    assert "last 60 days: 2" in words(text)


# ---- the file that every cycle leaves behind -----------------------------------------------------------------------


@pytest.fixture
def target(site: Site) -> Path:
    """The file, asked for in the configuration."""
    path = site.root / "www" / "status.html"
    reporting = site.settings.reporting.model_copy(update={"html_file": path})
    changed = site.settings.model_copy(update={"reporting": reporting})
    changed._path = site.settings.path
    site.settings = changed
    return path


def ended(fault: Exception | None = None) -> Ended:
    return Ended(("import", "migrate"), 0.4, fault=fault)


def test_every_cycle_leaves_the_page_behind(site: Site, target: Path) -> None:
    site.record(1)

    after_cycle.run(site.settings, ended())

    assert "1 run on disk not in UconDB." in words(target.read_text())


def test_an_ended_and_the_next_good_cycle_are_shown(site: Site, target: Path) -> None:
    site.record(1)

    after_cycle.run(site.settings, ended(StoreUnavailable("UconDB at http://x did not answer")))
    bad = words(target.read_text())
    after_cycle.run(site.settings, ended())

    assert "The last cycle ended early: UconDB at http://x did not answer" in bad
    assert "ended early" not in words(target.read_text())


def test_a_damaged_state_file_is_told_on_the_page(site: Site, target: Path) -> None:
    site.settings.app.import_state_file.write_text("{")

    after_cycle.run(site.settings, ended())

    text = words(target.read_text())
    assert "NOT KNOWN" in text
    assert "State files: " in text
    assert "the state file cannot be used" in text
    assert "Every run" in text


def test_a_page_without_failures_and_gaps_has_no_empty_section(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    site.archive("migrate", 1)

    text = words(html(site))

    assert "SAFE" in text
    for title in ("What to do", "Not archived", "Missing for how long", "Gaps"):
        assert title not in text


def test_an_unwritable_page_is_reported_and_fails_nothing(
    site: Site, target: Path, caplog: pytest.LogCaptureFixture
) -> None:
    target.parent.write_text("a file in the way")
    caplog.set_level("WARNING", logger="rra")

    after_cycle.run(site.settings, ended())

    assert f"status page: {target} cannot be written: " in caplog.text


def test_the_old_page_stays_whole_until_the_new_one_is(
    site: Site, target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    after_cycle.run(site.settings, ended())
    before = target.read_text()
    site.record(1)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    after_cycle.run(site.settings, ended())

    assert target.read_text() == before
    assert [each.name for each in target.parent.iterdir()] == [target.name]
