"""The pages against the code: links lead somewhere; classes of failure, options and keys are described."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from rra_state.base.errors import ArchiverError
from rra_state.cli.options import parser
from rra_state.config import loading
from rra_state.reporting import failures
from rra_state.state.outcome import DIFFERS, MARKER_DIFFERS, RECORD_DIFFERS
from tests.paths import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
ALL_PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
README = REPOSITORY / "README.md"
KEYS = REPOSITORY / "config" / "README.md"
ROLES = sorted((REPOSITORY / "ansible").rglob("README.md"))
OUTSIDE = [README, KEYS, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md", *ROLES]
"""Pages that do not lie in docs/."""
TROUBLESHOOT = REPOSITORY / "docs" / "troubleshoot.md"
NO_FAILURES = {"ArchiverError", "ConfigError", "UsageError", "NotSent"}
"""Classes of errors that no run fails with."""
OTHERS_OPTIONS = {"--config", "--configfile", "--directory", "--digest", "--eval", "--user"}
"""Options of Snakemake, curl and mongosh, not of ours, that messages name."""


def test_every_class_of_failure_is_explained() -> None:
    of_errors = {name for name, kind in _errors() if not (kind.stops_cycle or kind.postpones)} - NO_FAILURES
    others = {failures.NOT_ATTEMPTED, failures.LISTED, failures.DAMAGED, DIFFERS, MARKER_DIFFERS, RECORD_DIFFERS}
    text = TROUBLESHOOT.read_text()

    assert sorted(name for name in of_errors | others if f"`{name}`" not in text) == []


def test_every_option_a_message_recommends_exists() -> None:
    options = _options() | OTHERS_OPTIONS
    unknown = [
        f"{place}: {option}"
        for place, sentence in _sentences()
        for option in re.findall(r"(?<![\w-])--[a-z*][a-z*-]+", sentence)
        if not any(fnmatch(known, option) for known in options)
    ]

    if unknown:
        pytest.fail("no option of the command line:\n" + "\n".join(unknown), pytrace=False)


def test_every_option_of_the_command_line_is_described() -> None:
    text = _text_of([README, *PAGES])

    missing = [
        action.option_strings
        for action in parser()._actions
        if action.option_strings and action.dest != "help"
        if not any(re.search(rf"(?<![\w-]){option}(?![\w-])", text) for option in action.option_strings)
    ]

    assert missing == []


def test_every_key_of_the_configuration_is_in_its_manual() -> None:
    sections = dict(re.findall(r"^### `?([\w .]+?)`?$(.*?)(?=^###|\Z)", KEYS.read_text(), re.MULTILINE | re.DOTALL))

    missing = [
        f"{section}: {key}"
        for section, key in _keys(loading.Settings)
        if f"| `{key}` |" not in sections.get(section, "")
    ]

    assert missing == []


def test_every_page_is_two_links_from_the_first() -> None:
    reached = {README}
    for _ in range(2):
        reached |= {target for page in reached for target in _linked(page)}

    assert [str(page) for page in ALL_PAGES if page not in reached] == []


def _linked(page: Path) -> set[Path]:
    targets = re.findall(r"\]\(([^)#\s:]+\.md)", page.read_text())
    return {path for target in targets if (path := (page.parent / target).resolve()).is_file()}


@pytest.mark.parametrize("page", [*OUTSIDE, *ALL_PAGES], ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_every_link_leads_somewhere(page: Path) -> None:
    broken = []
    for target, anchor in re.findall(r"\]\(([^)#\s]*)(?:#([^)\s]*))?\)", page.read_text()):
        if "://" in target:
            continue
        file = page.parent / target if target else page
        if not file.exists() or (anchor and anchor not in _anchors(file)):
            broken.append(f"{target}#{anchor}" if anchor else target)

    assert broken == []


# ---- pages ---------------------------------------------------------------------------------------------------------


def _text_of(pages: list[Path]) -> str:
    """The pages in one line, so that a message may be wrapped there."""
    return " ".join(" ".join(page.read_text() for page in pages).replace(r"\|", "|").split())


def _anchors(page: Path) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _errors() -> Iterator[tuple[str, type[ArchiverError]]]:
    """ArchiverError and all that is derived from it in the package."""
    waiting = [ArchiverError]
    while waiting:
        kind = waiting.pop()
        yield kind.__name__, kind
        waiting.extend(each for each in kind.__subclasses__() if each.__module__.startswith("rra_state."))


def _options() -> set[str]:
    return {option for action in parser()._actions for option in action.option_strings if option.startswith("--")}


def _keys(model: type[BaseModel], section: str = "") -> Iterator[tuple[str, str]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _keys(field.annotation, f"{section}.{name}".lstrip("."))
        else:
            yield section or "Top level", name


# ---- messages ------------------------------------------------------------------------------------------------------


@cache
def _modules() -> dict[Path, ast.Module]:
    return {path: ast.parse(path.read_text()) for path in sorted((REPOSITORY / "rra_state").rglob("*.py"))}


def _sentences() -> Iterator[tuple[str, str]]:
    """Every text in the code of more than one word, with a star for each value in it, and its place."""
    for path, tree in _modules().items():
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)]
        parts = {id(part) for text in texts for part in text.values}
        for node in ast.walk(tree):
            sentence = ""
            if isinstance(node, ast.JoinedStr):
                sentence = "".join(str(part.value) if isinstance(part, ast.Constant) else "*" for part in node.values)
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
                sentence = node.value
            if " " in sentence and "\n" not in sentence:
                yield f"{path.relative_to(REPOSITORY)}:{node.lineno}", sentence
