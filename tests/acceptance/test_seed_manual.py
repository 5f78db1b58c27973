"""docs/design/state.md, Hand edits."""

from __future__ import annotations

import json
import subprocess

import pytest

from tests.acceptance.guide import log_file, numbers, state_file, take, write_state
from tests.site import Site
from tests.waiting import scaled

pytestmark = pytest.mark.in_process


def test_seed_inspecting_state_files(site: Site) -> None:
    take(site, range(12345, 12349), broken=[12345, 12347])
    site.archive_runs("--import-only", status=1)

    shown = shell(f"cat {state_file(site)} | python3 -m json.tool")
    counted = shell(f"wc -l {log_file(site)}")
    head = shell(f"head -20 {log_file(site)}")

    assert json.loads(shown) == {"last_contiguous_run": 12346, "last_attempted_run": 12348}
    assert counted.split()[0] == "2"
    assert head == "12345\n12347\n"


def test_seed_manual_editing_reset_to_a_specific_run(site: Site) -> None:
    take(site, [11998, 12000])
    site.archive_runs()
    write_state(site, 12000, 12000)
    write_state(site, 12000, 12000, "migrate")

    compared = site.archive_runs("--report-status", "--compare-state")
    idle = site.archive_runs("--incremental")
    survived = numbers(site), numbers(site, "migrate")
    take(site, [11999, 12001, 12002])
    site.archive_runs("--incremental")

    told = "importer_state.json was edited by hand: contiguous to 12000, attempted to 12000"
    assert told in compared.stdout
    assert "nothing to do" in idle.stderr
    assert survived == ((12000, 12000), (12000, 12000))
    assert site.markers("import") == site.markers("migrate") == {11998, 12000, 12001, 12002}
    assert numbers(site) == numbers(site, "migrate") == (12002, 12002)
    assert site.failures("import") == []
    assert "counted from 12000 as edited by hand" in site.archive_runs("--compare-state").stdout


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{corrupted data", "it is not JSON"),
        ("", "it is not JSON"),
        ('{"last_contiguous_run": 5}', "last_attempted_run is not an integer from 0 up"),
        ('{"last_contiguous_run": -1, "last_attempted_run": 6}', "last_contiguous_run is not an integer from 0 up"),
        ('{"last_contiguous_run": 5, "last_attempted_run": "6"}', "last_attempted_run is not an integer from 0 up"),
        ('{"last_contiguous_run": 5.5, "last_attempted_run": 6}', "last_contiguous_run is not an integer from 0 up"),
        ('{"last_contiguous_run": true, "last_attempted_run": 6}', "last_contiguous_run is not an integer from 0 up"),
    ],
)
def test_seed_manual_editing_invalid_state_is_named_and_nothing_overwritten(site: Site, text: str, words: str) -> None:
    take(site, [5, 6])
    site.work.mkdir()
    state_file(site).write_text(text)

    done = site.archive_runs("--incremental", status=1)

    assert f"{state_file(site)}: the state file cannot be used: {words}" in done.stderr
    assert "--recover-import-state" in done.stderr
    assert not any(site.markers(stage) for stage in ("import", "migrate"))
    assert not list(site.work.glob("*.log"))
    assert state_file(site).read_text() == text
    assert site.archive.runs() == set()


@pytest.mark.parametrize("number", [2**63, 10**23])
def test_case_b20_a_number_that_no_run_has_is_refused(site: Site, number: int) -> None:
    take(site, [5])
    site.archive_runs()
    write_state(site, 5, number)
    take(site, [6])

    done = site.archive_runs("--incremental", status=1)

    assert "last_attempted_run is not an integer from 0 up to 2^63 - 1 (correct it, or rebuild it" in done.stderr
    assert site.markers("import") == {5}


def test_seed_a_directory_as_state_file_is_named_and_recovered(site: Site) -> None:
    take(site, [5, 6])
    site.archive_runs("--import-only")
    state_file(site).unlink()
    state_file(site).mkdir()
    (state_file(site) / "note").write_text("mine")
    take(site, [7])

    refused = site.archive_runs("--incremental", status=1)
    compared = site.archive_runs("--compare-state", status=1)
    archived = site.archive.runs()
    site.archive_runs("--recover-import-state")

    assert str(state_file(site)) in refused.stderr
    assert "--recover-import-state" in refused.stderr
    assert str(state_file(site)) in compared.stdout
    assert "--recover-import-state" in compared.stdout
    assert archived == {5, 6}
    assert numbers(site) == (6, 6)
    assert (site.work / "importer_state.json.bak" / "note").read_text() == "mine"


def test_seed_manual_editing_lines_added_to_a_log_are_retried(site: Site) -> None:
    take(site, [100, 101, 102])
    site.archive_runs("--import-only", "--runs", "100")
    with log_file(site).open("a") as log:
        log.write("102\n900\n")

    idle = site.archive_runs("--retry-failed-import", status=1)

    assert site.markers("import") == {100, 102}
    assert site.failures("import") == [900]
    assert "run 900: " in idle.stderr
    assert "run 101: " not in idle.stderr


def test_seed_recovery_passes_over_a_damaged_ledger_or_failure(site: Site) -> None:
    take(site, range(100, 106), broken=[102, 103])
    site.archive_runs("--import-only", status=1)
    (site.work / "state" / "import.json").write_text("[]")
    (site.work / "failures" / "import" / "102.json").write_text("")
    (site.work / "markers" / "import" / "101.json").write_text("{")
    (site.work / "markers" / "import" / "999.json").write_text("{}")
    log_file(site).write_text("not a number\n")

    site.archive_runs("--recover-import-state")

    assert numbers(site) == (101, 105)
    assert site.failures("import") == [102, 103, 999]  # 999 had a marker, and is nowhere: lost
    assert json.loads((site.work / "failures" / "import" / "999.json").read_text())["kind"] == "RecordLost"
    assert site.markers("import") == {100, 101, 104, 105}
    assert site.marker("import", 101)["verified"] is False
    assert site.marker("import", 100)["verified"] is True
    site.archive_runs("--import-only", "--incremental", status=1)
    site.archive_runs("--report-status", "--compare-state", status=1)


def shell(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, timeout=scaled(20)).stdout
