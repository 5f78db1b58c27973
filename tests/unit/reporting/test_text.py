"""The status report as a shifter reads it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rra_state.base.errors import AccessDenied, StoreUnavailable
from rra_state.reporting import text as report
from rra_state.reporting.status import Place, Progress, Status
from rra_state.state.outcome import STAGES, Failure
from rra_state.state.state_files import State
from tests.unit.archive_site import Site

TIME = "2026-11-23T20:20:41Z"


@pytest.fixture
def command(site: Site) -> str:
    return f"./run_archiver.sh {site.settings.path}"


def status(
    site: Site,
    disk: object = (),
    artdaqdb: object = (),
    ucondb: object = (),
    *,
    still_open: object = (),
    progress: tuple[Progress, ...] = (),
) -> Status:
    names = zip(("filesystem", "artdaqDB", "UconDB"), (disk, artdaqdb, ucondb), strict=True)
    places = tuple(Place(name, frozenset(runs)) for name, runs in names)  # type: ignore[call-overload]
    by_the_book = tuple(
        Progress(stage, State(), (), frozenset(), (), place.runs)
        for stage, place in zip(STAGES, places[1:], strict=True)
    )
    return Status(site.settings, places, progress or by_the_book, frozenset(still_open))  # type: ignore[call-overload]


def unreadable(found: Status, name: str, error: StoreUnavailable | AccessDenied) -> Status:
    return replace(
        found, places=tuple(Place(name, error=error) if place.name == name else place for place in found.places)
    )


def failing(
    run: int, message: str, *, log: tuple[int, ...] | None = None, never: frozenset[int] = frozenset()
) -> Progress:
    failure = Failure(run, "import", "RecordError", message, 3, TIME, TIME)
    return Progress("import", State(run - 1, run), log or (run,), never, (failure,))


def verdict(text: str) -> str:
    return text.splitlines()[3]


def to_do(text: str) -> list[str]:
    return text.partition("What to do\n----------\n")[2].splitlines()


def section(text: str, title: str) -> str:
    assert f"\n{title}\n{'-' * len(title)}\n" in text
    return text.partition(f"\n{title}\n{'-' * len(title)}\n")[2].partition("\n\n")[0]


def test_all_archived_is_safe_and_nothing_is_to_do(site: Site) -> None:
    text = report.text(status(site, {1, 2}, {1, 2}, {1, 2}))

    assert verdict(text) == "SAFE: every complete run on disk (2) is in UconDB."
    assert to_do(text) == ["nothing"]


def test_a_run_not_yet_in_ucondb_is_not_safe_and_says_what_to_type(site: Site, command: str) -> None:
    text = report.text(status(site, {1, 2, 3}, {1, 2}, {1}))

    assert verdict(text) == "NOT SAFE YET: 2 runs on disk not in UconDB."
    assert to_do(text) == [f"{command} --incremental", "    new runs wait"]
    assert section(text, "Gaps") == "1 run on disk, not in artdaqDB: 3\n1 run in artdaqDB, not in UconDB: 2"


def test_a_run_still_being_written_does_not_make_the_rest_unsafe(site: Site) -> None:
    text = report.text(status(site, {1, 2}, {1}, {1}, still_open={2}))

    assert verdict(text) == "SAFE: every complete run on disk (1) is in UconDB."
    assert "Still being written: 2\n" in text
    assert "Gaps" not in text


def test_an_empty_disk_is_not_called_safe(site: Site) -> None:
    text = " ".join(report.text(status(site, set(), {1}, {1})).split())

    assert f"NO RUN ON DISK in {site.records}: is it mounted?" in text
    assert "SAFE" not in text


def test_runs_removed_from_disk_are_no_fault(site: Site) -> None:
    text = report.text(status(site, {5}, {1, 2, 3, 5}, {1, 2, 3, 5}))

    assert verdict(text).startswith("SAFE")
    assert section(text, "Gaps") == "3 runs in UconDB, no longer on disk: 1-3"
    assert to_do(text) == ["nothing"]


def test_a_run_that_only_artdaqdb_has_left_is_not_safe(site: Site, command: str) -> None:
    text = report.text(status(site, {5}, {1, 2, 5}, {1, 5}))

    assert verdict(text) == "NOT SAFE YET: 1 run in artdaqDB only, not on disk any more."
    assert to_do(text)[0] == f"{command} --incremental"


@pytest.mark.parametrize("name", ["filesystem", "artdaqDB", "UconDB"])
def test_a_place_that_cannot_be_read_makes_no_verdict(site: Site, command: str, name: str) -> None:
    error = AccessDenied("wrong user or password", hint="set UCONDB_PASSWORD")

    text = report.text(unreadable(status(site, {1}, {1}, {1}), name, error))

    assert verdict(text) == "NOT KNOWN: a place cannot be read (see below)."
    assert f"{name}: wrong user or password (set UCONDB_PASSWORD)\n" in text
    assert "Gaps" not in text
    assert to_do(text) == [f"{command} --check", "    once what the lines above say is mended"]


def test_places_are_counted_with_their_gaps(site: Site) -> None:
    lines = section(report.text(status(site, {100, 101, 104, 106}, {100}, ())), "Places").splitlines()

    assert [line.split() for line in lines[:4]] == [
        ["place", "runs", "lowest", "highest", "gaps"],
        ["filesystem", "4", "100", "106", "2"],
        ["artdaqDB", "1", "100", "100", "0"],
        ["UconDB", "0", "-", "-", "0"],
    ]
    assert "filesystem runs: 100-101, 104, 106" in lines


def test_many_gaps_show_the_first_ranges_and_a_count(site: Site) -> None:
    odd = range(1, 61, 2)

    text = report.text(status(site, odd, odd, odd))

    assert "filesystem runs: 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, ... (20 more ranges)\n" in text


def test_a_failed_run_is_told_with_reason_and_retry(site: Site, command: str) -> None:
    found = status(site, {7}, progress=(failing(7, "run 7: metadata.txt is missing (put the file back)"),))

    text = report.text(found)

    assert " ".join(section(text, "Not archived (import)").split()) == (
        f"run 7: metadata.txt is missing (put the file back) [RecordError, 3 attempts, last {TIME}]"
    )
    assert to_do(text) == [f"{command} --retry-failed-import", "    once the reasons are mended"]
    assert "import (into artdaqDB): contiguous to 6, attempted to 7, 1 in the failure log" in text


def test_runs_in_the_log_without_a_failure_are_told_apart(site: Site) -> None:
    progress = failing(7, "x", log=(5, 6, 7, 900), never=frozenset({5, 6}))

    text = section(report.text(status(site, {5, 6, 7}, progress=(progress,))), "Not archived (import)")

    assert text.endswith("never attempted: 5-6\nlisted by an operator: 900")


def test_failures_beyond_the_first_ten_are_counted(site: Site) -> None:
    failures = tuple(Failure(run, "migrate", "Conflict", f"run {run}: x", 1, TIME, TIME) for run in range(1, 15))
    progress = Progress("migrate", State(0, 14), tuple(range(1, 15)), frozenset(), failures)

    text = section(report.text(status(site, range(1, 15), progress=(progress,))), "Not archived (migrate)")

    assert len(text.splitlines()) == 11
    assert text.endswith("... and 4 more")


def test_kept_and_ignored_files_are_listed_by_name(site: Site) -> None:
    found = replace(
        status(site, {7}, {7}, {7}),
        kept={7: {"wibtest.fcl": 'line 12: "a-b" is not a FHiCL value'}},
        ignored=tuple((f"entry{number}", "is no run number") for number in range(12)),
    )

    text = report.text(found)

    assert 'run 7: wibtest.fcl line 12: "a-b" is not a FHiCL value' in text
    assert section(text, "Ignored in the records' directory").endswith("entry9: is no run number\n... and 2 more")


def test_the_report_is_80_columns_wide(site: Site) -> None:
    runs = {run + offset for run in range(100_000, 200_000, 1000) for offset in range(3)}
    progress = failing(100_000, "run 100000: " + "this message goes on and on " * 9 + "\nand has a line end")
    found = replace(status(site, runs, runs - {100_000}, progress=(progress,)), kept={7: {"a.fcl": "word " * 40}})

    lines = report.text(found).splitlines()

    assert max(len(line) for line in lines if not line.startswith("./run_archiver.sh")) <= report.WIDTH


def test_a_folded_line_loses_no_word(site: Site) -> None:
    message = "run 7: " + " ".join(f"word{number}" for number in range(60))

    text = report.text(status(site, {7}, progress=(failing(7, message),)))

    assert message in " ".join(text.split())


def test_a_command_is_never_folded(site: Site) -> None:
    settings = site.settings.model_copy()
    settings._path = site.root / ("long_name/" * 12) / "config.yaml"

    text = report.text(replace(status(site, {1}), settings=settings))

    assert f"./run_archiver.sh {settings.path} --incremental\n" in text


def test_a_run_that_ucondb_lists_but_that_failed_is_never_called_safe(site: Site) -> None:
    conflict = Failure(2, "migrate", "Conflict", "run 2: UconDB holds other content", 1, TIME, TIME)
    progress = (
        Progress("import", State(2, 2), (), frozenset(), (), frozenset({1, 2})),
        Progress("migrate", State(1, 2), (2,), frozenset(), (conflict,), frozenset({1})),
    )

    text = report.text(status(site, {1, 2}, {1, 2}, {1, 2}, progress=progress))

    assert verdict(text) == "NOT SURE: UconDB lists these, but they were not verified or failed: 2"


def test_runs_that_a_store_lost_are_recovered_first(site: Site, command: str) -> None:
    progress = (
        Progress("import", State(2, 2), (), frozenset(), (), frozenset({1, 2})),
        Progress("migrate", State(2, 2), (), frozenset(), (), frozenset({1, 2})),
    )

    text = report.text(status(site, {1, 2}, {1, 2}, {1}, progress=progress))

    assert verdict(text) == "NOT SAFE YET: 1 run on disk not in UconDB."
    assert to_do(text) == [f"{command} --recover-migrate-state", "    UconDB lost runs that have a marker"]


def test_runs_below_the_numbers_of_a_hand_edited_state_need_a_full_cycle(site: Site, command: str) -> None:
    progress = (Progress("import", State(100, 100), (), frozenset(), (), frozenset()),)

    text = report.text(status(site, {21, 22}, progress=progress))

    assert to_do(text) == [command, "    runs below the state's numbers wait"]


def test_what_of_a_record_is_not_archived_and_what_is_damaged_is_told(site: Site) -> None:
    found = replace(
        status(site, {7}, {7}, {7}), skipped={7: {"notes.fcl": "is a link"}}, watched=frozenset({7}), damaged=("x",)
    )

    text = report.text(found)

    assert section(text, "Entries of records that are not archived") == "run 7: notes.fcl is a link"
    assert section(text, "Archived without a stop time") == "7"
    assert section(text, "Damaged") == "x"
