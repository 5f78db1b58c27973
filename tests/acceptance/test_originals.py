"""`ucon_db.include_originals`: the seven texts in the blob, and what follows where it is switched on or off later."""

from __future__ import annotations

import shutil

import pytest

from rra_state.records import blob
from tests.acceptance.restoring import Files, archived_and_gone, put, restored
from tests.nasty_records import found
from tests.site import Site

pytestmark = pytest.mark.in_process


@pytest.fixture
def archived(site: Site) -> Files:
    return archived_and_gone(site)


def test_originals_do_not_make_blobs_differ(site: Site) -> None:
    site.make(2)
    site.archive_runs()
    without = site.blobs()
    site.configure(ucon_db={"include_originals": True})
    shutil.rmtree(site.work / "markers" / "migrate")

    done = site.archive_runs()
    site.archive_runs("--verify")

    assert "already holds the same content" in done.stderr
    assert site.blobs() == without
    put(
        site, 1, blob.pack(1, blob.unpack(without["1"]).files, site.archive.export(site.archive.locate([1])[1]).sources)
    )
    site.configure(ucon_db={"include_originals": False})
    shutil.rmtree(site.work / "markers" / "migrate")
    site.archive_runs()
    site.archive_runs("--verify")


def test_originals_stay_right_once_they_are_switched_off(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    site.make(1)
    site.archive_runs()
    site.configure(ucon_db={"include_originals": False})
    boot = site.records / "1" / "boot.txt"
    boot.write_bytes(b"# a comment\n" + boot.read_bytes())

    site.archive_runs()

    assert blob.unpack(site.blobs()["1"]).files["boot.txt"] == boot.read_bytes()
    site.archive_runs("--verify")
    site.archive_runs("--restore", "1", str(site.root / "out"), "--from", "ucondb")
    assert restored(site.root / "out")[1] == found(site.records / "1")


def test_originals_that_differ_are_a_conflict_once_switched_off(site: Site, archived: Files) -> None:
    put(site, 1, site.blobs()["1"].replace(archived[1]["ranks.txt"], archived[1]["ranks.txt"] + b"#\n"))
    site.configure(ucon_db={"include_originals": False})
    (site.work / "markers" / "migrate" / "1.json").unlink()

    assert "holds other content under this key" in site.archive_runs(status=1).stderr


def test_an_original_that_differs_is_a_finding(site: Site, archived: Files) -> None:
    put(site, 1, site.blobs()["1"].replace(archived[1]["ranks.txt"], archived[1]["ranks.txt"] + b"#\n"))

    done = site.archive_runs("--verify", status=1)

    assert "run 1: UconDB: ranks.txt is not what artdaqDB has" in done.stdout
