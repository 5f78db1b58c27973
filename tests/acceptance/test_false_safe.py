"""No report says SAFE of a record that is not what the stores hold, or that was never compared with them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from unittest import mock

import pytest

from rra_state.records.model import Document
from rra_state.state import planner
from rra_state.state.markers import Tree
from rra_state.stores.ucondb.client import UconDB
from tests.acceptance.guide import take
from tests.acceptance.test_verdict import follow_the_advice, report
from tests.other_program import documents, load
from tests.site import Site

pytestmark = pytest.mark.in_process


@pytest.fixture
def archived(site: Site) -> Site:
    """Three small runs in both stores."""
    take(site, [1, 2, 3])
    site.archive_runs()
    return site


def late_file(site: Site, run: int) -> Path:
    """Have a file come to an archived record."""
    path = site.records / str(run) / "late.fcl"
    path.parent.chmod(0o755)
    path.write_text("late: 1\n")
    return path


def level(site: Site) -> str:
    found: str = report(site)["verdict"]["level"]
    return found


@pytest.mark.parametrize("command", ["--verify", "--migrate-only"])
def test_a_changed_record_is_not_taken_for_the_archived_one(archived: Site, command: str) -> None:
    (archived.work / "markers" / "migrate" / "2.json").unlink()
    archived.archive_runs("--recover-migrate-state")
    late_file(archived, 2)

    archived.archive_runs(command)
    between = report(archived)["verdict"]["text"]

    assert between == "NOT SAFE: 1 record changed on disk since the run was archived: 2"
    assert follow_the_advice(archived) == ["--incremental"]
    assert b"late: 1" in archived.blobs()["2"]


def unwatch(site: Site) -> None:
    """Let the watch of every run be over."""
    for path in (site.work / "watch").iterdir():
        path.unlink()


def refresh_marker(site: Site) -> Path:
    [path] = (site.work / "markers" / "refresh").iterdir()
    return path


def test_another_programs_version_that_differs_is_a_finding(site: Site) -> None:
    take(site, [1, 2])
    load(site.root / "artdaqdb", 1, documents(site.config, 1))
    site.archive_runs()
    load(site.root / "artdaqdb", 1, [Document("component01.fcl", b"process_name: other\n")], version="v1")

    followed = site.archive_runs("--incremental", status=1).stderr
    found = report(site)["verdict"]["text"]
    site.remove(1)
    site.archive_runs("--verify")

    assert "run 1: disk: component01.fcl is not what artdaqDB has" in followed
    assert found == "NOT SAFE: a verification found 1 archived run wrong: 1"
    assert level(site) == "safe"


def test_a_damaged_refresh_marker_is_not_safe_and_recovered(archived: Site) -> None:
    late_file(archived, 2)
    archived.archive_runs()
    unwatch(archived)
    refresh_marker(archived).write_text("{}")

    before = level(archived)
    typed = follow_the_advice(archived)

    assert before == "unsure"
    assert typed == ["--verify", "--recover-import-state --recover-migrate-state", "--verify"]


def test_a_replaced_blob_of_a_refreshed_run_is_not_safe(archived: Site) -> None:
    late_file(archived, 2)
    archived.archive_runs()
    unwatch(archived)
    ucondb = UconDB(archived.ucondb.settings())
    ucondb.put(2, b"what somebody else thinks run 2 was", override_of=ucondb.versions()[2])

    archived.archive_runs("--recover-migrate-state")

    assert level(archived) == "unsure"


def test_a_refresh_that_stopped_between_the_stores_is_not_safe(archived: Site) -> None:
    late = late_file(archived, 2)
    archived.ucondb.stop()
    archived.archive_runs("--incremental", status=1)
    archived.ucondb.start()
    late.unlink()

    before = report(archived)["verdict"]["text"]
    done = archived.archive_runs("--incremental", status=1).stderr
    archived.archive_runs("--refresh", "2")

    assert before == "NOT SAFE: 1 record changed on disk since the run was archived: 2"
    assert "the record on disk has lost content: late.fcl is gone" in done
    assert level(archived) == "safe"
    assert "late.fcl" not in archived.archive.export(archived.archive.locate([2])[2]).files


def test_a_version_that_the_index_lost_is_stored_again(archived: Site) -> None:
    index = archived.root / "artdaqdb" / "RunHistory" / "index.json"
    older = index.read_bytes()
    late_file(archived, 2)
    archived.archive_runs()
    archived.archive_runs("--incremental")
    index.write_bytes(older)

    archived.archive_runs("--incremental")
    idle = archived.archive_runs("--incremental").stderr

    assert "late.fcl" in archived.archive.export(archived.archive.locate([2])[2]).files
    assert "nothing to do" in idle
    assert archived.versions() == 4
    archived.archive_runs("--verify")


def test_a_refreshed_run_is_whole_in_a_new_archive(archived: Site) -> None:
    late_file(archived, 2)
    archived.archive_runs()
    marker = refresh_marker(archived)
    # Markers of one second are ordered by their version, and a new archive counts from the first one again.
    marker.write_text(json.dumps(json.loads(marker.read_text()) | {"archived": "2024-10-17T10:08:25Z"}))
    shutil.rmtree(archived.root / "artdaqdb")

    typed = follow_the_advice(archived)
    archived.archive_runs("--incremental")

    assert typed == ["--recover-import-state --accept-loss", "--incremental"]
    archived.archive_runs("--verify")
    assert level(archived) == "safe"


def test_a_damaged_import_marker_stops_no_refresh_and_no_report(archived: Site) -> None:
    (archived.work / "markers" / "import" / "2.json").write_text("{}")
    late_file(archived, 2)
    take(archived, [4])

    archived.archive_runs("--incremental")

    assert b"late: 1" in archived.blobs()["2"]
    assert archived.markers("migrate") == {1, 2, 3, 4}
    assert level(archived) == "unsure"


def test_a_run_of_a_lost_index_that_vanishes_is_lost(site: Site) -> None:
    take(site, [1, 3])
    site.archive_runs("--import-only")
    index = site.root / "artdaqdb" / "RunHistory" / "index.json"
    without_2 = index.read_bytes()
    take(site, [2])
    site.archive_runs("--import-only")
    index.write_bytes(without_2)
    with mock.patch.object(planner, "windows", side_effect=KeyboardInterrupt):  # before it takes the run again
        site.archive_runs("--import-only", status=130)
    site.remove(2)

    done = site.archive_runs("--import-only", status=1).stderr

    assert "RecordLost: runs 2 were seen on disk" in done
    assert report(site)["lost"] == "2"


def test_a_damaged_note_of_seen_runs_fails_its_cycle_once(archived: Site) -> None:
    note = archived.work / "state" / "seen.json"
    note.write_text("")

    done = archived.archive_runs("--incremental", status=1).stderr

    assert f"{note} is damaged: a run that vanished since the last cycle is not noticed" in done
    archived.archive_runs("--incremental")


def test_a_named_refresh_stores_what_a_verification_found_wrong(archived: Site) -> None:
    archived.config.write_text(f"{archived.config.read_text()}fhiclize_generate: [metadata]\n")
    archived.archive_runs("--verify", status=1)

    typed = follow_the_advice(archived)

    assert typed == ["--refresh 1-3"]
    archived.archive_runs("--verify")


def test_a_changed_record_that_vanished_is_given_up_by_name(archived: Site) -> None:
    (archived.records / "2" / "component01.fcl").unlink()
    archived.archive_runs("--incremental", status=1)
    archived.remove(2)

    typed = follow_the_advice(archived)
    archived.ucondb.execute(f"delete from {archived.ucondb.folder}_versions where key = '2'")

    assert typed == ["--forget 2"]
    assert level(archived) == "unsafe"


def test_a_blob_that_was_rolled_back_can_be_refreshed(archived: Site) -> None:
    versions, ucondb = f"{archived.ucondb.folder}_versions", archived.ucondb
    [(first,)] = ucondb.execute(f"select id from {versions} where key = '2'")
    late_file(archived, 2)
    archived.archive_runs()
    archived.archive_runs("--incremental")
    ucondb.execute(f"delete from {versions} where key = '2'")
    ucondb.execute(f"update {versions} set key = '2' where id = {first}")
    archived.archive_runs("--verify", status=1)

    archived.archive_runs("--recover-migrate-state")
    recovered = level(archived)
    archived.archive_runs("--refresh", "2")

    assert recovered == "unsafe"
    assert b"late: 1" in archived.blobs()["2"]
    assert level(archived) == "safe"


def test_a_text_left_out_comes_with_a_named_refresh(site: Site) -> None:
    take(site, [1])
    chosen = site.config.read_text()
    site.config.write_text(f"{chosen}fhiclize_generate: [metadata]\n")
    site.archive_runs()
    site.config.write_text(chosen)

    site.archive_runs("--refresh", "1")

    assert b"boot.fcl:" in site.blobs()["1"]
    assert "is archived as its record is now" in site.archive_runs("--refresh", "1").stderr


def number_taken_again(site: Site, days: int) -> None:
    """Have the record of run 2 removed, and another run 2 taken after its watch is over. days: `watch_days`."""
    site.configure(source_files={"watch_days": days})
    site.remove(2)
    site.archive_runs("--incremental")
    unwatch(site)
    take(site, [2])
    late_file(site, 2)


@pytest.mark.parametrize("days", [7, 0])
def test_another_run_of_an_archived_number_is_compared(archived: Site, days: int) -> None:
    number_taken_again(archived, days)

    between = report(archived)["verdict"]["text"]

    assert between == "NOT SURE: 1 record came back or moved, not compared with the archive yet: 2"
    assert follow_the_advice(archived) == ["--incremental"]
    assert b"late: 1" in archived.blobs()["2"]


@pytest.mark.parametrize("step", ["compare_once", "write_on_disk"])
@pytest.mark.parametrize("days", [7, 0])
def test_a_returned_number_survives_a_kill_while_it_is_noted(archived: Site, step: str, days: int) -> None:
    number_taken_again(archived, days)
    with mock.patch.object(Tree, step, side_effect=KeyboardInterrupt):
        archived.archive_runs("--incremental", status=130)

    between = level(archived)
    archived.archive_runs("--incremental")

    assert between != "safe"
    assert b"late: 1" in archived.blobs()["2"]
    assert level(archived) == "safe"


@pytest.mark.parametrize("days", [7, 0])
def test_records_in_another_directory_are_compared_again(archived: Site, days: int) -> None:
    archived.archive_runs("--incremental")
    unwatch(archived)
    late_file(archived, 2)
    other = shutil.copytree(archived.records, archived.root / "other records")
    archived.configure(source_files={"run_records_dir": str(other), "watch_days": days})

    between = report(archived)["verdict"]["text"]

    assert "3 records came back or moved, not compared with the archive yet: 1-3" in between
    assert follow_the_advice(archived) == ["--incremental"]
    assert b"late: 1" in archived.blobs()["2"]
    archived.archive_runs("--incremental")
    assert [path.name for path in (archived.work / "watch").iterdir()] == (["2"] if days else [])


@pytest.mark.parametrize("days", [7, 0])
def test_a_record_that_lost_a_file_while_moved_is_named(archived: Site, days: int) -> None:
    unwatch(archived)
    before = archived.blobs()
    other = shutil.copytree(archived.records, archived.root / "other records")
    (other / "2").chmod(0o755)
    (other / "2" / "boot.txt").unlink()
    archived.configure(source_files={"run_records_dir": str(other), "watch_days": days})

    for _ in range(3):  # the first cycle notes the new directory
        archived.archive_runs("--incremental", status=None)
        assert report(archived)["verdict"]["text"].startswith("NOT SAFE: ")

    assert archived.blobs() == before
    shutil.copy(archived.records / "2" / "boot.txt", other / "2")
    assert follow_the_advice(archived) == ["--runs 2"]
    assert level(archived) == "safe"
