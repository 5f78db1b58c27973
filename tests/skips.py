"""What a skipped test means: nothing on a developer's machine, a failure where CI=true.

All that `make setup` installs is there, so a test that is skipped would go missing without a word. What may be absent
says so: its reason begins with `not here: `.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

ALLOWED = "not here: "
"""How the reason of a skip begins that is none of CI's business: data or programs that `make setup` cannot install."""


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Judge a skipped test."""
    report = yield
    _judge(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Judge a skipped module."""
    report = yield
    _judge(report)
    return report


def _judge(report: pytest.TestReport | pytest.CollectReport) -> None:
    if os.environ.get("CI") != "true" or report.outcome != "skipped" or hasattr(report, "wasxfail"):
        return
    reason = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr).removeprefix(
        "Skipped: "
    )
    if not reason.startswith(ALLOWED):
        report.outcome = "failed"
        report.longrepr = f"skipped although CI=true: {reason}"
