"""How the archiver starts under an account that a host gives little: no passwd entry, no home, a closed interpreter."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.reliability.hosts import STRANGER, as_stranger
from tests.servers import Folder, temporary_directory
from tests.site import TIMEOUT, Site, environment


@pytest.fixture
def folder() -> Iterator[Path]:
    """A directory that every account can enter."""
    with temporary_directory() as root:
        root.chmod(0o755)
        yield root


def _as_stranger(command: Sequence[str], environ: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        as_stranger(command), cwd=REPOSITORY, env=environ, capture_output=True, text=True, timeout=TIMEOUT, check=False
    )


def test_case_b8_an_account_needs_no_name_and_no_home(folder: Path, ucondb: Folder) -> None:
    site = Site(folder, ucondb)
    site.make(2)
    for directory, _, names in os.walk(site.root):
        for name in (".", *names):
            os.chown(Path(directory) / name, STRANGER, STRANGER)
    nameless = {"HOME", "LOGNAME", "USER", "USERNAME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}
    environ = {name: value for name, value in environment().items() if name not in nameless}

    done = _as_stranger(site.command(), environ)

    assert done.returncode == 0, done.stdout + done.stderr
    site.assert_archived_once({1, 2})


@pytest.mark.parametrize("closed", [".venv/bin", "interpreters"])
def test_case_b11_an_interpreter_out_of_reach_is_named(folder: Path, closed: str) -> None:
    shutil.copy(REPOSITORY / "run_archiver.sh", folder)
    (folder / ".venv" / "bin").mkdir(parents=True)
    (folder / "interpreters").mkdir()
    shutil.copy("/bin/true", folder / "interpreters" / "python3")
    (folder / ".venv" / "bin" / "python").symlink_to(folder / "interpreters" / "python3")
    (folder / closed.partition("/")[0]).chmod(0o700)

    done = _as_stranger([str(folder / "run_archiver.sh"), "config.yaml"], environment())

    assert done.returncode == 1
    assert "which this account cannot reach or run (make the environment anew" in done.stderr
    assert "no environment" not in done.stderr
