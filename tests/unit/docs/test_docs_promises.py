"""What the pages promise is held by tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.paths import REPOSITORY

PAGES = ("security.md", "reliability.md")

_NAME = re.compile(r"`(test_\w+)`")
_FILE = re.compile(r"`((?:tests/)?[\w/*]+\.py)`")


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    text = (REPOSITORY / "docs" / page).read_text()
    files = [path for path in (REPOSITORY / "tests").rglob("*.py") if path != Path(__file__)]
    defined = set(re.findall(r"^def (test_\w+)", "\n".join(path.read_text() for path in files), re.MULTILINE))
    missing = [name for name in _NAME.findall(text) if name not in defined]
    missing += [
        name
        for name in _FILE.findall(text)
        if not (list(REPOSITORY.glob(name)) or any(path.name == name for path in files))
    ]

    assert missing == []


def test_security_names_a_test_for_each_line() -> None:
    rows = [line for line in (REPOSITORY / "docs" / "security.md").read_text().splitlines() if line.startswith("| ")]
    held = [line for line in rows if _NAME.search(line)]

    unheld = [line for line in rows if line not in held and not line.startswith("| --- ")]
    assert [line.split("|")[1].strip() for line in unheld] == [
        "trusted",
        "its own account, root, and members of a work directory's group",
        "the configuration",
        "not trusted",
        "promise",
    ]
