"""Turn pydantic's errors about a configuration into messages with line, key and nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from rra_state.base.errors import ConfigError

_OWN_SECTION = 0.1
_EXPECTED = {"string_type": "text (put it in quotes)", "model_type": "table of keys", "tuple_type": "list"}


def explain(error: ValidationError, model: type[BaseModel], tree: yaml.Node, path: Path) -> ConfigError:
    """One ConfigError for all findings; the line is the first one's. Values are left out: one may be a secret."""
    return _explain(error.errors(include_input=False, include_url=False), model, tree, path)


def refuse_keys(
    kind: Literal["extra_forbidden", "missing"],
    mapping: Mapping[str, Any],
    model: type[BaseModel],
    tree: yaml.Node,
    path: Path,
) -> None:
    """Raise ConfigError for keys that are unknown, or missing. References in the values need not be expanded.

    A reference that cannot be expanded may name a key that is misspelt or left out; so these errors come first.
    """
    try:
        model.model_validate(mapping)
    except ValidationError as error:
        findings = error.errors(include_input=False, include_url=False)
        if wrong := [found for found in findings if found["type"] == kind]:
            raise _explain(wrong, model, tree, path) from error


def _explain(findings: Sequence[ErrorDetails], model: type[BaseModel], tree: yaml.Node, path: Path) -> ConfigError:
    lines = [_line(tree, found["loc"]) for found in findings]
    messages = [
        (f"line {line}: " if found["type"] == "extra_forbidden" and line != lines[0] else "")
        + _message(_key(found["loc"], model), found["type"], found["msg"], model)
        for found, line in zip(findings, lines, strict=True)
    ]
    return ConfigError("; ".join(dict.fromkeys(messages)), path=path, line=lines[0])


def refuse_repeated_keys(node: yaml.Node | None, path: Path) -> None:
    """Raise ConfigError for a key given twice in one table; YAML itself would silently take the last."""
    if isinstance(node, yaml.MappingNode):
        lines: dict[str, int] = {}
        for key, value in node.value:
            line = key.start_mark.line + 1
            if key.value in lines:
                text = f"{key.value} is given twice; the first is in line {lines[key.value]}"
                raise ConfigError(text, path=path, line=line, hint="remove one")
            lines[str(key.value)] = line
            refuse_repeated_keys(value, path)


def _key(location: tuple[int | str, ...], model: type[BaseModel]) -> tuple[str, ...]:
    """The key in the file: pydantic's location may go on with a member of a union, or an item of a list."""
    names, sections = tuple(map(str, location)), {known[:-1] for known in _every_key(model)}
    depth = next((depth for depth in range(1, len(names)) if names[:depth] not in sections), len(names))
    return names[:depth]


def _message(location: tuple[str, ...], kind: str, message: str, model: type[BaseModel]) -> str:
    key = ".".join(location)
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        return f"{key} is not known; the nearest known key is {_nearest(location, model)}"
    if kind in _EXPECTED:
        return f"{key} must be a {_EXPECTED[kind]}"
    message = message.removeprefix("Value error, ")
    if not key:
        return message
    return f"{key}: {message[0].lower()}{message[1:]}"


def _nearest(location: tuple[str, ...], model: type[BaseModel]) -> str:
    """The known key, of any section, with the most similar name; one of the same section is preferred a little."""

    def likeness(known: tuple[str, ...]) -> float:
        alike = difflib.SequenceMatcher(None, location[-1], known[-1]).ratio()
        return alike + (_OWN_SECTION if known[:-1] == location[:-1] else 0)

    nearest = max(_every_key(model), key=likeness)
    return ".".join(nearest)


def _every_key(model: type[BaseModel], section: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    for name, field in model.model_fields.items():
        yield (*section, name)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            yield from _every_key(field.annotation, (*section, name))


def _line(node: yaml.Node | None, location: tuple[int | str, ...]) -> int | None:
    """Line of the deepest key of `location` that the file has."""
    line = None
    for part in location:
        if not isinstance(node, yaml.MappingNode):
            break
        for key, value in node.value:
            if key.value == str(part):
                line, node = key.start_mark.line + 1, value
                break
        else:
            break
    return line
