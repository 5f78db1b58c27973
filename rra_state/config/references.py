"""`${...}` in configuration values: environment variables, keys of the same section, keys of other sections.

Only the form with braces is expanded: a bare `$` is an ordinary character (passwords have them).
Source: docs/design/architecture.md, Configuration values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import expandvars

from rra_state.base.errors import ConfigError

_REFERENCE = re.compile(r"\$\{(?:[^{}]|\{[^{}]*\})*\}")
_KEY = re.compile(r"\$\{([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(?=[}:])")
_VARIABLE = re.compile(r"\$\{[A-Za-z_]\w*[^\w\s.]")
_DEFAULT = re.compile(r"\$\{([A-Za-z_]\w*):-(.*)\}", re.DOTALL)
_SECRETS = ("password", "token")
_WITH_SECRETS = (*_SECRETS, "uri", "url", "urls")
"""Ends of the keys whose values are not shown."""


def expand(mapping: dict[str, Any], environ: Mapping[str, str], path: Path) -> dict[str, Any]:
    """The mapping with every reference in every string resolved.

    A key of the same section wins over `section.key`, and that over the environment. An unset variable is an error,
    but for passwords and tokens, which are then empty: a report can be read without them. Raises ConfigError.
    """
    return _Expander(mapping, environ, path).table(mapping, ())


class _Expander:
    def __init__(self, mapping: dict[str, Any], environ: Mapping[str, str], path: Path) -> None:
        self._root = mapping
        self._environ = environ
        self._path = path
        self._expanding: list[str] = []

    def table(self, values: dict[str, Any], where: tuple[str, ...]) -> dict[str, Any]:
        return {key: self._value(value, (*where, str(key))) for key, value in values.items()}

    def _value(self, value: Any, where: tuple[str, ...]) -> Any:
        if isinstance(value, dict):
            return self.table(value, where)
        if isinstance(value, list):
            return [self._value(item, where) for item in value]
        if isinstance(value, str) and "\0" in value:
            raise self._error(where, "holds a NUL character", "remove it")
        if isinstance(value, str) and "${" in value:
            return self._text(value, where)
        return value

    def _text(self, value: str, where: tuple[str, ...]) -> str:
        name = ".".join(where)
        if name in self._expanding:
            raise self._error(where, f"refers to itself: {' -> '.join([*self._expanding, name])}")
        self._expanding.append(name)
        try:
            return self._replaced(value, where)
        finally:
            self._expanding.pop()

    def _replaced(self, value: str, where: tuple[str, ...]) -> str:
        if "${" in _REFERENCE.sub("", value) and not where[-1].endswith(_SECRETS):
            raise self._not_expanded(where, value, "a brace is not closed")
        return _REFERENCE.sub(lambda match: self._reference(match[0], where), value)

    def _reference(self, reference: str, where: tuple[str, ...]) -> str:
        key = _KEY.match(reference)
        target = self._lookup(key[1], where) if key else None
        if target is not None:
            return str(self._value(*target))
        default = _DEFAULT.fullmatch(reference)
        if default:
            return self._environ.get(default[1]) or self._replaced(default[2], where)
        if not _VARIABLE.match(reference):
            raise self._not_expanded(where, reference, "neither a key nor a variable")
        try:
            return str(expandvars.expand(reference, environ=self._environ, nounset=True))
        except expandvars.UnboundVariable:
            if where[-1].endswith(_SECRETS):
                return ""
            raise self._error(where, f"{reference} is not set", "export it, or write ${NAME:-default}") from None
        except expandvars.ExpandvarsException as error:
            raise self._not_expanded(where, reference, str(error)) from error

    def _lookup(self, key: str, where: tuple[str, ...]) -> tuple[Any, tuple[str, ...]] | None:
        """The value that a key of the same section, or a dotted key, names."""
        for location in ((*where[:-1], key), tuple(key.split("."))):
            value: Any = self._root
            for part in location:
                value = value.get(part) if isinstance(value, dict) else None
            if value is not None and not isinstance(value, dict) and location != where:
                return value, location
        return None

    def _not_expanded(self, where: tuple[str, ...], text: str, reason: str) -> ConfigError:
        if where[-1].endswith(_WITH_SECRETS):
            return self._error(where, "a reference in it cannot be expanded", "see config/README.md, Expansion")
        return self._error(where, f"{text} cannot be expanded: {reason}")

    def _error(self, where: tuple[str, ...], message: str, hint: str | None = None) -> ConfigError:
        return ConfigError(f"{'.'.join(where)}: {message}", path=self._path, hint=hint)
