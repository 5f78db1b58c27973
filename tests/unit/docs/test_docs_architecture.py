"""The page of the architecture against the package."""

from __future__ import annotations

import re

from tests.paths import REPOSITORY

PACKAGE = REPOSITORY / "rra_state"
OTHERS = {"__init__", "__pycache__", "schemas", "sql"}
"""What lies in a room and is no module to look for."""
PAGE = (REPOSITORY / "docs" / "design" / "architecture.md").read_text()


def test_the_page_names_every_module_of_every_room() -> None:
    part = PAGE[PAGE.index("The modules of each room:") : PAGE.index("The public functions of")]
    named = {
        room: set(re.findall(r"`(\w+)/?`", text))
        for room, text in re.findall(r"^- `(\w+)`: ([^-]*)", part, re.MULTILINE)
    }

    there = {
        room.name: {
            path.stem if path.suffix else path.name
            for path in (
                *room.glob("*.py"),
                *room.glob("*/*.py"),
                *(each.parent for each in room.glob("*/__init__.py")),
            )
        }
        - {"__init__"}
        for room in PACKAGE.iterdir()
        if (room / "__init__.py").exists()
    }

    assert named == there


def test_every_module_that_the_page_sends_to_exists() -> None:
    rows = PAGE[PAGE.index("## Where a change belongs") :]
    rooms = "|".join(room.name for room in PACKAGE.iterdir() if room.is_dir())
    sent = re.findall(rf"`((?:{rooms})(?:[./]\w+)*)[`/<]", rows[: rows.index("\n## ", 5)])
    missing = [
        name
        for name in sent
        if not name.endswith(".md")
        and not any((PACKAGE / f"{name.replace('.', '/')}{suffix}").exists() for suffix in (".py", ""))
        and not (PACKAGE / name.rpartition(".")[0].replace(".", "/")).with_suffix(".py").exists()
    ]

    assert missing == []
