"""Checkout, environment, configuration, records and work directory at paths with a blank."""

from __future__ import annotations

import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from scripts.make_run_records import remove_record
from tests.acceptance.changing_records import refresh_markers, stop, versions, without_stop_time
from tests.paths import REPOSITORY
from tests.servers import Folder
from tests.site import Site, environment
from tests.waiting import scaled

_LEFT_OUT = shutil.ignore_patterns(".*", "build", "demo", "dist", "__pycache__")


@dataclass(frozen=True)
class Checkout:
    """A copy of this checkout with an environment of its own, which has the packages of this one."""

    root: Path

    @property
    def python(self) -> Path:
        return self.root / ".venv" / "bin" / "python"

    def make(self, target: str) -> str:
        """What `make` printed; it has to end well. `-o`: the environment is taken as it is, never installed anew."""
        return self.run("make", "-o", ".venv/.ready", target)

    def run(self, *command: str) -> str:
        done = subprocess.run(
            command,
            cwd=self.root,
            env=environment() | {"MAKEFLAGS": "", "COLUMNS": "200"},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=scaled(200),
            check=False,
        )
        assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout}"
        return done.stdout


@pytest.fixture
def checkout(tmp_path: Path) -> Iterator[Checkout]:
    copy = Checkout(tmp_path / "a checkout")
    shutil.copytree(REPOSITORY, copy.root, ignore=_LEFT_OUT)
    shutil.copy(REPOSITORY / "ansible" / ".ansible-lint", copy.root / "ansible")
    venv.create(copy.root / ".venv")
    places = (copy.root, copy.root / "workflow" / "executor", Path(sysconfig.get_path("purelib")))
    [packages] = (copy.root / ".venv").glob("lib/python*/site-packages")
    (packages / "packages.pth").write_text("".join(f"{place}\n" for place in places))
    for program in Path(sys.prefix, "bin").iterdir():
        if not (copy.root / ".venv" / "bin" / program.name).exists():
            (copy.root / ".venv" / "bin" / program.name).symlink_to(program)
    yield copy
    for record in copy.root.glob("demo/**/run_records/*"):
        remove_record(record)


@pytest.fixture
def blank_site(tmp_path: Path, ucondb: Folder) -> Site:
    """Three archived runs, of which run 2 has its stop time only since."""
    (tmp_path / "a site").mkdir()
    site = Site(tmp_path / "a site", ucondb)
    site.make(3)
    without_stop_time(site, 2)
    return site


def test_case_b3_a_blank_in_every_path_costs_no_refresh(blank_site: Site, checkout: Checkout) -> None:
    def cycle() -> str:
        return checkout.run("./run_archiver.sh", str(blank_site.config), "--incremental")

    cycle()
    stop(blank_site, 2)

    said = cycle()

    assert "run 2: its record has changed; both stores hold it as it is now" in said
    assert (versions(blank_site, 2)[1], len(refresh_markers(blank_site))) == (4, 1)
    assert "nothing to do" in cycle()


@pytest.mark.parametrize("executor", [(), ("--executor", "local", "--cores", "2")], ids=["workers", "local"])
def test_a_blank_in_every_path_costs_plain_snakemake_nothing(
    blank_site: Site, checkout: Checkout, executor: Sequence[str]
) -> None:
    command = (str(checkout.python), "-I", "-m", "snakemake")
    given = (*executor, "--configfile", str(blank_site.config))
    checkout.run(*command, *given)
    stop(blank_site, 2)

    checkout.run(*command, *given)

    assert blank_site.markers("migrate") == {1, 2, 3}
    assert (versions(blank_site, 2)[1], len(refresh_markers(blank_site))) == (4, 1)
    assert "SAFE: every complete run on disk (3)" in checkout.run(*command, "report", *given)


def test_case_b3_make_works_in_a_checkout_with_a_blank(checkout: Checkout) -> None:
    checkout.make("lint-ansible")
    checkout.make("demo-stop")
