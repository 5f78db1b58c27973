"""Faults in the middle of work: a place that fails costs no run anything, a bad record costs only itself."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from rra_state.state import planner
from scripts.make_run_records import make_records
from tests.servers import Line
from tests.site import Site
from tests.waiting import scaled, wait_until

pytestmark = pytest.mark.in_process


def test_a_bad_record_fails_alone_with_file_and_remedy(site: Site) -> None:
    make_records(6, site.records, first_run=1, breaks={3: "empty", 5: "empty"})

    done = site.real_archive_runs(status=1)

    site.assert_archived_once({1, 2, 4, 6})
    assert "run 3: " in done.stderr
    assert "the record holds no file to archive" in done.stderr
    assert "run 5: " in done.stderr
    assert site.failures("import") == [3, 5]
    assert site.failures("migrate") == []
    assert site.state("import") == {"last_contiguous_run": 2, "last_attempted_run": 6}


def test_a_repaired_record_is_taken_by_the_retry(site: Site) -> None:
    make_records(3, site.records, first_run=1, breaks={2: "empty"})
    site.archive_runs(status=1)
    make_records(1, site.records, first_run=2)

    site.archive_runs("--retry-failed-import")
    site.archive_runs("--incremental")

    site.assert_archived_once({1, 2, 3})
    assert site.failures("import") == []
    assert site.state("import") == {"last_contiguous_run": 3, "last_attempted_run": 3}


def test_names_that_are_no_runs_are_ignored_and_told(site: Site) -> None:
    site.make(2)
    for name in ("0003", "tmp"):
        (site.records / name).mkdir()
    (site.records / "4").write_text("a file")
    (site.records / "5").symlink_to("nowhere")

    site.archive_runs()

    site.assert_archived_once({1, 2})
    report = site.archive_runs("--report-status").stdout
    assert all(f"\n{name}: " in report for name in ("0003", "tmp", "4", "5"))


def test_a_file_that_is_no_fhicl_is_kept_and_named(site: Site) -> None:
    make_records(2, site.records, first_run=1, breaks={2: "bad-fcl"})

    done = site.archive_runs()

    site.assert_archived_once({1, 2})
    line = next(line for line in done.stderr.splitlines() if "kept as text" in line)
    assert line.startswith("run 2: reader01.fcl line ")
    [remark] = site.marker("import", 2)["remarks"]
    assert (remark["file"], type(remark["line"])) == ("reader01.fcl", int)


def _wrong_password(site: Site) -> None:
    site.ucondb.password = "wrong"
    site.configure()


def _unknown_folder(site: Site) -> None:
    site.configure(ucon_db={"folder_name": "nosuch"})


def _unreachable(site: Site) -> None:
    site.configure(ucon_db={"server_url": "http://127.0.0.1:9/ucondb"})


def _archive_is_a_file(site: Site) -> None:
    (site.root / "file").write_text("")
    site.configure(artdaq_db={"database_uri": f"filesystemdb://{site.root}/file"})


def _no_records(site: Site) -> None:
    site.configure(source_files={"run_records_dir": str(site.root / "nosuch")})


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (_wrong_password, "wrong user or password"),
        (_unknown_folder, "nosuch"),
        (_unreachable, "127.0.0.1:9"),
        (_archive_is_a_file, "file"),
        (_no_records, "nosuch"),
    ],
)
def test_a_site_that_cannot_be_used_fails_no_run(site: Site, spoil: Callable[[Site], None], words: str) -> None:
    site.make(60)
    spoil(site)

    done = site.archive_runs("--incremental", "-q", status=1)

    errors = done.stderr.strip().splitlines()
    assert len(errors) == 1, errors
    assert words in errors[0]
    assert not list(site.work.glob("failures/*/*.json"))
    assert site.markers("migrate") == set()
    _mend(site)
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 61))
    assert site.failures("import") == site.failures("migrate") == []


def _mend(site: Site) -> None:
    site.ucondb.password = "secret"
    from tests import servers

    site.ucondb.password = servers.PASSWORD
    site.configure()


def test_ucondb_stopped_in_mid_cycle_costs_no_run(site: Site) -> None:
    site.make(300)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("migrate")) >= 30)
    site.ucondb.stop()
    output, _ = cycle.communicate(timeout=scaled(60))
    assert cycle.returncode == 1, output
    assert 30 <= len(site.markers("migrate")) < 300
    assert not list(site.work.glob("failures/migrate/*.json"))

    site.ucondb.start()
    site.archive_runs("--incremental")

    site.assert_archived_once(range(1, 301))
    assert site.failures("import") == site.failures("migrate") == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_case_b13_one_signal_finishes_runs_in_hand_and_says_so(site: Site, number: int) -> None:
    site.make(200)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.kill(cycle.pid, number)
    output, _ = cycle.communicate(timeout=scaled(30))

    assert cycle.returncode == 130, output
    assert re.search(r"^finishing \d+ runs?; Ctrl-C twice more to stop now$", output, re.MULTILINE)
    assert not re.search(r"^run \d+: (stopped|interrupted)", output, re.MULTILINE)
    done = site.markers("import")
    assert 20 <= len(done) < 200
    assert site.state("import")["last_attempted_run"] == max(done)
    assert not list(site.work.glob("failures/*/*.json"))
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 201))
    assert site.failures("import") == site.failures("migrate") == []


def test_case_b13_a_signal_before_any_run_is_answered(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    site.make(1)
    monkeypatch.setattr(planner, "windows", interrupted)

    assert site.archive_runs(status=130).stderr == "interrupted\n"


def test_three_signals_end_at_once_and_the_next_cycle_completes(site: Site) -> None:
    site.make(60)
    in_hand, released = threading.Event(), threading.Event()

    def held(asked: bytes, answer: bytes) -> bytes:
        if asked.startswith(b"POST"):
            in_hand.set()
            released.wait(scaled(120))
        return answer

    with Line(site.ucondb.url, held) as line:
        site.configure(ucon_db={"server_url": line.url, "timeout_seconds": scaled(120)})
        cycle = site.start(site.command())
        wait_until(in_hand.is_set, what="no run came to UconDB")  # one signal would wait for this run

        def ended() -> bool:
            """Press Ctrl-C once more unless the workflow has ended: of equal signals at once a process gets one."""
            if going_on := bool(_windows_of(cycle.pid)):
                os.kill(cycle.pid, signal.SIGINT)
            return not going_on

        wait_until(ended, 10, "three signals do not end it", every=0.1)
        cycle.communicate(timeout=scaled(10))
        released.set()

    assert cycle.returncode == 130
    site.configure()
    site.real_archive_runs()
    site.assert_archived_once(range(1, 61))


def test_a_killed_worker_costs_no_run(site: Site) -> None:
    site.make(200)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.kill(_a_worker_of(cycle.pid), signal.SIGKILL)
    output, _ = cycle.communicate(timeout=scaled(90))

    assert cycle.returncode == 0, output
    site.assert_archived_once(range(1, 201))


def test_two_instances_at_once_do_not_disturb_each_other(site: Site) -> None:
    site.make(60)
    site.configure(ucon_db={"timeout_seconds": 600})
    with site.ucondb.frozen():
        first = site.start(site.command())
        wait_until(lambda: len(site.markers("import")) >= 1)

        (site.work / ".archiver.lock").unlink()
        second = site.real_archive_runs(status=1)
        third = site.snakemake(status=1)

    for refused in (second.stderr, third.stderr):
        assert f"process {first.pid}" in refused
        assert "Traceback" not in refused
    output, _ = first.communicate(timeout=scaled(90))
    assert first.returncode == 0, output
    site.assert_archived_once(range(1, 61))


def test_case_b14_a_killed_workflow_process_is_named_in_plain_words(site: Site) -> None:
    site.make(200)
    cycle = site.start(site.command())
    wait_until(lambda: len(site.markers("import")) >= 20)

    os.kill(_windows_of(cycle.pid)[0], signal.SIGKILL)
    output, _ = cycle.communicate(timeout=scaled(60))

    assert cycle.returncode == 1, output
    assert "the workflow's process was ended by SIGKILL" in output
    assert "Building DAG" not in output
    site.real_archive_runs("--incremental")
    site.assert_archived_once(range(1, 201))


def _a_worker_of(cycle: int) -> int:
    """A worker process: a child of the window's process, as which each of them began."""
    parents = _parents()
    return next(pid for pid, parent in parents.items() if parent in _windows_of(cycle))


def _windows_of(cycle: int) -> list[int]:
    """The Snakemake processes that a cycle started."""
    return [pid for pid, parent in _parents().items() if parent == cycle]


def _parents() -> dict[int, int]:
    """The parent of each process of this host."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = stat.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        parents[int(stat.parent.name)] = int(fields[1])
    return parents


def test_runs_dropped_from_the_index_are_reported_and_taken_again(site: Site) -> None:
    site.make(5)
    site.archive_runs()
    index = site.root / "artdaqdb" / "RunHistory" / "index.json"
    before = index.read_bytes()
    site.make(3, first_run=6)
    site.archive_runs("--incremental")
    index.write_bytes(before)

    done = site.archive_runs("--incremental")

    assert "LostFromIndex: runs 6-8 were in artdaqDB, but its index lost them; taken again" in done.stderr
    site.assert_archived_once(range(1, 9))
    assert "LostFromIndex" not in site.archive_runs("--incremental").stderr


def test_a_damaged_index_is_never_an_empty_archive(site: Site) -> None:
    site.make(3)
    site.archive_runs()
    index = site.root / "artdaqdb" / "RunHistory" / "index.json"
    index.write_bytes(index.read_bytes()[:-200])
    os.utime(index, (0, 0))  # one that changed just now is waited for
    site.make(1, first_run=4)

    done = site.archive_runs("--incremental", status=1)

    assert "the index is damaged" in done.stderr
    assert "--rebuild-index" in done.stderr
    assert site.markers("import") == {1, 2, 3}


def test_a_range_may_have_gaps(site: Site) -> None:
    site.make(2, first_run=5)

    done = site.archive_runs("--runs", "1-9")

    site.assert_archived_once({5, 6})
    assert "not there: 1-4,7-9" in done.stderr


def test_injected_faults_are_reported_and_lose_nothing(site: Site) -> None:
    site.make(40)
    site.configure(
        app_fuzz={
            "random_skip_percent": 30,
            "random_skip_retry": True,
            "random_error_percent": 30,
            "random_error_retry": True,
        }
    )

    done = site.archive_runs(status=1)

    assert "app_fuzz is on: runs are skipped and failed on purpose" in done.stderr
    assert "failed on purpose" in done.stderr
    assert 0 < len(site.markers("migrate")) < 40
    site.configure()
    site.archive_runs()
    site.assert_archived_once(range(1, 41))
    assert site.failures("import") == site.failures("migrate") == []
