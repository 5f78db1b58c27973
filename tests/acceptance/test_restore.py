"""`--restore`: the record is gone from the disk, and comes back from either store as the DAQ wrote it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from rra_state.stores.ucondb.client import UconDB
from tests import nasty_records
from tests.nasty_records import found
from tests.samples import RECORDS, with_real_records
from tests.site import Site

pytestmark = pytest.mark.in_process

TEXTS = {"boot.txt", "environment.txt", "known_boardreaders_list.txt", "metadata.txt", "ranks.txt", "settings.txt"}


@pytest.fixture
def archived(site: Site) -> dict[int, dict[str, bytes]]:
    """Three ordinary runs that are in both stores and not on disk any more; their files."""
    site.configure(ucon_db={"include_originals": True})
    site.make(3)
    site.archive_runs()
    return _gone(site)


def _gone(site: Site) -> dict[int, dict[str, bytes]]:
    files = {int(path.name): found(path) for path in site.records.iterdir()}
    shutil.rmtree(site.records)
    return files


def _restored(directory: Path) -> dict[int, dict[str, bytes]]:
    return {int(path.name): found(path) for path in directory.iterdir()}


def test_200_nasty_records_come_back_from_each_store(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    files = {run: nasty_records.make(site.records, run) for run in range(1, 201)}
    incomplete = {
        run
        for run in files
        for name in nasty_records.BESIDE
        if (site.records / f"{run}/{name}").is_symlink() or (site.records / f"{run}/{name}").exists()
    }
    site.archive_runs()
    shutil.rmtree(site.records)

    for store in ("artdaqdb", "ucondb", "best"):
        out = site.root / "out" / store
        done = site.archive_runs("--restore", "1-200", str(out), "--from", store, status=1)

        differing = {run for run, each in _restored(out).items() if each != files[run]}
        named = {int(line.split()[1].rstrip(":")) for line in done.stdout.splitlines() if "names or bytes" in line}
        assert differing == named
        assert done.stdout.count("never archived") == len(incomplete)
        print(store, sorted(differing), done.stdout[-300:], done.stderr[-300:])
        assert (len(differing) < 20) if store == "ucondb" else not differing
