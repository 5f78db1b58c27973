"""A site whose archive is written by artdaq's tools (`use_tools: true`), on the real command line."""

from __future__ import annotations

import os
import signal

import pytest

from rra_state.records import blob, fhicl
from tests.acceptance.changing_records import edit, stop, without_stop_time
from tests.artdaq_tools import Tools
from tests.site import Site
from tests.unit.stores.artdaqdb.artdaqdb_helpers import age
from tests.waiting import wait_until

pytestmark = pytest.mark.in_process


@pytest.fixture
def tools(site: Site) -> Tools:
    tools = Tools(site.root / "tools")
    site.configure(artdaq_db={"use_tools": True, "tools_dir": str(tools.directory)})
    return tools


def test_runs_go_through_the_tools_into_both_stores(site: Site, tools: Tools) -> None:
    site.make(4)

    checked = site.archive_runs("--check")
    site.real_archive_runs()
    before = len(tools.calls)
    site.archive_runs()

    assert "written by artdaq's tools" in checked.stdout
    assert site.markers("import") == site.markers("migrate") == {1, 2, 3, 4}
    assert site.archive.runs() == {1, 2, 3, 4}
    assert len(tools.calls) == before == 8
    assert not tools.overlapped
    for run in range(1, 5):
        files = blob.unpack(site.blobs()[str(run)]).files
        for path in (site.records / str(run)).glob("*.fcl"):
            assert fhicl.dump(files[path.name]) == fhicl.dump(path.read_bytes())


def test_a_run_with_lost_files_fails_and_is_repaired(site: Site, tools: Tools) -> None:
    site.make(2)
    tools.fault("bulkloader", "lose")

    failed = site.archive_runs(status=1)
    assert "artdaq's tools stored" in failed.stderr
    assert site.failures("import") == [1, 2]
    assert site.markers("import") == set()
    tools.fault("bulkloader", "")
    site.archive_runs("--retry-failed-import")
    site.archive_runs()

    assert site.markers("import") == site.markers("migrate") == {1, 2}
    assert site.failures("import") == []


def test_case_d6_a_bad_file_fails_its_run_with_the_right_hint(site: Site, tools: Tools) -> None:
    site.make(2)
    (site.records / "1" / "odd.fcl").write_text("a: 'é'\n")

    done = site.archive_runs(status=1)

    assert "run 1: odd.fcl line 1: byte 0xC3; " in done.stderr
    assert "artdaq's tools take FHiCL only (correct the file, or set artdaq_db.use_tools: false" in done.stderr
    assert "keep_text" not in done.stderr
    assert site.markers("import") == {2}
    assert not any("1" in call[call.index("-r") + 1] for call in tools.calls)


def test_case_d6b_runs_of_the_tools_are_compared_by_meaning(site: Site, tools: Tools) -> None:
    site.configure(artdaq_db={"use_tools": True, "tools_dir": str(tools.directory)}, source_files={"watch_days": 0})
    site.make(1)
    (site.records / "1" / "hashes.fcl").write_text("a: 1\n")
    (site.records / "1" / "notes of the shift.txt").write_text("all is well\n")
    site.archive_runs()
    site.archive_runs("--incremental")  # after the last look of the watch

    intact = site.archive_runs("--show", "1").stdout
    edit(site, 1, lambda text: text + b"added: 1\n", name="DataLogger1.fcl")
    verified = site.archive_runs("--verify", status=1).stdout
    edited = site.archive_runs("--show", "1").stdout

    assert "hashes.fcl" in blob.unpack(site.blobs()["1"]).files
    assert "DIFFERENT" not in intact
    assert intact.count("equal in meaning") > 15
    assert "run 1: disk: DataLogger1.fcl is not what artdaqDB has" in verified
    assert [line.split()[0] for line in edited.splitlines() if "DIFFERENT" in line] == ["DataLogger1.fcl"]


def test_case_d6c_the_advice_for_a_damaged_index_is_sound(site: Site, tools: Tools) -> None:
    """A killed bulkloader leaves a cut index."""
    site.make(1)
    site.archive_runs()
    index = site.root / "artdaqdb" / "RunHistory" / "index.json"
    before = site.archive.locate([1])
    index.write_bytes(index.read_bytes()[:100])
    age(index)

    damaged = site.archive_runs("--check", status=1)
    site.archive_runs("--rebuild-index")

    assert "run_archiver.sh CONFIG --rebuild-index" in damaged.stdout
    assert site.archive.locate([1]) == before
    assert "artdaqDB: OK" in site.archive_runs("--check").stdout


def test_a_later_stop_time_is_loaded_under_another_name(site: Site, tools: Tools) -> None:
    site.make(2)
    without_stop_time(site, 2)
    site.archive_runs()
    first = site.archive.locate([2])[2].configuration
    stop(site, 2)

    done = site.archive_runs("--incremental")

    assert "run 2: its record has changed; both stores hold it as it is now" in done.stderr
    assert site.archive.locate([2])[2].configuration == f"{first}v1"
    assert b"Packed on Oct 17 18:50 UTC" in site.blobs()["2"]
    calls = len(tools.calls)
    site.archive_runs("--incremental")
    assert (len(tools.calls), site.versions()) == (calls, 3)


def test_a_record_that_lost_content_is_not_loaded_again(site: Site, tools: Tools) -> None:
    site.make(1)
    site.archive_runs()
    record, calls = site.records / "1", len(tools.calls)
    record.chmod(0o755)
    (record / "setup.txt").rename(site.root / "setup.txt")
    edit(site, 1, lambda text: text[: len(text) // 2], name="boot.txt")

    done = site.archive_runs("--incremental", status=1)

    assert "lost content: setup.fcl is gone, boot.fcl is shorter; both stores keep it" in done.stderr
    assert (len(tools.calls), site.versions()) == (calls, 1)


def test_what_is_half_loaded_is_never_taken_for_archived(site: Site, tools: Tools) -> None:
    site.make(2)
    site.configure(artdaq_db={"use_tools": True, "tools_dir": str(tools.directory), "tools_timeout_seconds": 30})
    tools.fault("bulkloader", "stall")
    cycle = site.start(site.command())
    wait_until((tools.directory / "stalled").exists)
    os.killpg(cycle.pid, signal.SIGKILL)
    cycle.communicate()
    tools.fault("bulkloader", "")

    site.archive_runs()

    assert site.markers("import") == site.markers("migrate") == {1, 2}
    assert not tools.overlapped
    for run in (1, 2):
        assert site.marker("import", run)["verified"]
        assert set(blob.unpack(site.blobs()[str(run)]).files) >= {"boot.fcl", "metadata.fcl"}
