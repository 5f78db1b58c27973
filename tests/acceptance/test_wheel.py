"""The built wheel archives without the checkout."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.site import Site


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A new environment with the wheel, and with the other packages of this one; its `bin`."""
    wheels, environment = tmp_path_factory.mktemp("wheels"), tmp_path_factory.mktemp("environment")
    pip = [sys.executable, "-I", "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = ["wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), str(REPOSITORY)]
    subprocess.run([*pip, *build], check=True, capture_output=True)
    [wheel] = wheels.glob("run_record_archiver-*.whl")
    venv.create(environment, symlinks=True)
    python = environment / "bin" / "python"
    subprocess.run([*pip, "--python", str(python), "install", "--no-deps", str(wheel)], check=True, capture_output=True)
    [packages] = environment.glob("lib/python3*/site-packages")
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def test_the_wheel_archives_without_the_checkout(site: Site, installed: Path, tmp_path: Path) -> None:
    site.make(2)
    archiver = [installed / "run-record-archiver", site.config]

    def run(*options: str) -> str:
        done = subprocess.run([*archiver, *options], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done
        return done.stdout

    run("--incremental")
    report = run("--report-status")

    assert "SAFE: every complete run on disk (2) is in UconDB" in report
    whence = [installed / "python", "-I", "-c", "import rra_state; print(rra_state.__file__)"]
    found = subprocess.run(whence, capture_output=True, text=True, check=True).stdout
    assert Path(found).is_relative_to(installed.parent)


def test_the_wheel_brings_the_lock_file(installed: Path) -> None:
    [lock] = installed.parent.glob("lib/python3*/site-packages/rra_state/_files/requirements.lock")
    assert lock.read_bytes() == (REPOSITORY / "requirements.lock").read_bytes()
