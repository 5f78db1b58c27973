"""The report for machines, and the parts of it that can be asked for."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

import rra_state
from rra_state.base.errors import UsageError
from rra_state.cli import options
from rra_state.cli.options import moment
from rra_state.records.model import Remark
from rra_state.reporting import export, request
from rra_state.reporting import text as report
from rra_state.reporting.assessment import WHOLE, Assessment, Part, assess
from rra_state.reporting.tables import COLUMNS
from rra_state.state.outcome import Failure
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site

SCHEMA = json.loads((Path(rra_state.__file__).parent / "reporting" / "schemas" / "status.schema.json").read_text())
OLD, NEW = "2026-01-01T00:00:00Z", "2026-11-21T12:00:00Z"
BETWEEN = moment("2026-06-01", 0)


@pytest.fixture
def busy(site: Site) -> Site:
    """1 archived of old, 2 of late; 3 failed of old, 4 of late; 5 waits, 6 open."""
    site.record(1, 2, 3, 4, 5)
    site.record(6, ended=False)
    site.archive("import", 1, 2, remarks=(Remark("a.fcl", 3, "no; kept as text"),))
    site.archive("migrate", 1, 2, size=27_000)
    for stage in ("import", "migrate"):
        path = site.tree.marker_path(stage, 1)  # type: ignore[arg-type]
        path.write_text(json.dumps(json.loads(path.read_text()) | {"archived": OLD}))
    for run, time in ((3, OLD), (4, NEW)):
        site.tree.write_failures([Failure(run, "import", "RecordError", f'run {run}: "x", y', 2, time, time)])
    return site


def look(site: Site) -> tuple[Snapshot, Assessment]:
    snapshot = Snapshot.take(site.settings)
    return snapshot, assess(snapshot)


def as_json(site: Site, part: Part = WHOLE, *, compared: bool = False) -> dict[str, Any]:
    snapshot, assessment = look(site)
    text = export.json_text(snapshot, part.of(assessment, snapshot), part, compared=compared)
    values: dict[str, Any] = json.loads(text)
    jsonschema.validate(values, SCHEMA, jsonschema.Draft202012Validator)
    return values


def runs(values: dict[str, Any]) -> list[int]:
    return [row["run"] for row in values["runs"]]


@pytest.mark.parametrize("compared", [False, True])
@pytest.mark.parametrize("kind", ["busy", "site"])
def test_json_is_what_its_schema_says(kind: str, compared: bool, request: pytest.FixtureRequest) -> None:
    values = as_json(request.getfixturevalue(kind), compared=compared)

    assert values["version"] == 1
    assert (values["comparison"] is not None) is compared


def test_the_schema_describes_every_column_and_refuses_others(busy: Site) -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)

    for name, columns in COLUMNS.items():
        assert list(SCHEMA["$defs"][name]["properties"]) == [column.name for column in columns]
    values = as_json(busy)
    values["runs"][0]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(values, SCHEMA)


def test_json_tells_the_verdict_the_runs_and_their_times(busy: Site) -> None:
    values = as_json(busy)

    assert values["verdict"] == {"level": "unsafe", "text": "NOT SAFE: 3 runs on disk not in UconDB."}
    assert values["places"][2] | {"error": None} == {
        "name": "UconDB", "count": 2, "lowest": 1, "highest": 2, "runs": "1-2", "error": None
    }  # fmt: skip
    assert [row["state"] for row in values["runs"]] == ["archived", "archived", "failed", "failed", "waiting", "open"]
    assert values["runs"][0]["migrated_at"] == OLD
    assert values["runs"][0]["kept_files"] == "a.fcl"
    assert values["runs"][4]["error"] is None
    assert values["throughput"][0] == {"day": "2026-01-01", "imported": 1, "migrated": 1, "size": 27_000, "failed": 1}
    assert values["open"] == "6"


def test_csv_has_one_line_per_run(busy: Site) -> None:
    text = export.csv_text(*look(busy), WHOLE)

    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == [column.name for column in COLUMNS["runs"]]
    assert [row["run"] for row in rows] == ["1", "2", "3", "4", "5", "6"]
    assert (rows[0]["migrated_at"], rows[0]["size"], rows[0]["migrated"]) == (OLD, "27000", "True")
    assert rows[2]["error"] == 'run 3: "x", y'
    assert rows[4]["size"] == ""


def test_since_leaves_out_what_was_done_and_failed_before(busy: Site) -> None:
    values = as_json(busy, Part(since=BETWEEN))

    assert runs(values) == [2, 3, 4, 5, 6]
    assert values["throughput"][0]["day"] == "2026-06-01"
    assert values["part"]["since"] == "2026-06-01T00:00:00Z"
    assert values["places"][2]["count"] == 2


def test_one_stage_can_be_asked_for(busy: Site) -> None:
    values = as_json(busy, Part(stage="migrate"))

    assert runs(values) == [1, 2]
    assert [row["stage"] for row in values["stages"]] == ["migrate"]
    assert values["failures"] == []
    assert {row["place"] for row in as_json(busy, Part(stage="import"))["gaps"]} == {"artdaqDB"}


def test_the_text_tells_ages_and_the_last_days(busy: Site) -> None:
    _, assessment = look(busy)

    text = report.report(assessment)

    assert "3 runs on disk, not in artdaqDB: 3-5 (since 2026-01-01 00:00 UTC)" in text
    days = text.partition("Per day (UTC)\n-------------\n")[2].splitlines()
    assert days[0].split() == ["day", "imported", "migrated", "MB", "failed"]
    assert max(len(line) for line in text.splitlines() if not line.startswith("./run_archiver.sh")) <= report.WIDTH


def test_the_text_can_be_narrowed_too(busy: Site) -> None:
    snapshot, assessment = look(busy)

    late, migrate = (
        report.report(part.of(assessment, snapshot), part) for part in (Part(since=BETWEEN), Part(stage="migrate"))
    )

    assert "run 4:" in late
    assert "run 3:" not in late
    assert "Failures, files and days since 2026-06-01 00:00 UTC only." in late
    assert "NOT SAFE: 3 runs" in migrate
    assert "run 4:" not in migrate
    assert "import: contiguous" not in migrate


def test_what_no_terminal_can_show_is_shown_by_its_bytes(busy: Site, capsys: pytest.CaptureFixture[str]) -> None:
    busy.tree.write_failures([Failure(5, "import", "RecordError", "run 5: bad\udcff name", 1, NEW, NEW)])

    for form in ("text", "json", "csv", "html"):
        request.show(busy.settings, form=form)  # type: ignore[arg-type]
        assert "bad" in capsys.readouterr().out.encode("utf-8", "backslashreplace").decode()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_colour_is_for_terminals_only(busy: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    plain, terminal, without = io.StringIO(), Terminal(), Terminal()

    request.show(busy.settings, plain)
    request.show(busy.settings, terminal)
    monkeypatch.setenv("NO_COLOR", "1")
    request.show(busy.settings, without)

    coloured = re.compile(r"\x1b\[[0-9;]*m")
    assert "\x1b" not in plain.getvalue()
    assert "\x1b[1;33mNOT KNOWN" in terminal.getvalue()
    assert coloured.sub("", terminal.getvalue()) == plain.getvalue()
    assert "\x1b[1;33m" not in without.getvalue()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-11-20", 1795132800),
        ("2026-11-20T12:00", 1795132800 + 43200),
        ("2026-11-20T12:00+02:00", 1795132800 + 36000),
        ("7d", 2e9 - 7 * 86400),
        ("24h", 2e9 - 86400),
        ("30m", 2e9 - 1800),
        ("2w", 2e9 - 14 * 86400),
        ("999999w", 0),
    ],
)
def test_a_time_is_a_date_or_so_long_ago(text: str, expected: float) -> None:
    assert moment(text, 2e9) == expected


def test_no_time_is_refused() -> None:
    with pytest.raises(UsageError, match='--since: "soon" is no time'):
        moment("soon", 0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--format", "json"], "--format belongs to --report-status"),
        (["--compare-state", "--stage", "import"], "--stage belongs to --report-status"),
        (["--report-status", "--format", "html", "--since", "7d"], "--since has no effect on the page"),
    ],
)
def test_options_that_would_do_nothing_are_refused(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        options.reject_conflicting_options(options.parser().parse_args(["config.yaml", *arguments]))
