"""The breakages of tests/reliability/prove_tests_bite.py fit the code as it is, and the page lists them."""

from __future__ import annotations

from tests.paths import REPOSITORY
from tests.reliability.prove_tests_bite import BREAKAGES


def test_every_breakage_fits_the_code_as_it_is() -> None:
    stale = [each.name for each in BREAKAGES if (REPOSITORY / each.file).read_text().count(each.old) != 1]

    assert stale == []


def test_every_breakage_names_tests_that_exist() -> None:
    paths = {path for each in BREAKAGES for path in each.tests if path.startswith("tests/")}

    assert [path for path in sorted(paths) if not (REPOSITORY / path).exists()] == []


def test_the_page_lists_every_breakage() -> None:
    text = (REPOSITORY / "docs" / "reliability.md").read_text()

    assert [each.name for each in BREAKAGES if f"| {each.name} |" not in text] == []
