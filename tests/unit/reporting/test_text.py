"""The status report as a shifter reads it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from rra_state.base.errors import AccessDenied, ArchiverError
from rra_state.base.wording import utc
from rra_state.records.model import Remark
from rra_state.reporting import text as report
from rra_state.reporting.assessment import Assessment, assess
from rra_state.reporting.verdict import Listings
from rra_state.state.outcome import Facts, Failure, Marker, Stage
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site, edit_state

TIME = "2026-11-23T20:20:41Z"


@pytest.fixture
def command(site: Site) -> str:
    return f"./run_archiver.sh {site.settings.path}"


def assessed(
    site: Site, disk: Iterable[int] = (), artdaqdb: Any = (), ucondb: Any = (), *, still_open: Iterable[int] = ()
) -> Assessment:
    """A site with these records, and stores that say so; if no run of a stage has a marker or failed, all get one."""
    site.record(*disk)
    site.record(*still_open, ended=False)
    for stage, runs in (("import", artdaqdb), ("migrate", ucondb)):
        known = site.tree.archived(stage) | site.tree.failed(stage)  # type: ignore[arg-type]
        if not isinstance(runs, ArchiverError) and not known:
            site.archive(stage, *runs)  # type: ignore[arg-type]
    listings = Listings(*(each if isinstance(each, ArchiverError) else frozenset(each) for each in (artdaqdb, ucondb)))
    return assess(Snapshot.take(site.settings), listings)


def failing(site: Site, run: int, message: str, stage: Stage = "import", kind: str = "RecordError") -> None:
    site.tree.write_failures([Failure(run, stage, kind, message, 3, TIME, TIME)])


def verdict(text: str) -> str:
    return text.splitlines()[3]


def to_do(text: str) -> list[str]:
    return text.partition("What to do\n----------\n")[2].splitlines()


def section(text: str, title: str) -> str:
    assert f"\n{title}\n{'-' * len(title)}\n" in text
    return text.partition(f"\n{title}\n{'-' * len(title)}\n")[2].partition("\n\n")[0]


def test_all_archived_is_safe_and_nothing_is_to_do(site: Site) -> None:
    text = report.report(assessed(site, {1, 2}, {1, 2}, {1, 2}))

    assert verdict(text) == "SAFE: every complete run on disk (2) is in UconDB."
    assert to_do(text) == ["nothing"]


def test_a_run_not_in_ucondb_has_its_command(site: Site, command: str) -> None:
    text = report.report(assessed(site, {1, 2, 3}, {1, 2}, {1}))

    assert verdict(text) == "NOT SAFE: 2 runs on disk not in UconDB."
    assert to_do(text) == [f"{command} --incremental", "    new runs wait"]
    gaps = section(text, "Gaps").splitlines()
    assert [line.partition(" (since")[0] for line in gaps] == [
        "1 run on disk, not in artdaqDB: 3",
        "1 run in artdaqDB, not in UconDB: 2",
    ]


def test_an_open_run_does_not_make_the_rest_unsafe(site: Site) -> None:
    text = report.report(assessed(site, {1, 2}, {1}, {1}, still_open={2}))

    assert verdict(text) == "SAFE: every complete run on disk (1) is in UconDB."
    assert "Still being written: 2\n" in text
    assert "Gaps" not in text


def test_an_empty_disk_is_not_called_safe(site: Site) -> None:
    text = " ".join(report.report(assessed(site, set(), {1}, {1})).split())

    assert "NOT KNOWN: filesystem has shrunk (see below)." in text
    assert "is it mounted?" in text
    assert "SAFE" not in text


def test_runs_removed_from_disk_are_no_fault(site: Site) -> None:
    text = report.report(assessed(site, {5}, {1, 2, 3, 5}, {1, 2, 3, 5}))

    assert verdict(text).startswith("SAFE")
    assert section(text, "Gaps") == "3 runs in UconDB, no longer on disk: 1-3"
    assert to_do(text) == ["nothing"]


def test_a_run_that_only_artdaqdb_has_left_is_not_safe(site: Site, command: str) -> None:
    text = report.report(assessed(site, {5}, {1, 2, 5}, {1, 5}))

    assert verdict(text) == "NOT SAFE: 1 run in artdaqDB only, not on disk any more."
    assert to_do(text)[0] == f"{command} --incremental"


@pytest.mark.parametrize("name", ["filesystem", "artdaqDB", "UconDB"])
def test_a_site_that_cannot_be_read_makes_no_verdict(site: Site, command: str, name: str) -> None:
    error = AccessDenied("wrong user or password", hint="set UCONDB_PASSWORD")
    (site.records / ".record_directory_info").touch()
    if name == "filesystem":
        shutil.rmtree(site.records)
    found = assessed(site, (), error if name == "artdaqDB" else {1}, error if name == "UconDB" else {1})

    text = report.report(found)

    assert verdict(text) == "NOT KNOWN: a site cannot be read (see below)."
    if name != "filesystem":
        assert f"{name}: wrong user or password (set UCONDB_PASSWORD)\n" in text
    assert "Gaps" not in text
    assert to_do(text) == [f"{command} --check", "    once what is said of the sites is repaired"]
    assert "NOT COMPARED" in report.comparison(found)


def test_places_are_counted_with_their_gaps(site: Site) -> None:
    lines = section(report.report(assessed(site, {100, 101, 104, 106}, {100}, ())), "Sites").splitlines()

    assert [line.split() for line in lines[:4]] == [
        ["site", "runs", "lowest", "highest", "gaps"],
        ["filesystem", "4", "100", "106", "2"],
        ["artdaqDB", "1", "100", "100", "0"],
        ["UconDB", "0", "-", "-", "0"],
    ]
    assert "filesystem runs: 100-101, 104, 106" in lines


def test_many_gaps_show_the_first_ranges_and_a_count(site: Site) -> None:
    odd = range(1, 61, 2)

    text = report.report(assessed(site, odd, odd, odd))

    assert "filesystem runs: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, ... (20 more ranges)\n" in text


def test_a_failed_run_is_shown_with_reason_and_retry(site: Site, command: str) -> None:
    failing(site, 7, "run 7: metadata.txt is missing (put the file back)")

    text = report.report(assessed(site, {7}))

    assert " ".join(section(text, "Not archived (import)").split()) == (
        f"run 7: metadata.txt is missing (put the file back) [RecordError, 3 attempts, last {TIME}]"
    )
    assert to_do(text) == [f"{command} --retry-failed-import", "    once the reasons are repaired"]
    assert "import: contiguous to 0, attempted to 7, 1 in the failure log" in text


def test_runs_in_the_log_that_never_failed_need_no_retry(site: Site, command: str) -> None:
    site.record(5, 6, 7)
    site.archive("import", 7)
    site.keeper().update(Snapshot.take(site.settings).known("import"), attempted=True)

    text = report.report(assessed(site, {5, 6, 7}, {7}))

    assert section(text, "Not archived (import)") == "waiting: the next cycle takes them: 5-6"
    assert to_do(text) == [f"{command} --incremental", "    new runs wait"]


def test_runs_that_an_operator_listed_are_named(site: Site) -> None:
    site.settings.app.import_failure_log.write_text("900\n")

    text = section(report.report(assessed(site, {7})), "Not archived (import)")

    assert text == "listed by an operator: 900"


def test_the_same_reason_of_many_runs_is_one_line(site: Site) -> None:
    for run in range(1, 15):
        failing(site, run, f"run {run}: record {run} is broken")
    for run in range(15, 30):
        failing(site, run, f"run {run}: its reason is {'x' * run}")

    lines = section(report.report(assessed(site, range(1, 30))), "Not archived (import)").splitlines()

    assert lines[0].startswith("14 runs (1-14): record <run> is broken [RecordError, up to 3")
    assert lines[-1] == "... and 6 more reasons of 6 runs"


def test_a_record_has_one_line_however_many_files_were_kept(site: Site) -> None:
    kept = tuple(Remark(f"wibtest{number}.fcl", 12, '"a-b" is not a FHiCL value') for number in range(9))
    site.archive("import", 7, 8, remarks=kept)
    site.archive("import", 9, remarks=(Remark("notes.fcl", None, "is a link"),))
    site.archive("migrate", 7, 8, 9)
    for number in range(12):
        (site.records / f"entry{number:02}").mkdir(parents=True)

    text = report.report(assessed(site, {7}, {7}, {7}))

    assert 'runs 7-8: wibtest0.fcl line 12: "a-b" is not a FHiCL value (and 8 more)' in text
    assert section(text, "Remarks").endswith("\nrun 9: notes.fcl: is a link")
    assert section(text, "Ignored in the records' directory").endswith("entry09: is no run number\n... and 2 more")


def test_the_report_is_80_columns_wide(site: Site) -> None:
    runs = {run + offset for run in range(1_000_000, 1_100_000, 1000) for offset in range(3)}
    failing(site, 1_000_000, "run 1000000: " + "this message goes on and on " * 9 + "\nand has a line end")
    site.archive("import", *runs - {1_000_000}, remarks=(Remark("a.fcl", 3, "word " * 40),))

    lines = report.report(assessed(site, runs, runs - {1_000_000})).splitlines()

    assert max(len(line) for line in lines if not line.startswith("./run_archiver.sh")) <= report.WIDTH
    assert not any(line.strip().startswith("log") for line in lines), "no stage's line is folded"


def test_a_folded_line_loses_no_word(site: Site) -> None:
    message = "run 7: " + " ".join(f"word{number}" for number in range(60))
    failing(site, 7, message)

    assert message in " ".join(report.report(assessed(site, {7})).split())


def test_a_name_from_disk_cannot_move_the_cursor(site: Site) -> None:
    failing(site, 7, "run 7: a\x1b[2J.fcl is broken")

    assert "run 7: a\\x1B[2J.fcl is broken" in report.report(assessed(site, {7}))


def test_a_command_is_never_folded(site: Site) -> None:
    path = site.root / ("long_name/" * 12) / "config.yaml"

    text = report.report(replace(assessed(site, {1}), config=path))

    assert f"./run_archiver.sh {path} --incremental\n" in text


def test_a_conflict_is_never_called_safe_nor_advised_away(site: Site, command: str) -> None:
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    failing(site, 2, "run 2: UconDB holds other content", "migrate", "Conflict")

    found = assessed(site, {1, 2}, {1, 2}, {1, 2})

    assert verdict(report.report(found)) == "NOT SAFE: what UconDB holds is not the record as it is now: 2"
    assert to_do(report.report(found)) == [f"{command} --retry-failed-migrate", "    once the reasons are repaired"]
    assert not any("without a marker" in each.text for each in found.discrepancies)


def test_runs_that_a_store_lost_are_recovered_first(site: Site, command: str) -> None:
    site.archive("import", 1, 2)
    site.archive("migrate", 1, 2)

    text = report.report(assessed(site, {1, 2}, {1, 2}, {1}))

    assert verdict(text) == "NOT SAFE: 1 run on disk not in UconDB."
    assert to_do(text) == [f"{command} --recover-migrate-state", "    UconDB lost runs that have a marker"]


def test_runs_that_have_no_marker_are_not_sure(site: Site, command: str) -> None:
    site.archive("import", 1)
    site.archive("migrate", 1)

    text = report.report(assessed(site, {1, 2}, {1, 2}, {1, 2}))

    assert verdict(text).startswith("NOT SURE: UconDB lists these, but they have no marker")
    assert to_do(text)[0] == f"{command} --recover-import-state"


def test_runs_that_were_never_compared_are_not_sure(site: Site, command: str) -> None:
    for stage in ("import", "migrate"):
        site.tree.write_markers([Marker.of(stage, 1, Facts(verified=False))])  # type: ignore[arg-type]

    text = report.report(assessed(site, {1}, {1}, {1}))

    assert verdict(text) == "NOT SURE: 1 run not read back and compared yet."
    assert to_do(text) == [f"{command} --verify", "    runs were not read back and compared yet"]


def test_runs_below_a_hand_edit_need_a_full_cycle(site: Site, command: str) -> None:
    edit_state(site, 100, 100)

    text = report.report(assessed(site, {21, 22}))

    assert to_do(text) == [command, "    runs below the state's numbers wait"]


def test_case_b19_no_advice_names_what_takes_nothing(site: Site, command: str) -> None:
    """The highest run is 22 and an operator wrote 30, above which incremental mode goes on."""
    edit_state(site, 21, 30)

    text = report.report(assessed(site, {21, 22}))

    assert to_do(text) == [command, "    runs below the state's numbers wait"]


@pytest.mark.parametrize("damage", ["{corrupted", '{"last_contiguous_run": -1, "last_attempted_run": 2}', "[]"])
def test_case_b17_a_damaged_state_file_heads_a_whole_report(site: Site, command: str, damage: str) -> None:
    site.settings.app.import_state_file.write_text(damage)

    found = assessed(site, {1, 2}, {1}, {1})

    text = report.report(found)
    assert verdict(text) == "NOT KNOWN: a state file cannot be used, and no cycle can run (see below)."
    assert "importer_state.json: the state file cannot be used" in " ".join(" ".join(text.splitlines()[4:6]).split())
    assert section(text, "Gaps").startswith("1 run on disk, not in artdaqDB: 2 (since ")
    assert to_do(text)[0] == f"{command} --recover-import-state"
    assert "the state file cannot be used" in found.discrepancies[0].text


def test_case_b18_a_wrong_clock_hides_no_day(site: Site) -> None:
    site.archive("import", 1, 2)
    ahead = site.tree.marker("import", 2)
    assert ahead is not None
    site.tree.write_markers([replace(ahead, archived="2099-01-01T00:00:00Z")])

    found = assessed(site, {1, 2})

    today = utc(found.counts.at).date()
    assert [day.day for day in found.days] == [today, date(2099, 1, 1)]
    days = section(report.report(found), "Per day (UTC)").splitlines()
    assert [line.split()[0] for line in days] == ["day", str(today), "2099-01-01"]


def test_watched_and_damaged_runs_are_named(site: Site) -> None:
    site.archive("import", 7)
    site.tree.marker_path("import", 8).write_text("{")
    (site.tree.root / "watch" / "7").touch()

    text = report.report(assessed(site, {7}, {7}, {7}))

    assert section(text, "Archived without a stop time") == "7"
    assert "8.json: cannot be read as JSON" in " ".join(section(text, "Damaged").split())


def test_the_comparison_gives_the_whole_command_for_the_shell(site: Site) -> None:
    path = site.root / "my config.yaml"

    text = report.comparison(replace(assessed(site, {1}, {1}), config=path))

    assert f"; repair with: ./run_archiver.sh '{path}' --recover-import-state\n" in text
    assert "INCONSISTENT: 1 discrepancy\n" in text
