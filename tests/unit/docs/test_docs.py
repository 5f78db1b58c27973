"""The pages against the code: a message can be looked up, a link leads somewhere, an option and a key are described."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest
from pydantic import BaseModel

from rra_state.cli.options import parser
from rra_state.config import loading
from tests.paths import REPOSITORY

PAGES = sorted((REPOSITORY / "docs").glob("*.md"))
ALL_PAGES = sorted((REPOSITORY / "docs").rglob("*.md"))
README = REPOSITORY / "README.md"
KEYS = REPOSITORY / "config" / "README.md"
OUTSIDE = [README, KEYS, REPOSITORY / "CONTRIBUTING.md", REPOSITORY / "CHANGELOG.md"]
"""Pages that do not lie in docs/."""
OTHERS_OPTIONS = {"--config", "--configfile", "--directory", "--digest", "--eval", "--user"}
"""Options of Snakemake, curl and mongosh, not of ours, that messages name."""

Pieces = tuple[str, ...]
"""The constant parts of a message."""


@dataclass(frozen=True)
class Message:
    """A message that the code can print, by its constant parts."""

    place: str
    pieces: Pieces

    @property
    def wanted(self) -> str:
        """The longest part: what a person would search for."""
        return max((piece.strip(" .,:;()[]{}\"'") for piece in self.pieces), key=len, default="")


def test_every_message_can_be_looked_up() -> None:
    text = _text_of(PAGES)

    missing = [
        f"{message.place}: {message.wanted}"
        for message in _messages()
        if len(message.wanted) > 3 and message.wanted not in text
    ]

    if missing:
        pytest.fail(
            "add to docs/troubleshoot.md, or correct there:\n" + "\n".join(dict.fromkeys(missing)), pytrace=False
        )


def test_the_search_for_messages_finds_them() -> None:
    found = {message.wanted for message in _messages()}

    assert {
        "the archiver is already running",
        "neither on disk nor in artdaqDB",
        "it is not a JSON object",
        "the worker process that had this run died twice",
        "is not a FHiCL value",
        "the artdaqDB directory cannot be used",
        "is already archived",
        "has no stop time",
    } <= found


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


@cache
def _errors() -> dict[str, str]:
    """Names of ArchiverError and all that is derived from it, with their default messages."""
    classes = [node for tree in _modules().values() for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    found: dict[str, str] = {}
    while True:
        more = {
            each.name: ast.get_docstring(each) or ""
            for each in classes
            if each.name == "ArchiverError" or any(_last(base) in found for base in each.bases)
        }
        if more.keys() == found.keys():
            return found
        found = more


def _messages() -> Iterator[Message]:
    """Messages of errors, log lines, notes, and what is printed on stderr."""
    makers = dict(_makers())
    for path, tree in _modules().items():
        for function, node in _nodes(tree):
            for pieces in _of_node(node, function, makers):
                yield Message(f"{path.relative_to(REPOSITORY)}:{node.lineno}", pieces)


def _of_node(node: ast.AST, function: ast.AST, makers: dict[str, set[int]]) -> Iterator[Pieces]:
    match node:
        case ast.Call(func=func) if _last(func) in _errors():
            message = _argument(node, 0, "message")
            yield from [(_errors()[_last(func)],)] if message is None else _alternatives(message, function)
        case ast.Call(func=func) if _last(func) in makers:
            for place in makers[_last(func)]:
                argument = _argument(node, place, "")
                yield from _alternatives(argument, function) if argument is not None else ()
        case ast.Call(func=ast.Name("Remark" | "Skipped"), args=[*_, message]):
            yield from _alternatives(message, function)
        case ast.Call(func=ast.Attribute(attr="warning" | "error"), args=[message, *_]):
            yield from _alternatives(message, function)
        case ast.Call(func=ast.Name("print"), args=[message, *_], keywords=[_, *_]):
            yield from _alternatives(message, function)
        case ast.Raise(exc=ast.Name(name)) if name in _errors():
            yield (_errors()[name],)
        case ast.Yield(ast.Tuple([ast.Attribute(ast.Name("logging"), level), message])) if level != "DEBUG":
            yield from _alternatives(message, function)
        case ast.Assign(targets=[ast.Name("note" | "message")]):
            yield from _alternatives(node.value, function)


def _makers() -> Iterator[tuple[str, set[int]]]:
    """Functions that make an error of a text they are given, and which argument it is: `fault(place, message)`."""
    found: dict[str, set[int]] = {}
    for tree in _modules().values():
        for function, node in _nodes(tree):
            if not (isinstance(node, ast.Call) and _last(node.func) in _errors() and node.args):
                continue
            message = node.args[0]
            passed = message.values[-1] if isinstance(message, ast.JoinedStr) and message.values else message
            passed = passed.value if isinstance(passed, ast.FormattedValue) else passed
            names = (
                [each.arg for each in function.args.args if each.arg not in ("self", "cls")]
                if _is_def(function)
                else []
            )
            if isinstance(passed, ast.Name) and passed.id in names:
                found.setdefault(function.name, set()).add(names.index(passed.id))
    yield from found.items()


def _alternatives(node: ast.AST, function: ast.AST) -> Iterator[Pieces]:
    """The constant parts of a text; several if it is one of several texts."""
    match node:
        case ast.Constant(str(text)):
            yield tuple(re.split(r"%[-\d.]*[a-z]", " ".join(text.split())))
        case ast.JoinedStr(values):
            yield tuple(" ".join(str(part.value).split()) for part in values if isinstance(part, ast.Constant))
        case ast.BinOp(left, ast.Add(), right):
            parts = [[*_alternatives(each, function)] or [()] for each in (left, right)]
            yield from ((*first, *second) for first in parts[0] for second in parts[1])
        case ast.IfExp(_, body, orelse):
            yield from _alternatives(body, function)
            yield from _alternatives(orelse, function)
        case ast.Name(name):
            for each in ast.walk(function):
                if isinstance(each, ast.Assign) and any(getattr(target, "id", "") == name for target in each.targets):
                    yield from _alternatives(each.value, function)


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


def _nodes(tree: ast.Module) -> Iterator[tuple[ast.AST, ast.AST]]:
    """Every node with the innermost function around it."""
    waiting: list[tuple[ast.AST, ast.AST]] = [(tree, tree)]
    while waiting:
        function, node = waiting.pop()
        yield function, node
        inner = node if _is_def(node) else function
        waiting.extend((inner, child) for child in ast.iter_child_nodes(node))


def _is_def(node: ast.AST) -> bool:
    return isinstance(node, ast.FunctionDef)


def _argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    if len(call.args) > place:
        return call.args[place]
    return next((keyword.value for keyword in call.keywords if keyword.arg == name), None)


def _last(name: ast.AST) -> str:
    """`self.source.fault` -> `fault`."""
    return ast.unparse(name).rpartition(".")[2] if isinstance(name, ast.Name | ast.Attribute) else ""
