"""Sources that the code cites can be opened: each cited page and heading exists in this repository."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

CODE = ("rra_state", "workflow", "rules", "scripts")
KINDS = (".py", ".smk", ".sql", ".md", "Snakefile")

_CITATION = re.compile(r"(docs/[\w/-]+\.md), (?=([A-Z].{0,100}))")
_OUTSIDE = re.compile(r"\.\./shared|DESIGN(\.md)? sections?|State Management Guide|\bspec/\w+\.md|\b[Tt]he seed\b")


def test_every_cited_heading_exists() -> None:
    missing = [
        f"{path.relative_to(REPOSITORY)}: {page}, {cited}"
        for path, text in _files(*CODE, "tests")
        for page, cited in _CITATION.findall(text)
        if not any(_begins(cited, heading) for heading in _headings(page))
    ]

    if missing:
        pytest.fail("no such heading:\n" + "\n".join(missing), pytrace=False)


def test_every_cited_page_exists() -> None:
    missing = [
        f"{path.relative_to(REPOSITORY)}: {page}"
        for path, text in _files(*CODE)
        for page in re.findall(r"docs/[\w/-]+\.md", text)
        if not (REPOSITORY / page).is_file()
    ]

    assert missing == []


def test_no_source_lies_outside_the_repository() -> None:
    outside = [
        f"{path.relative_to(REPOSITORY)}: {found[0]}"
        for path, text in _files(*CODE)
        for found in _OUTSIDE.finditer(text)
    ]

    assert outside == []


def test_the_search_for_citations_finds_them() -> None:
    cited = {page for _, text in _files("rra_state") for page, _ in _CITATION.findall(text)}

    assert cited >= {f"docs/design/{name}.md" for name in ("architecture", "state", "run_records", "fhicl", "artdaqdb")}


def _files(*folders: str) -> Iterator[tuple[Path, str]]:
    """Every file of these folders, each with its text in one line, so that a citation may be wrapped there."""
    for folder in folders:
        for path in sorted((REPOSITORY / folder).rglob("*")):
            if path.name.endswith(KINDS) and path.is_file() and path != Path(__file__).resolve():
                yield path, re.sub(r"\s*\n\s*(?:# )?", " ", path.read_text())


def _headings(page: str) -> list[str]:
    path = REPOSITORY / page
    return re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE) if path.is_file() else []


def _begins(cited: str, heading: str) -> bool:
    """Whether a text begins with this heading, as a whole."""
    return re.match(rf"{re.escape(heading)}(?!\w)", cited) is not None
