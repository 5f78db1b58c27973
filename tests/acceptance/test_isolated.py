"""Neither the caller's directory nor Python's variables nor a user's own packages decide what is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.acceptance.changing_records import stop, without_stop_time
from tests.paths import REPOSITORY
from tests.site import TIMEOUT, Site, environment

pytestmark = pytest.mark.in_process

NAMES = ("json", "requests", "secrets", "select", "sitecustomize", "snakemake", "usercustomize", "yaml")


@dataclass(frozen=True)
class Hostile:
    """Directories whose modules leave a witness when they are imported, and a caller who leads Python to them."""

    root: Path

    @property
    def witnesses(self) -> set[str]:
        return {path.name for path in (self.root / "witnesses").iterdir()}

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        environ = environment() | {
            "HOME": str(self.root),
            "PYTHONHOME": str(self.root / "nothing"),
            "PYTHONPATH": str(self.root / "modules"),
            "PYTHONUSERBASE": str(self.root / "user"),
            "RRA_PYTHON": sys.executable,
        }
        return subprocess.run(
            command,
            cwd=self.root / "modules",
            env=environ,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )


@pytest.fixture
def hostile(tmp_path: Path) -> Hostile:
    (tmp_path / "witnesses").mkdir()
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for directory in (tmp_path / "modules", tmp_path / "user" / "lib" / version / "site-packages"):
        directory.mkdir(parents=True)
        for name in NAMES:
            witness = tmp_path / "witnesses" / name
            (directory / f"{name}.py").write_text(f"open({str(witness)!r}, 'w').close()\n")
    return Hostile(tmp_path)


def _assert_nothing_imported(hostile: Hostile, done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, hostile.witnesses) == (0, set()), done.stdout + done.stderr


@pytest.mark.parametrize("options", [("--report-status",), ("--check",), ("--verify",)], ids=lambda options: options[0])
def test_case_b2_isolated_reading_imports_nothing_of_the_caller(
    site: Site, hostile: Hostile, options: Sequence[str]
) -> None:
    site.make(2)
    site.archive_runs()

    done = hostile.run(str(REPOSITORY / "run_archiver.sh"), str(site.config), *options)

    _assert_nothing_imported(hostile, done)


def test_case_b2_isolated_cycle_imports_nothing_of_the_caller(site: Site, hostile: Hostile) -> None:
    """Command line, Snakemake, fork server and workers: imports, migrations and a refresh."""
    site.make(3)
    without_stop_time(site, 2)
    site.archive_runs()
    stop(site, 2)
    site.make(3, first_run=4)

    done = hostile.run(str(REPOSITORY / "run_archiver.sh"), str(site.config))

    _assert_nothing_imported(hostile, done)
    assert site.markers("migrate") == {1, 2, 3, 4, 5, 6}
    assert len(list((site.work / "markers" / "refresh").iterdir())) == 1


@pytest.mark.parametrize("executor", [(), ("--executor", "local", "--cores", "2")], ids=["workers", "local"])
def test_case_b2_isolated_plain_snakemake_imports_nothing_of_the_caller(
    site: Site, hostile: Hostile, executor: Sequence[str]
) -> None:
    """As the pages tell to call it."""
    site.make(2)
    workflow = REPOSITORY / "workflow"
    found = ("--snakefile", str(workflow / "Snakefile"), "--workflow-profile", str(workflow / "profiles" / "default"))

    done = hostile.run(sys.executable, "-I", "-m", "snakemake", *executor, *found, "--configfile", str(site.config))

    _assert_nothing_imported(hostile, done)
    assert site.markers("migrate") == {1, 2}


def test_isolated_programs_are_started_by_the_ansible_role() -> None:
    templates = REPOSITORY / "ansible" / "roles" / "run_record_archiver" / "templates"
    started = [
        line
        for path in sorted(templates.iterdir())
        for line in path.read_text().splitlines()
        if "/bin/run-record-archiver" in line or "/bin/python" in line
    ]

    assert len(started) == 3
    assert all("/bin/python -I -m rra_state " in line.replace('"', "") for line in started), os.linesep.join(started)
