"""The tests of the deployment boot hosts and take half an hour: only `make test-deploy` runs them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.deploy.rollout import Rollout

if not os.environ.get("RRA_TEST_DEPLOY"):
    collect_ignore_glob = ["test_*.py"]

_TIMES: list[tuple[str, float]] = []


@pytest.fixture(scope="session")
def rollout(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rollout]:
    """Two booted hosts, and everything a controller needs."""
    with Rollout.of(Path(tmp_path_factory.mktemp("hosts"))) as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Iterator[None]:
    """Time each step of the sequence."""
    begun = time.monotonic()
    try:
        return (yield)
    finally:
        _TIMES.append((item.name, time.monotonic() - begun))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print how long each step took, and what was measured."""
    terminalreporter.section("deployment")
    for name, seconds in _TIMES:
        terminalreporter.write_line(f"{seconds:7.1f} s  {name.removeprefix('test_').replace('_', ' ')}")
    for line in Rollout.told:
        terminalreporter.write_line(line)
