"""Write config/config.schema.json and the key tables of config/README.md from the models of the configuration.

`--check` changes nothing and ends with status 1 if one of them is out of date.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from rra_state.config.loading import Settings
from rra_state.config.models import ConfigSection
from scripts.generated import renewed, write_or_check

DIRECTORY = Path(__file__).resolve().parent.parent / "config"
BEGIN = "<!-- begin of the tables that scripts/make_config_docs.py writes -->"
END = "<!-- end of the tables -->"

_KINDS = {"boolean": "true or false", "integer": "integer", "number": "number", "string": "text"}
_FORMATS = {"path": "path", "password": "text, secret"}
_BOUNDS = {"minimum": "from", "exclusiveMinimum": "above", "maximum": "to"}


def schema() -> dict[str, Any]:
    """JSON schema of an expanded configuration: every key with a description, optional ones with a default."""
    found = Settings.model_json_schema()
    for model in _sections(Settings):
        definition = found if model is Settings else found["$defs"][model.__name__]
        definition.pop("title", None)
        for name, field in model.model_fields.items():
            key = definition["properties"][name]
            key.pop("title", None)
            key.setdefault("description", _meaning(field))
            if not field.is_required() and _section(field) is None:
                key["default"] = _plain(field)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Run Record Archiver"} | found


def tables() -> str:
    """One Markdown table per section: key, type, default, meaning."""
    return "\n".join(_table("", Settings)).strip() + "\n"


def readme(text: str) -> str:
    """The manual with its tables renewed. Raises ValueError if a marker comment is missing."""
    return renewed(text, BEGIN, END, tables(), "config/README.md")


def main(arguments: Sequence[str] | None = None, directory: Path = DIRECTORY) -> int:
    """Write what differs, or with `--check` name it. Returns the exit status."""
    manual, schema_file = directory / "README.md", directory / "config.schema.json"
    wanted = {
        manual: readme(manual.read_text(encoding="utf-8")),
        schema_file: json.dumps(schema(), indent=2, ensure_ascii=False) + "\n",
    }
    return write_or_check(arguments, "scripts.make_config_docs", wanted)


def _sections(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    yield model
    for field in model.model_fields.values():
        section = _section(field)
        if section is not None:
            yield from _sections(section)


def _section(field: FieldInfo) -> type[ConfigSection] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, ConfigSection) else None


def _meaning(field: FieldInfo) -> str:
    section = _section(field)
    return " ".join((field.description or (section.__doc__ if section else "") or "").split())


def _plain(field: FieldInfo) -> Any:
    """The default as YAML would have it; an empty secret is an empty text."""
    value = field.get_default(call_default_factory=True)
    if isinstance(value, tuple):
        return list(value)
    if isinstance(value, bool | int | float | list) or value is None:
        return value
    return value.get_secret_value() if hasattr(value, "get_secret_value") else str(value)


def _table(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    keys = {name: field for name, field in model.model_fields.items() if _section(field) is None}
    if keys:
        properties = model.model_json_schema()["properties"]
        yield f"### `{prefix.rstrip('.')}`" if prefix else "### Top level"
        yield ""
        if prefix:
            yield " ".join((model.__doc__ or "").split())
            yield ""
        yield "| Key | Type | Default | Meaning |"
        yield "| --- | --- | --- | --- |"
        for name, field in keys.items():
            yield f"| `{name}` | {_type(properties[name])} | {_default(field)} | {_cell(_meaning(field))} |"
        yield ""
    for name, field in model.model_fields.items():
        section = _section(field)
        if section is not None:
            yield from _table(f"{prefix}{name}.", section)


def _type(key: dict[str, Any]) -> str:
    if "anyOf" in key:
        return " or ".join(_type(choice) for choice in key["anyOf"] if choice.get("type") != "null")
    if "enum" in key:
        return "one of " + ", ".join(f"`{value}`" for value in key["enum"])
    if key.get("type") == "array":
        return "list of texts" + (", secret" if key.get("items", {}).get("format") == "password" else "")
    kind = _FORMATS.get(key.get("format", ""), _KINDS[key["type"]])
    bounds = "".join(f" {word} {json.dumps(key[bound])}" for bound, word in _BOUNDS.items() if bound in key)
    return kind + bounds


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = _plain(field)
    if value is None or value in ("", []):
        return "none"
    return f"`{_cell(value if isinstance(value, str) else json.dumps(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    sys.exit(main())
