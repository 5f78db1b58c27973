"""What the tests of this directory went through, for the last lines that pytest prints."""

from __future__ import annotations

from collections import Counter

import pytest

_KEY = "rra_reliability_counts"


def count(request: pytest.FixtureRequest, what: str, number: int) -> None:
    """Add `number` of `what` ("crash points") to the sum printed at the end; workers of xdist send theirs along."""
    request.node.user_properties.append((_KEY, (what, number)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    totals = Counter[str]()
    for report in terminalreporter.stats.get("passed", []):
        for key, value in report.user_properties:
            if key == _KEY:
                what, number = value
                totals[what] += number
    if totals:
        terminalreporter.section("went through, with nothing lost and nothing twice")
        for what, number in sorted(totals.items()):
            terminalreporter.write_line(f"{number:8} {what}")
