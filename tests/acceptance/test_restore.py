"""`--restore`: the record is gone from the disk, and comes back from either store as the DAQ wrote it."""

from __future__ import annotations

import errno
import json
import os
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from rra_state.records import blob
from tests import nasty_records
from tests.acceptance.restoring import Files, archived_and_gone, gone, put, restored
from tests.nasty_records import LONG_ESCAPED, found
from tests.paths import REPOSITORY
from tests.samples import RECORDS, with_real_records
from tests.site import Site
from tests.waiting import scaled, wait_until

pytestmark = pytest.mark.in_process

PAGE = REPOSITORY / "docs" / "restore.md"


@pytest.fixture
def archived(site: Site) -> Files:
    return archived_and_gone(site)


def document(site: Site, run: int, entity: str) -> Path:
    [item] = [item for item in site.archive.locate([run])[run].items if item.entity == entity]
    return site.root / "artdaqdb" / item.collection / f"{item.oid}.json"


def test_200_nasty_records_come_back_from_each_store(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    files = {run: nasty_records.make(site.records, run) for run in range(1, 201)}
    incomplete = {int(path.parent.name) for path in site.records.glob("*/*") if path.name in nasty_records.BESIDE}
    site.archive_runs()
    shutil.rmtree(site.records)

    for store in ("artdaqdb", "ucondb"):
        out = site.root / "out" / store
        done = site.archive_runs("--restore", "1-200", str(out), "--from", store, status=1)

        differing = {run for run, each in restored(out).items() if each != files[run]}
        assert differing == {run for run in files if store == "ucondb" and LONG_ESCAPED in files[run]}
        assert done.stdout.count("names or bytes are not those of the fingerprint") == len(differing)
        assert done.stdout.count("never archived") == len(incomplete)
        assert f"{200 - len(incomplete | differing)} byte for byte" in done.stdout


@with_real_records
def test_real_records_come_back_from_each_store(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    shutil.copytree(RECORDS, site.records, dirs_exist_ok=True)
    runs = ",".join(path.name for path in site.records.iterdir() if path.name.isdecimal())
    site.archive_runs()
    shutil.move(site.records, site.root / "before")

    for store in ("artdaqdb", "ucondb"):
        site.archive_runs("--restore", runs, str(site.root / f"from_{store}"), "--from", store)

        assert restored(site.root / f"from_{store}") == {
            int(path.name): found(path) for path in (site.root / "before").iterdir() if path.name.isdecimal()
        }


def test_a_blob_without_originals_gives_values_and_says_so(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    files = gone(site, [1])[1]

    done = site.archive_runs("--restore", "1", str(site.root / "out"), "--from", "ucondb", status=1)

    names = "RunHistory.fcl, RunHistory2.fcl, boot.fcl, environment.fcl, known_boardreaders_list.fcl, metadata.fcl"
    assert f"run 1: UconDB has only the values, as FHiCL: {names}" in done.stdout
    there = restored(site.root / "out")[1]
    assert {name: data for name, data in there.items() if name in files} == {
        name: data for name, data in files.items() if name.endswith(".fcl")
    }
    site.archive_runs("--restore", "1", str(site.root / "out"), "--from", "ucondb", "--allow-inexact")


def test_a_blob_is_fetched_without_the_archiver_as_documented(site: Site) -> None:
    site.make(1, 12345)
    site.archive_runs()
    [line] = [line for line in PAGE.read_text().splitlines() if line.startswith("    curl")]

    command = line.replace("SERVER_URL", site.ucondb.url).replace("FOLDER", site.ucondb.folder)
    subprocess.run(shlex.split(command), check=True, cwd=site.root, capture_output=True)

    assert (site.root / "BLOB").read_bytes() == site.blobs()["12345"]


def test_what_is_there_is_never_overwritten(site: Site, archived: Files) -> None:
    out = site.root / "out"
    out.mkdir()
    (out / "1").mkdir()
    (out / "2").symlink_to(site.root)

    refused = site.archive_runs("--restore", "1-3", str(out), status=1)
    for path in (out / "1", out / "2"):
        assert f"{path} is there already and holds something else; left alone" in refused.stdout
    assert (found(out / "1"), found(out / "3")) == ({}, archived[3])

    (out / "1").rmdir()
    (out / "2").unlink()
    again = site.archive_runs("--restore", "1-3", str(out))
    assert restored(out) == archived
    assert "3 runs in" in again.stdout
    assert "(1 there before)" in again.stdout


def test_best_takes_each_run_from_a_whole_store(site: Site, archived: Files) -> None:
    document(site, 1, "boot").unlink()
    text = document(site, 2, "setup").read_text()
    foreign = json.loads(text)
    del foreign["origin"]["rawdata"]
    document(site, 2, "setup").write_text(json.dumps(foreign))
    put(site, 3, site.blobs()["3"].replace(b"Run Number: 3", b"Run Number: 4"))

    done = site.archive_runs("--restore", "1-3", str(site.root / "out"))

    assert restored(site.root / "out") == archived
    assert "run 1: artdaqDB cannot give it: " in done.stdout
    assert "run 1: taken from UconDB" in done.stdout
    assert "run 2: taken from UconDB" in done.stdout
    assert "run 3" not in done.stdout.splitlines()[:-1]
    alone = site.archive_runs("--restore", "1-3", str(site.root / "alone"), "--from", "artdaqdb", status=1)
    assert "run 2: artdaqDB has only the values, as FHiCL: setup.fcl" in alone.stdout
    assert "not restored: 1" in alone.stdout
    assert restored(site.root / "alone").keys() == {2, 3}
    assert (
        "the blob is one of run 4"
        in site.archive_runs("--restore", "3", str(site.root / "u"), "--from", "ucondb", status=1).stdout
    )


def test_one_store_or_all_markers_may_be_gone(site: Site, archived: Files) -> None:
    shutil.rmtree(site.root / "artdaqdb")
    site.archive_runs("--restore", "1-3", str(site.root / "out"))
    assert restored(site.root / "out") == archived

    shutil.rmtree(site.work)
    done = site.archive_runs("--restore", "1-3,9", str(site.root / "unproven"), status=1)
    assert restored(site.root / "unproven") == archived
    assert done.stdout.count("no marker has its fingerprint") == 3
    assert "nothing to restore: 9" in done.stdout


@pytest.mark.parametrize("name", ["../escaped.txt", "/tmp/escaped-rra.txt", "..", ".", "a/b", "a\0b"])
def test_a_hostile_name_costs_only_its_run(site: Site, archived: Files, name: str) -> None:
    content = site.blobs()["2"]
    first = next(iter(blob.unpack(content).files))
    put(site, 2, content.replace(b"#####\n%s:" % first.encode(), b"#####\n%s:" % name.encode()))

    done = site.archive_runs("--restore", "1-3", str(site.root / "out"), "--from", "ucondb", status=1)

    assert f"run 2: UconDB: {name!a} is no name of a file; nothing was written" in done.stdout
    assert restored(site.root / "out") == {run: archived[run] for run in (1, 3)}
    assert not list(site.root.rglob("escaped*"))
    assert not Path("/tmp/escaped-rra.txt").exists()


def test_a_finding_of_a_run_is_said(site: Site, archived: Files) -> None:
    put(site, 1, site.blobs()["1"].replace(b"End of Record", b"End of record"))
    site.archive_runs("--verify", status=1)

    done = site.archive_runs("--restore", "1", str(site.root / "out"))

    assert "run 1: --verify found: " in done.stdout


def test_a_restore_that_was_killed_is_taken_up(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    site.make(40)
    site.archive_runs()
    files, out = gone(site, range(1, 41)), site.root / "out"

    process = site.start(site.command("--restore", "1-40", str(out)))
    wait_until(lambda: list(out.glob("[1-9]*")), what="no run is restored", every=0.001)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    before = len(list(out.glob("[1-9]*")))
    (out / ".partial" / "1").mkdir(parents=True, exist_ok=True)

    done = site.archive_runs("--restore", "1-40", str(out))

    assert restored(out) == files
    assert f"({before} there before)" in done.stdout


def test_an_interrupted_restore_leaves_no_run_half(site: Site, archived: Files) -> None:
    command, out = ["--restore", "1-3", str(site.root / "out"), "--from", "ucondb"], site.root / "out"

    with site.ucondb.frozen():  # so that no run can be there before the interruption
        process = site.start(site.command(*command))
        wait_until((out / ".partial" / "lock").exists, what="the restore does not begin")
        process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=scaled(60))

    assert process.returncode == 130, printed
    assert "Traceback" not in printed
    assert list(out.glob("[1-9]*")) == []
    site.archive_runs(*command)
    assert restored(out) == archived


def test_a_blob_of_another_run_is_not_restored(site: Site, archived: Files) -> None:
    put(site, 1, site.blobs()["2"])

    done = site.archive_runs("--restore", "1-3", str(site.root / "out"), "--from", "ucondb", status=1)

    assert "run 1: UconDB cannot give it: the blob is one of run 2" in done.stdout
    assert restored(site.root / "out") == {run: archived[run] for run in (2, 3)}


def test_the_drill_restores_some_runs_and_compares(site: Site) -> None:
    site.make(3)
    site.archive_runs()
    site.remove(3)

    done = site.archive_runs("--verify", "--restore-drill", "9")
    assert "restored 3 runs to try it (1-3), all as archived" in done.stdout

    document(site, 2, "boot").unlink()
    broken = site.archive_runs("--verify", "--restore-drill", "9", status=1)
    assert "not as archived: 2" in broken.stdout


def test_options_of_a_restore_belong_to_it(site: Site) -> None:
    for options in (["--from", "best"], ["--allow-inexact"], ["--restore-drill", "3"], ["--restore", ",", "x"]):
        assert "belong" in (said := site.archive_runs(*options, status=1).stderr) or "names no run" in said
    assert "nothing to restore: 9" in site.archive_runs("--restore", "9", str(site.root / "out"), status=1).stdout


def test_without_a_fingerprint_nothing_is_called_exact(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    site.make(1)
    (site.records / "1" / "link").symlink_to("boot.txt")
    site.archive_runs()

    shutil.rmtree(site.work / "markers" / "import")
    site.archive_runs("--recover-import-state")
    known = site.archive_runs("--restore", "1", str(site.root / "known"), status=1)
    shutil.rmtree(site.work)
    unknown = site.archive_runs("--restore", "1", str(site.root / "unknown"), status=1)

    assert "run 1: never archived: link: is a link" in known.stdout
    assert "run 1: no marker has its fingerprint: nothing shows whether the record had links" in unknown.stdout
    assert "0 byte for byte" in unknown.stdout
    assert restored(site.root / "unknown")[1] == found(site.records / "1")


def test_no_record_is_restored_into_archive_or_source(site: Site, archived: Files) -> None:
    link = site.root / "link"
    link.symlink_to(site.records)
    before = sorted(site.records.iterdir())

    for directory in (site.records, site.work / "markers", site.root / "artdaqdb", link / "4" / "sub"):
        done = site.archive_runs("--restore", "1", str(directory), status=1)
        assert "choose another directory" in done.stderr

    assert "names no directory" in site.archive_runs("--restore", "1", "", status=1).stderr
    assert sorted(site.records.iterdir()) == before
    assert not list(site.root.rglob(".partial"))


def test_a_store_that_cannot_be_asked_is_named(site: Site, archived: Files) -> None:
    for path in (site.root / "artdaqdb").rglob("index.json"):
        path.write_text("{")
        os.utime(path, (0, 0))  # one that was written just now is waited for
    directory = site.root / "out"

    done = site.archive_runs("--restore", "1-3", str(directory))
    assert "the index is damaged" in done.stderr
    assert "does not have it" not in done.stdout

    shutil.rmtree(site.work)
    unknown = site.archive_runs("--restore", "1-3,9", str(directory), status=1)
    assert "runs that only artdaqDB has cannot be restored" in unknown.stderr
    assert "nothing to restore: 9" in unknown.stdout
    site.configure(ucon_db={"server_url": "http://127.0.0.1:9/x/app"}, app={"run_process_retries": 1})
    nothing = site.archive_runs("--restore", "1-3", str(directory), status=1)
    assert "restore" not in nothing.stdout


def test_an_unreadable_target_costs_only_its_run(site: Site, archived: Files, monkeypatch: pytest.MonkeyPatch) -> None:
    place = site.root / "out" / "1"
    place.mkdir(parents=True)
    scandir = os.scandir

    def refusing(path: str | Path = ".") -> object:
        if path == place:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refusing)
    done = site.archive_runs("--restore", "1-3", str(site.root / "out"), status=1)

    assert f"run 1: {place} is there already and cannot be read: permission denied" in done.stdout
    assert "2 runs in" in done.stdout


def test_a_second_restore_into_a_directory_waits_for_no_lock(site: Site, archived: Files) -> None:
    from rra_state.execution import restore as execution

    directory = site.root / "out"
    with execution._prepared(directory):
        done = site.archive_runs("--restore", "1", str(directory), status=1)
        assert "another --restore writes there" in done.stderr
        assert (directory / ".partial" / "lock").exists()
    assert not (directory / ".partial").exists()
