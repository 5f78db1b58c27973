"""Every command of docs/state.md, in the page's order, on one archive that needs them all."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest

from tests.acceptance.guide import numbers, take
from tests.paths import REPOSITORY
from tests.site import TIMEOUT, Site, environment

pytestmark = pytest.mark.in_process

PAGE = REPOSITORY / "docs" / "state.md"


def test_every_command_of_the_state_page_works_as_it_stands(site: Site) -> None:
    commands = re.findall(r"^\./run_archiver\.sh CONFIG.*$", PAGE.read_text(), re.MULTILINE)
    take(site, range(12345, 12350), broken=[12347])
    site.archive_runs(status=1)
    take(site, [12347, 12350])

    for command in commands:
        words = [str(site.config) if word == "CONFIG" else word for word in shlex.split(command)]
        done = subprocess.run(
            words,
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            env=environment() | {"RRA_PYTHON": sys.executable},
        )
        not_safe = "--report-status" in words  # it is asked before the runs that wait are archived
        assert done.returncode == int(not_safe), f"{command}\n{done.stdout}\n{done.stderr}"
        assert not not_safe or "NOT SAFE: 2 runs on disk not in UconDB." in done.stdout

    assert len(commands) == 6
    site.assert_archived_once(range(12345, 12351))
    assert numbers(site) == numbers(site, "migrate") == (12350, 12350)


def test_every_option_the_state_page_names_exists() -> None:
    usage = subprocess.run(
        [sys.executable, "-m", "rra_state", "--help"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout

    assert [option for option in re.findall(r"--[a-z][a-z-]+", PAGE.read_text()) if option not in usage] == []
