"""The page on stores promises what the stores declare."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

from tests.contract.kinds import KINDS

PAGE = Path(__file__).parents[2] / "docs" / "stores.md"


def test_the_page_on_stores_promises_what_each_kind_declares() -> None:
    heading, *rows = [
        [cell.strip() for cell in row.strip("|").split("|")]
        for row in re.findall(r"^\|.*\|$", PAGE.read_text(), re.MULTILINE)
        if not row.startswith("| ---")
    ]

    promised = {
        row[0].strip("`").partition(":")[0]: dict(zip(heading[1:], (cell == "yes" for cell in row[1:]), strict=True))
        for row in rows
    }

    assert promised == {name: asdict(kind.capabilities) for name, kind in KINDS.items()}
