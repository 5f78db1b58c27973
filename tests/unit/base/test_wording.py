"""Counts, ranges, times and names as the product writes them."""

from __future__ import annotations

import ast
import doctest
import re
from pathlib import Path

import rra_state
from rra_state.base import wording

PLURAL = re.compile(r"\0 (runs|records|markers|failures|discrepancies|attempts|reasons|cycles)\b(?![:/])")


def test_the_examples_of_wording_are_right() -> None:
    assert doctest.testmod(wording).failed == 0


def test_no_module_writes_a_number_before_a_fixed_plural() -> None:
    found = []
    for path in Path(rra_state.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr):
                text = "".join(part.value if isinstance(part, ast.Constant) else "\0" for part in node.values)
                if PLURAL.search(text):
                    found.append(f"{path.name}: {ast.unparse(node)}")

    assert found == []
