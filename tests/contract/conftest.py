"""A fresh archive of each kind, and what each kind promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from tests.contract.kinds import KINDS, Archive


@pytest.fixture(params=list(KINDS))
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Archive]:
    kind = KINDS[request.param]
    with kind.make(request, tmp_path) as place:
        yield Archive(kind, place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each kind of store promises, since that decides which cases it has to pass."""
    terminalreporter.section("what each kind of artdaqDB promises")
    for kind in KINDS.values():
        promises = ", ".join(name for name, kept in asdict(kind.capabilities).items() if kept)
        terminalreporter.line(f"{kind.name}: {promises or 'nothing beyond the contract'}")
