"""A fresh archive of each kind, and what each kind promises."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import pytest

from rra_state.records.model import Document, RunDocuments
from tests.contract.kinds import EVERY_KIND, KINDS, Archive
from tests.unit.stores.artdaqdb.artdaqdb_helpers import record


def fhicl_record(run: int, files: dict[str, bytes] | None = None, *, config: str = "standard") -> RunDocuments:
    """The usual record, its file that is no FHiCL made one."""
    usual = record(run, files, config=config)
    documents = (Document(each.name, b"a_b: 1\n") if each.kept else each for each in usual.documents)
    return replace(usual, documents=tuple(documents))


@pytest.fixture(params=list(KINDS))
def archive(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    kind = EVERY_KIND[request.param]
    name = request.node.originalname
    if name in kind.lacks:
        pytest.skip(f"not here: {kind.name}: {kind.lacks[name]}")
    if not kind.keeps_text:
        monkeypatch.setattr(request.module, "record", fhicl_record)
    with kind.make(request, tmp_path) as place:
        yield Archive(kind, place)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say what each kind of store promises, since that decides which cases it has to pass."""
    terminalreporter.section("what each kind of artdaqDB promises")
    for kind in KINDS.values():
        promises = ", ".join(name for name, kept in asdict(kind.capabilities).items() if kept)
        terminalreporter.line(f"{kind.name}: {promises or 'nothing beyond the contract'}")
