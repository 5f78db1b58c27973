"""A host that is not as it should be: no space on one of its file systems, umasks of all kinds."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.acceptance.site import Site
from tests.servers import temporary_directory


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of its own with room for almost nothing."""
    if os.geteuid() != 0:
        pytest.skip("not here: only root mounts a file system")
    with temporary_directory() as directory:
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=600k", "rra-test", str(directory)], capture_output=True, check=False
        )
        if mounted.returncode:
            pytest.skip(f"not here: mount: {mounted.stderr.decode().strip()}")
        try:
            yield directory
        finally:
            subprocess.run(["umount", "--lazy", str(directory)], check=False)


@pytest.mark.parametrize("full", ["work directory", "artdaqDB"])
def test_a_disk_that_fills_up_costs_no_run(site: Site, small_disk: Path, full: str) -> None:
    site.make(150)
    if full == "artdaqDB":
        site.configure(artdaq_db={"database_uri": f"filesystemdb://{small_disk}/artdaqdb"})
        (site.root / "artdaqdb").symlink_to(small_disk / "artdaqdb")
    else:
        site.configure(app={"work_dir": str(small_disk / "work")})
        (site.root / "work").symlink_to(small_disk / "work")

    done = site.archive_runs(status=1)

    assert "no space left on device" in done.stderr.lower()
    subprocess.run(["mount", "-o", "remount,size=100m", str(small_disk)], check=True)
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 151))
    assert site.failures("import") == site.failures("migrate") == []


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
def test_any_umask_will_do(site: Site, mask: int) -> None:
    site.make(5)

    before = os.umask(mask)
    try:
        site.archive_runs()
    finally:
        os.umask(before)

    site.assert_archived_once(range(1, 6))
    modes = {path.stat().st_mode & 0o777 for path in site.work.rglob("*.json")}
    assert all(mode & mask == 0 for mode in modes)
    assert all(mode & 0o022 == 0 for mode in modes)
