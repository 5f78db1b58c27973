"""One frame per question, as a run coordinator's notebook gets them."""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest

import rra_state
from rra_state.records.model import Remark
from rra_state.reporting.tables import COLUMNS
from rra_state.state.outcome import Facts, Failure, Marker
from tests.bench.report import make_tree
from tests.paths import REPOSITORY
from tests.unit.archive_site import Site

REMARKS = (Remark("a.fcl", 4, "no; kept as text"), Remark("notes", None, "is a directory; not archived"))

PAGE = REPOSITORY / "docs" / "report.md"
FIRST, LAST = "2026-11-20T00:00:00Z", "2026-11-21T12:00:00Z"
FRAMES = {name: getattr(rra_state, name) for name in COLUMNS}


@pytest.fixture
def busy(site: Site) -> Site:
    """Runs of every kind: 1 archived, 2 imported, 3 and 4 failed, 5 waiting, 6 open, 7 nowhere, 8 waiting."""
    site.record(1, 2, 3, 4, 5, 8)
    site.record(6, ended=False)
    site.archive("import", 1, 4, configuration="standard", version="v1", stop_time="Thu Oct 17 10:08:25 UTC 2024")
    site.archive("import", 2, remarks=REMARKS)
    site.archive("migrate", 1, size=27_000)
    site.tree.write_failures(
        [
            Failure(3, "import", "RecordError", "run 3: metadata.txt is missing", 3, FIRST, LAST),
            Failure(4, "migrate", "Conflict", "run 4: other content", 1, FIRST, FIRST),
        ]
    )
    return site


def row(frame: pd.DataFrame, run: int) -> pd.Series:
    return frame.set_index("run").loc[run]


def test_every_run_has_one_row_with_what_it_is(busy: Site) -> None:
    frame = rra_state.runs(busy.settings)

    assert dict(zip(frame["run"], frame["state"], strict=True)) == {
        1: "archived", 2: "waiting", 3: "failed", 4: "failed", 5: "waiting", 6: "open", 8: "waiting"
    }  # fmt: skip
    assert frame["imported"].tolist() == [True, True, False, True, False, False, False]
    assert frame["ready"].tolist() == [True, True, True, True, True, False, True]


def test_an_archived_run_tells_when_how_large_and_which_version(busy: Site) -> None:
    run = row(rra_state.runs(busy.settings), 1)

    assert (run["size"], run["configuration"], run["version"], run["verified"]) == (27_000, "standard", "v1", True)
    assert run["stopped"] == pd.Timestamp("2024-10-17T10:08:25Z")
    assert abs(time.time() - run["migrated_at"].timestamp()) < 100
    assert pd.isna(run["missing_since"])
    assert pd.isna(run["error"])


def test_remarks_are_named(busy: Site) -> None:
    run = row(rra_state.runs(busy.settings), 2)

    assert (run["kept_files"], run["skipped_files"]) == ("a.fcl", "notes")
    assert run["remarks"] == "a.fcl line 4: no; kept as text; notes: is a directory; not archived"


def test_a_failed_run_tells_where_why_and_since_when(busy: Site) -> None:
    run = row(rra_state.runs(busy.settings), 3)

    assert (run["failed_stage"], run["error_class"], run["attempts"]) == ("import", "RecordError", 3)
    assert run["error"] == "run 3: metadata.txt is missing"
    assert (run["failed_first"], run["failed_last"]) == (pd.Timestamp(FIRST), pd.Timestamp(LAST))
    assert run["missing_since"] == run["failed_first"]


def test_a_logged_run_never_tried_says_so(busy: Site) -> None:
    busy.fail("import", 8)

    run = row(rra_state.runs(busy.settings), 5)

    assert (run["state"], run["failed_stage"], run["error_class"]) == ("waiting", "import", "NotAttempted")


def test_stages_name_the_run_missing_longest(busy: Site) -> None:
    frame = rra_state.stages(busy.settings).set_index("stage")

    assert frame.loc["import", ["archived", "waiting", "failed", "in_log"]].tolist() == [3, 2, 1, 1]
    assert frame.loc["migrate", ["archived", "waiting", "failed", "in_log"]].tolist() == [1, 1, 1, 2]
    assert frame["oldest_run"].tolist() == [3, 4]
    assert frame.loc["import", "missing_since"] == pd.Timestamp(FIRST)
    assert frame.loc["import", "age"] > 86_400


def test_gaps_are_ranges_with_place_failures_and_age(busy: Site) -> None:
    frame = rra_state.gaps(busy.settings)

    found = frame[["place", "first", "last", "runs", "failed"]].to_numpy().tolist()
    assert found == [
        ["filesystem", 7, 7, 1, 0],
        ["artdaqDB", 3, 3, 1, 1],
        ["artdaqDB", 5, 5, 1, 0],
        ["artdaqDB", 8, 8, 1, 0],
        ["UconDB", 2, 2, 1, 0],
        ["UconDB", 4, 4, 1, 1],
    ]
    assert frame["since"].notna().all()
    assert frame["age"].min() >= 0
    assert frame["since"][1] == pd.Timestamp(FIRST)


def test_failures_are_gathered_by_class(busy: Site) -> None:
    busy.tree.write_failures([Failure(5, "import", "RecordError", "run 5: x", 1, FIRST, FIRST)])

    frame = rra_state.failures(busy.settings)

    assert frame[["stage", "error_class", "count", "runs"]].to_numpy().tolist() == [
        ["import", "RecordError", 2, "3,5"],
        ["migrate", "Conflict", 1, "4"],
        ["migrate", "NotAttempted", 1, "2"],
    ]
    assert frame["attempts"].tolist()[:2] == [3, 1]
    assert frame["example"][0] == "run 3: metadata.txt is missing"
    assert pd.isna(frame["first"][2])


def test_days_without_any_event_are_not_left_out(busy: Site) -> None:
    frame = rra_state.throughput(busy.settings)

    assert frame["day"].diff().dropna().eq(pd.Timedelta(days=1)).all()
    assert frame["day"].iloc[0] == pd.Timestamp("2026-11-20")
    assert frame[["imported", "migrated", "size", "failed"]].sum().tolist() == [3, 1, 27_000, 2]
    assert frame["failed"].tolist()[:2] == [1, 1]


@pytest.mark.parametrize("name", COLUMNS)
@pytest.mark.parametrize("runs", ["none", "of every kind"])
def test_types_are_the_documented_ones_whatever_is_there(name: str, runs: str, request: pytest.FixtureRequest) -> None:
    site = request.getfixturevalue("busy" if runs == "of every kind" else "site")

    frame = FRAMES[name](site.settings)

    assert {column: str(dtype) for column, dtype in frame.dtypes.items()} == {
        column.name: column.dtype for column in COLUMNS[name]
    }


@pytest.mark.parametrize("name", COLUMNS)
def test_the_page_describes_every_column(name: str) -> None:
    expected = [
        f"| `{column.name}` | {column.dtype} | {column.unit} | {column.meaning} |".replace("|  |", "| |")
        for column in COLUMNS[name]
    ]

    section = PAGE.read_text().partition(f"\n### `{name}`\n")[2].partition("\n##")[0]

    assert [line for line in section.splitlines() if line.startswith("| `")] == expected


def test_a_run_archived_again_shows_its_newest_version(busy: Site) -> None:
    facts = Facts(verified=True, size=31_000, version="v2", ucondb_id=9, stop_time="Thu Oct 17 11:00:00 UTC 2024")
    busy.tree.write_refresh(Marker.of("refresh", 1, facts), "1-0123abcd")

    run = row(rra_state.runs(busy.settings), 1)

    assert (run["state"], run["size"], run["version"], run["refreshes"]) == ("archived", 31_000, "v2", 1)
    assert run["stopped"] == pd.Timestamp("2024-10-17T11:00:00Z")
    assert run["refreshed_at"] >= run["migrated_at"]


def test_a_change_that_could_not_be_archived_has_failed(busy: Site) -> None:
    message = "run 1: UconDB holds another blob"
    busy.tree.write_failed_refresh(Failure(1, "refresh", "Conflict", message, 2, FIRST, LAST), "1-0123abcd")

    look = rra_state.snapshot(busy.settings)

    run = row(rra_state.runs(look), 1)
    assert (run["state"], run["migrated"], run["failed_stage"]) == ("failed", True, "refresh")
    assert (run["error"], run["missing_since"]) == (message, pd.Timestamp(FIRST))
    assert rra_state.failures(look).iloc[-1][["stage", "error_class", "runs"]].tolist() == ["refresh", "Conflict", "1"]
    assert rra_state.runs(look)["state"].tolist().count("archived") == 0


def test_a_configuration_file_is_enough(busy: Site) -> None:
    frame = rra_state.runs(str(busy.root / "config.yaml"))

    assert len(frame) == 7


def test_several_questions_can_be_asked_of_one_look(busy: Site) -> None:
    look = rra_state.snapshot(busy.settings)
    busy.record(100)

    assert (len(rra_state.runs(look)), len(rra_state.runs(busy.settings))) == (7, 8)


def test_a_damaged_marker_leaves_its_run_in_the_frame(busy: Site) -> None:
    busy.tree.marker_path("import", 1).write_text("{")

    look = rra_state.snapshot(busy.settings)

    assert row(rra_state.runs(look), 1)["state"] == "archived"
    assert pd.isna(row(rra_state.runs(look), 1)["imported_at"])
    assert [damaged.run for damaged in look.columns("import").damaged] == [1]


def test_a_damaged_failure_record_is_a_class_of_its_own(busy: Site) -> None:
    busy.tree.failure_path("import", 3).write_text("[]")

    assert row(rra_state.runs(busy.settings), 3)["error_class"] == "Damaged"
    assert rra_state.failures(busy.settings)["error_class"].tolist()[0] == "Damaged"


def test_without_the_records_disk_the_rest_is_told(busy: Site) -> None:
    busy.records.rename(busy.root / "away")

    frame = rra_state.runs(busy.settings)

    assert frame["run"].tolist() == [1, 2, 3, 4]
    assert frame["on_disk"].isna().all()


def test_the_python_in_the_page_runs_as_written(busy: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(busy.root)
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)

    names: dict[str, object] = {}
    for block in blocks:
        exec(block, names)

    assert len(blocks) > 0
    assert isinstance(names["runs"], pd.DataFrame)


def test_the_questions_stay_callable_beside_the_rooms(busy: Site) -> None:
    from rra_state.workers import worker

    assert rra_state.stages(busy.settings)["stage"].tolist() == ["import", "migrate"]
    assert rra_state.workers.worker is worker  # type: ignore[attr-defined]


def test_importing_the_package_loads_nothing_heavy() -> None:
    code = "import sys, rra_state; sys.exit(any(name in sys.modules for name in ('pandas', 'pydantic', 'orjson')))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_cost_grows_with_the_number_of_runs(tmp_path: Path) -> None:
    def cost(number: int) -> float:
        directory = tmp_path / str(number)
        directory.mkdir()
        settings = make_tree(directory, number).settings
        began = time.process_time()
        for frame in FRAMES.values():
            frame(settings)
        return time.process_time() - began

    cost(100)  # loads what is loaded once
    few, many = cost(400), cost(4000)

    assert many < 10 * few + 1
