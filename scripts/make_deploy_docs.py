"""Write the tables of variables in docs/deploy.md from the roles' argument_specs.yml and defaults/main.yml.

`--check` changes nothing and ends with status 1 if the page is out of date. Raises ValueError if a role's two files
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
PAGE = ROOT / "docs/deploy.md"
BEGIN = "<!-- begin of the tables that scripts/make_deploy_docs.py writes -->"
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


def tables() -> str:
    """One table per role, and one for the entries of rra_instances."""
    return "\n".join(line for role in ("run_record_archiver", "ucondb_dev") for line in _role(ROLES / role))


def _role(role: Path) -> Iterator[str]:
    known = specs(role)
    defaults(role)
    yield from _table(f"Role `{role.name}`", known)
    for name, spec in known.items():
        if "options" in spec:
            yield from _table(f"Each entry of `{name}`", spec["options"])


def _table(title: str, options: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    yield from (f"### {title}", "", "| Variable | Type | Default | Meaning |", "| --- | --- | --- | --- |")
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


def page(text: str) -> str:
    """The page with its tables renewed. Raises ValueError if a marker comment is missing."""
    return renewed(text, BEGIN, END, tables(), "docs/deploy.md")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or look whether it is up to date; the exit status."""
    return write_or_check(arguments, "scripts.make_deploy_docs", {PAGE: page(PAGE.read_text())})


if __name__ == "__main__":
    sys.exit(main())
