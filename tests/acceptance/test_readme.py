"""Every command in the README does what it says there, `make demo` included."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.make_run_records import make_records, remove_record
from tests.acceptance import documented
from tests.paths import REPOSITORY
from tests.site import Site, environment
from tests.waiting import scaled

pytestmark = pytest.mark.in_process

COMMANDS = documented.commands(documented.README)


@pytest.mark.parametrize("command", [each for each in COMMANDS if each in documented.EXAMPLES])
def test_a_command_of_the_readme_does_what_it_is_for(command: str, site: Site) -> None:
    documented.check(command, site)


def test_every_command_of_the_readme_is_run_somewhere() -> None:
    known = documented.EXAMPLES.keys() | documented.ELSEWHERE.keys()

    assert sorted(set(COMMANDS) - known) == []


# ---- the demo ------------------------------------------------------------------------------------------------------


class Demo:
    """`make` with the demo in a folder of its own and this environment in place of .venv."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def config(self) -> Path:
        return self.root / "config.yaml"

    def make(self, target: str, **variables: object) -> str:
        """What `make` printed; it has to end well. `-o`: the environment is taken as it is, never installed anew."""
        given = {"VENV": sys.prefix, "DEMO": self.root, **variables}
        return _output(
            "make", "-o", f"{sys.prefix}/.ready", target, *(f"{key}={value}" for key, value in given.items())
        )

    def archiver(self, *options: str, config: Path | None = None) -> str:
        return _output("./run_archiver.sh", str(config or self.config), *options)


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    started = Demo(tmp_path / "a demo")
    yield started
    started.make("demo-stop")
    for record in tmp_path.glob("**/run*records/*"):
        remove_record(record)


@pytest.mark.timeout(300)
def test_the_demo_is_what_the_readme_promises(demo: Demo, tmp_path: Path) -> None:
    first = demo.make("demo")
    _assert_complete(first)
    assert "UconDB: OK" in demo.archiver("--check"), "the servers stay up to look around"
    assert "1 byte for byte" in first
    assert "no difference" in first
    assert "<h1>SAFE</h1>" in (demo.root / "status.html").read_text()

    second = demo.make("demo")
    _assert_complete(second)

    demo.make("demo-stop")
    assert "See whether it runs" in _output("./run_archiver.sh", str(demo.config), "--check", status=1)

    demo.make("demo-start")
    assert "SAFE: every complete run on disk (61) is in UconDB" in demo.archiver("--report-status")

    records = tmp_path / "run records"
    make_records(3, records, first_run=9001)
    other = demo.make("demo", RECORDS=records)
    assert "SAFE: every complete run on disk (3) is in UconDB" in other
    [config] = demo.root.glob("records-*/config.yaml")
    assert "nothing to do" in demo.archiver(config=config)
    assert "(61) is in UconDB" in demo.archiver("--report-status"), "the first demo is left alone"


def _assert_complete(output: str) -> None:
    """The demo's two acts and its repair were shown, in this order."""
    shown = [
        "60 runs into artdaqDB, 60 runs into UconDB",
        "SAFE: every complete run on disk (60) is in UconDB",
        "run 5061: ",
        "the record holds no file to archive",
        "NOT SAFE: 1 run on disk not in UconDB",
        "SAFE: every complete run on disk (61) is in UconDB",
        "make demo-stop",
    ]
    place = 0
    for text in shown:
        assert text in output[place:], f"{text!r} is not shown, or too early:\n{output}"
        place = output.index(text, place)


def _output(*command: str, status: int = 0) -> str:
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=scaled(120),
        check=False,
        env=environment() | {"RRA_PYTHON": sys.executable, "MAKEFLAGS": "", "COLUMNS": "200"},
    )
    assert done.returncode == status, f"{' '.join(command)}: {done.returncode}\n{done.stdout}"
    return done.stdout
