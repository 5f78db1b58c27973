"""Names: a class name stands for one thing in the whole package; a test's name is a sentence of ten words."""

from __future__ import annotations

import re
from collections import defaultdict

from tests.paths import REPOSITORY

PACKAGE = REPOSITORY / "rra_state"
_NUMBER = re.compile(r"^test_(case_((and_)?[a-g]\d+[a-d]?_)+|case_[acf]_|seed_practice_\d_)?")
"""What stands before the sentence: the number of a case, or of a practice of the guide."""
_CLASS = re.compile(r"^class (\w+)", re.MULTILINE)


def test_no_two_classes_have_the_same_name() -> None:
    files: dict[str, list[str]] = defaultdict(list)

    for path in PACKAGE.rglob("*.py"):
        for name in _CLASS.findall(path.read_text(encoding="utf-8")):
            files[name].append(str(path.relative_to(PACKAGE)))

    assert {name: sorted(where) for name, where in files.items() if len(where) > 1} == {}


def test_no_tests_name_has_more_than_ten_words() -> None:
    texts = [path.read_text(encoding="utf-8") for path in (REPOSITORY / "tests").rglob("*.py")]
    names = {name for text in texts for name in re.findall(r"^ *def (test_\w+)", text, re.MULTILINE)}

    assert sorted(name for name in names if len(_NUMBER.sub("", name).split("_")) > 10) == []
