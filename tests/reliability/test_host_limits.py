"""A host that is not as it should be: disks that fill up, turn read only or belong to others, umasks of all kinds."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.reliability.hosts import STRANGER, as_stranger, failing_disk, mounted
from tests.servers import Folder, temporary_directory
from tests.site import Site, environment
from tests.waiting import scaled, wait_until

READ_ONLY = "read-only file system (the file system is mounted read only: see dmesg for why"


@pytest.mark.parametrize("full", ["work directory", "artdaqDB"])
@pytest.mark.in_process
def test_a_disk_that_fills_up_costs_no_run(site: Site, full: str) -> None:
    site.make(150)
    with mounted(site.root / ("work" if full == "work directory" else "artdaqdb"), options="size=600k") as disk:
        done = site.real_archive_runs(status=1)

        assert "no space left on device" in done.stderr.lower()
        subprocess.run(["mount", "-o", "remount,size=100m", str(disk.path)], check=True)
        site.archive_runs("--incremental")
        site.assert_archived_once(range(1, 151))
        assert site.failures("import") == site.failures("migrate") == []


@pytest.mark.parametrize("broken", ["work directory", "artdaqDB"])
@pytest.mark.in_process
def test_a_disk_that_turns_read_only_costs_no_run(site: Site, tmp_path: Path, broken: str) -> None:
    """As it does when the kernel finds an error on it, in the middle of a cycle."""
    site.make(150)
    with failing_disk(site.root / ("work" if broken == "work directory" else "artdaqdb"), tmp_path / "disk") as disk:
        cycle = site.start(site.command())
        wait_until(lambda: len(site.markers("import")) >= 20)

        disk.fail()

        said, _ = cycle.communicate(timeout=scaled(60))
        assert cycle.returncode == 1, said
        assert any(text in said.lower() for text in (READ_ONLY, "input/output error (is the disk well?")), said
        assert "Traceback" not in said
        again = site.archive_runs("--incremental", "-q", status=1)
        [line] = again.stderr.splitlines()
        assert READ_ONLY in line.lower()
        disk.mend()
        site.archive_runs("--incremental")
        site.assert_archived_once(range(1, 151))
        assert site.failures("import") == site.failures("migrate") == []


@pytest.fixture
def strangers_site(ucondb: Folder) -> Iterator[Site]:
    """A site of an account that is not root."""
    with temporary_directory() as root:
        root.chmod(0o755)
        yield Site(root, ucondb)


def _closed(name: str) -> tuple[Callable[[Site], None], Callable[[Site], None]]:
    """Something below the site becomes root's alone, and the account's again."""

    def close(site: Site) -> None:
        shutil.chown(site.root / name, 0, 0)
        (site.root / name).chmod(0o700)

    return close, lambda site: shutil.chown(site.root / name, STRANGER, STRANGER)


def _read_only(name: str) -> tuple[Callable[[Site], None], Callable[[Site], None]]:
    close, open_again = _closed(name)

    def close_for_writing(site: Site) -> None:
        close(site)
        (site.root / name).chmod(0o755)

    return close_for_writing, open_again


OTHERS: tuple[tuple[tuple[Callable[[Site], None], Callable[[Site], None]], str], ...] = (
    (_closed("run_records"), "the directory of run records cannot be read: permission denied"),
    (_closed("config.yaml"), "the configuration cannot be read"),
    (_closed("artdaqdb"), "the artdaqDB directory cannot be used: permission denied"),
    (_read_only("artdaqdb/RunHistory"), "the artdaqDB directory cannot be used: permission denied"),
    (_read_only("work/markers/import"), "cannot be written: permission denied"),
    (_read_only("work/markers/migrate"), "cannot be written: permission denied"),
    (_closed("work/state"), "cannot be"),
    (_closed("work/importer_state.json"), "cannot be read: permission denied"),
    (_closed("work/markers/.lock"), "lock cannot be written: permission denied"),
    (_closed("work/archiver.log"), "log file cannot be written: permission denied"),
    (_closed("work"), "permission denied"),
)
"""What may belong to root although the archiver is another account, say since a cycle was once started by root."""


def test_what_another_account_owns_is_named(strangers_site: Site) -> None:
    site = strangers_site
    site.configure(app={"log_file": str(site.work / "archiver.log")})
    site.make(2)
    _owned(site)
    assert _archive(site).returncode == 0

    for number, ((spoil, mend), words) in enumerate(OTHERS, 3):
        site.make(1, first_run=number)
        _owned(site)
        spoil(site)
        done = _archive(site, "--incremental", "-q")
        assert done.returncode == 1, (words, done.stderr)
        [line] = done.stderr.splitlines()
        assert words in line
        assert line.endswith(")")  # with the remedy
        mend(site)

    assert not list(site.work.glob("failures/*/*.json"))
    done = _archive(site, "--incremental")
    assert done.returncode == 0, done.stderr
    site.assert_archived_once(range(1, 3 + len(OTHERS)))
    assert site.failures("import") == site.failures("migrate") == []


def test_a_record_that_may_not_be_read_fails_alone(strangers_site: Site) -> None:
    site = strangers_site
    site.make(3)
    _owned(site)
    close, mend = _closed("run_records/2/metadata.txt")
    close(site)

    done = _archive(site)

    assert done.returncode == 1
    assert "run 2: " in done.stderr
    assert "metadata.txt: cannot be read: permission denied (the archiver's account needs read" in done.stderr
    site.assert_archived_once({1, 3})
    mend(site)
    assert _archive(site, "--retry-failed-import").returncode == 0
    assert _archive(site, "--incremental").returncode == 0
    site.assert_archived_once({1, 2, 3})


def _owned(site: Site) -> None:
    for directory, _, names in os.walk(site.root):
        for name in (".", *names):
            os.chown(Path(directory) / name, STRANGER, STRANGER)


def _archive(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    # Of a home directory nothing may be needed either: a service account has none.
    return subprocess.run(
        as_stranger(site.command(*options)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=scaled(100),
        check=False,
        env=environment() | {"HOME": "/nonexistent"},
    )


@pytest.mark.in_process
def test_each_directory_may_have_its_own_file_system(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is ever renamed or linked from one to another."""
    site.make(4)
    with mounted(site.work), mounted(site.root / "artdaqdb"), mounted(site.root / "t"), mounted(site.root / "states"):
        monkeypatch.setenv("TMPDIR", str(site.root / "t"))
        site.configure(app={"import_state_file": str(site.root / "states" / "importer_state.json")})

        site.real_archive_runs("--runs", "1-2")
        site.archive_runs("--incremental")

        site.assert_archived_once(range(1, 5))
        assert not list((site.root / "t").iterdir())


@pytest.mark.parametrize("mask", [0o077, 0o022, 0o002])
@pytest.mark.in_process
def test_any_umask_will_do(site: Site, mask: int) -> None:
    site.make(5)

    before = os.umask(mask)
    try:
        (site.real_archive_runs if mask == 0o002 else site.archive_runs)()
    finally:
        os.umask(before)

    site.assert_archived_once(range(1, 6))
    modes = {path.stat().st_mode & 0o777 for path in site.work.rglob("*.json")}
    assert all(mode & mask == 0 for mode in modes)
    assert all(mode & 0o022 == 0 for mode in modes)
