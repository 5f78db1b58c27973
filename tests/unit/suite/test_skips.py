"""A skipped test fails where CI=true, unless it may be skipped."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.paths import REPOSITORY
from tests.waiting import scaled

SUITE = """
import pytest

def test_without_leave():
    pytest.skip("no server")

@pytest.mark.skipif(True, reason="no server either")
def test_marked():
    pass

@pytest.fixture
def server():
    pytest.skip("no server in the fixture")

def test_fixture(server):
    pass

def test_with_leave():
    pytest.skip("not here: the sample data")

@pytest.mark.xfail
def test_expected_failure():
    assert False
"""
MODULE = "import pytest\npytest.importorskip('no_such_module_at_all')\n"


@pytest.mark.parametrize(
    ("ci", "counts"),
    [("true", "1 failed, 1 skipped, 1 xfailed, 3 errors"), ("false", "5 skipped, 1 xfailed")],
)
def test_a_skip_without_leave_fails_in_ci_only(ci: str, counts: str, tmp_path: Path) -> None:
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "test_module.py").write_text(MODULE)
    (tmp_path / "pytest.ini").write_text("[pytest]\n")

    options = ["-p", "tests.skips", "-p", "no:cacheprovider", "--continue-on-collection-errors", "--rootdir"]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path), str(tmp_path)],
        cwd=REPOSITORY,
        env=os.environ | {"CI": ci, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=scaled(60),
        check=False,
    )

    assert counts in done.stdout.splitlines()[-1], done.stdout + done.stderr
