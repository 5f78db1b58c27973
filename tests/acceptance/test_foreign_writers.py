"""Others write into the archive too: artdaq's tools between and during our cycles, the existing archiver before."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from rra_state.records import blob
from rra_state.stores.artdaqdb.index import EMPTY
from tests.site import Site
from tests.unit.stores.artdaqdb.artdaqdb_helpers import MD5, Artdaq, files_of
from tests.waiting import scaled

pytestmark = pytest.mark.in_process


@pytest.fixture
def artdaq(site: Site) -> Artdaq:
    return Artdaq(site.root / "artdaqdb")


def listed(artdaq: Artdaq) -> set[str]:
    """Every object id that both indexes list."""
    indexes = [artdaq.path / name / "index.json" for name in ("RunHistory", "SystemLayout")]
    return {oid for index in indexes if index.exists() for oid in json.loads(index.read_bytes())["ouid"]}


def assert_nothing_lost(artdaq: Artdaq, before: dict[str, bytes]) -> None:
    """Each document as it was, and in the index. before: what `documents` gave."""
    after = documents(artdaq)
    assert {name: after.get(name) for name in before} == before
    assert {name.removesuffix(".json") for name in before} <= listed(artdaq)


def documents(artdaq: Artdaq) -> dict[str, bytes]:
    """Every document of a run, by name."""
    own = {each.name for each in (artdaq.path / "SystemMetadata").glob("*")}  # the archive's own record
    return {name: text for name, text in files_of(artdaq.path).items() if name not in own}


def as_the_existing_archiver_left_it(artdaq: Artdaq, run: int, updates: int = 0) -> None:
    """A run with schema.fcl and check sums, each written three times, and `updates` versions of its RunHistory2."""
    configuration = f"{run}/standard"
    for _ in range(3):
        for entity in ("boot", "RunHistory", "RunHistory2", "hashes"):
            artdaq.write(run, entity, {"value": MD5 if entity == "hashes" else str(run)})
        artdaq.write(run, "schema", collection="SystemLayout")
    for number in range(1, updates + 1):
        version = f"{configuration}v{number}"
        artdaq.write(run, "RunHistory2", {"update": str(number)}, configuration=configuration, version=version)
        artdaq.write(run, "schema", configuration=configuration, version=version, collection="SystemLayout")


def test_an_archive_of_the_existing_archiver_is_read_and_extended(site: Site, artdaq: Artdaq) -> None:
    as_the_existing_archiver_left_it(artdaq, 1)
    as_the_existing_archiver_left_it(artdaq, 2, updates=12)
    before = documents(artdaq)
    site.make(4)

    done = site.archive_runs("-v")

    assert (
        "run 2: 2/standardv12 of another program lacks files of the record: stored as the next version" in done.stderr
    )
    assert site.markers("import") == site.markers("migrate") == {1, 2, 3, 4}
    assert site.marker("import", 2)["verified"]
    assert site.marker("migrate", 2)["version"] == "2/standardv13"
    assert {"boot.fcl", "RunHistory2.fcl", "DataLogger1.fcl"} <= blob.unpack(site.blobs()["2"]).files.keys()
    assert_nothing_lost(artdaq, before)
    assert site.archive.runs() == {1, 2, 3, 4}
    after = files_of(artdaq.path)
    site.archive_runs(status=None)
    assert files_of(artdaq.path) == after
    assert site.versions() == 4


def test_what_the_tools_wrote_between_cycles_is_kept(site: Site, artdaq: Artdaq) -> None:
    site.make(2)
    site.archive_runs()
    for entity in ("boot", "metadata"):
        artdaq.write(50, entity)
    configuration = site.archive.locate([1])[1].configuration
    artdaq.write(1, "RunHistory2", {"update": "1"}, configuration=configuration, version=f"{configuration}v1")
    before = documents(artdaq)
    site.make(2, first_run=3)

    site.archive_runs("--incremental")

    assert_nothing_lost(artdaq, before)
    assert site.archive.runs() == {1, 2, 3, 4, 50}
    assert site.markers("migrate") == {1, 2, 3, 4}
    site.archive_runs("--recover-import-state")
    site.archive_runs("--migrate-only", status=None)
    assert set(site.blobs()) == {"1", "2", "3", "4", "50"}


def test_runs_that_the_tools_dropped_are_stored_again(site: Site, artdaq: Artdaq) -> None:
    site.make(3)
    site.archive_runs()
    index = artdaq.path / "RunHistory" / "index.json"
    index.write_bytes(EMPTY)  # as the tools do when they find none
    artdaq.write(70, "boot")

    done = site.archive_runs("--incremental")

    assert "LostFromIndex: runs 1-3 were in artdaqDB, but its index lost them; taken again" in done.stderr
    assert site.archive.runs() == {1, 2, 3, 70}
    assert site.versions() == 3
    assert "LostFromIndex" not in site.archive_runs("--incremental").stderr


@pytest.mark.parametrize("left", [b"", b'{ "ouid" : ['], ids=["emptied", "cut"])
def test_an_index_cut_while_we_write_costs_no_run(site: Site, artdaq: Artdaq, left: bytes) -> None:
    artdaq.write(900, "boot")
    foreign = documents(artdaq)
    site.make(60)
    cycle = site.start(site.command())
    first = site.work / "markers" / "import"
    while not any_marker(first):
        time.sleep(0.005)
    index = artdaq.path / "RunHistory" / "index.json"
    index.write_bytes(left)  # in place, as they do
    os.utime(index, (0, 0))  # long ago, so that it is not waited for
    said = cycle.communicate(timeout=scaled(100))[0]

    if cycle.returncode == 0:  # all was published by then
        said = site.archive_runs(status=1).stderr
    assert "the index is damaged" in said
    assert "--rebuild-index" in said
    assert not any((site.work / "failures" / "import").iterdir())  # no run is blamed
    site.archive_runs("--rebuild-index")
    site.archive_runs()

    assert site.archive.runs() == {*range(1, 61), 900}
    assert_nothing_lost(artdaq, foreign)
    assert site.markers("migrate") == set(range(1, 61))
    assert site.versions() == 60


def any_marker(directory: Path) -> bool:
    return directory.is_dir() and any(directory.glob("*.json"))
