"""Write the tables of variables in the roles' README.md from their argument_specs.yml and defaults/main.yml.

`--check` changes nothing and ends with status 1 if a page is out of date. Raises ValueError if a role's two files
disagree.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from scripts.generated import renewed, write_or_check

ROOT = Path(__file__).resolve().parent.parent
ROLES = ROOT / "ansible/roles"
NAMES = ("run_record_archiver", "ucondb_dev")
BEGIN = "<!-- begin of the tables that scripts/make_role_docs.py writes -->"
END = "<!-- end of the tables -->"


def specs(role: Path) -> dict[str, Mapping[str, Any]]:
    """Every variable of a role with its specification, those of all entry points together."""
    entries = yaml.safe_load((role / "meta/argument_specs.yml").read_text())["argument_specs"]
    return {name: spec for entry in entries.values() for name, spec in entry["options"].items()}


def defaults(role: Path) -> dict[str, Any]:
    """The role's defaults. Raises ValueError if a specification names another."""
    found: dict[str, Any] = yaml.safe_load((role / "defaults/main.yml").read_text())
    known = specs(role)
    for name, value in found.items():
        if name not in known:
            raise ValueError(f"{role.name}: {name} has a default and no specification")
        if "default" in known[name] and known[name]["default"] != value:
            raise ValueError(f"{role.name}: {name} is {value!r} by default, its specification says otherwise")
    for name, spec in known.items():
        if "default" in spec and name not in found:
            raise ValueError(f"{role.name}: {name} lacks its default")
    return found


def tables(role: Path) -> str:
    """One table for the variables, and one for the entries of each variable that holds such."""
    return "\n".join(_lines(role))


def _lines(role: Path) -> Iterator[str]:
    known = specs(role)
    defaults(role)
    yield from _table("Variables", known)
    for name, spec in known.items():
        if "options" in spec:
            yield from _table(f"Each entry of `{name}`", spec["options"])


def _table(title: str, options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from (f"## {title}", "", "| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |")
    for name, spec in options.items():
        kind = " or ".join(f"`{choice}`" for choice in spec["choices"]) if "choices" in spec else spec["type"]
        default = (
            "**required**"
            if spec.get("required")
            else f"`{json.dumps(spec['default'])}`"
            if "default" in spec
            else "none"
        )
        yield f"| `{name}` | {kind} | {default} | {spec['description']} |"
    yield ""


def page(role: Path) -> str:
    """The README of a role with its tables renewed. Raises ValueError if a marker comment is missing."""
    path = role / "README.md"
    return renewed(path.read_text(), BEGIN, END, tables(role), str(path))


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the pages, or look whether they are up to date; the exit status."""
    pages = {ROLES / name / "README.md": page(ROLES / name) for name in NAMES}
    return write_or_check(arguments, "scripts.make_role_docs", pages)


if __name__ == "__main__":
    sys.exit(main())
