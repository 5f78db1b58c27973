"""Names: a class name stands for one thing in the whole package."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "rra_state"
_CLASS = re.compile(r"^class (\w+)", re.MULTILINE)


def test_no_two_classes_have_the_same_name() -> None:
    files: dict[str, list[str]] = defaultdict(list)

    for path in PACKAGE.rglob("*.py"):
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            files[name].append(str(path.relative_to(PACKAGE)))

    assert {name: sorted(where) for name, where in files.items() if len(where) > 1} == {}
