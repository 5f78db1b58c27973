"""What the bench found, as JSON, as a Markdown table, and as the marked block of a page."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.bench.rows import EVERY, Measured, Row, Target

HEAD = "| what | figure | floor | ratio | target | verdict |\n| --- | --- | --- | --- | --- | --- |"
NOT_TAKEN = "not taken"
QUIET = 2.0
"""Load of a machine that has nothing else to do, with what is left of the part before."""
_BLOCK = "<!-- {name}: begin, written by tests.bench -->\n\n{text}\n\n<!-- {name}: end -->"


@dataclass(frozen=True)
class Taken:
    """When, on what, and how a part was measured. load: of the machine right before, so not the bench's own."""

    date: str
    commit: str
    machine: str
    command: str
    load: float


@dataclass(frozen=True)
class Part:
    """One part of the bench with its figures by row."""

    name: str
    taken: Taken
    figures: Mapping[str, Measured]


# ---- on the disk ---------------------------------------------------------------------------------------------------


def save(directory: Path, part: Part) -> None:
    """Write `<part>.json`."""
    directory.mkdir(parents=True, exist_ok=True)
    values = {"part": part.name, "taken": asdict(part.taken), "figures": [_mapping(part, row) for row in _rows(part)]}
    (directory / f"{part.name}.json").write_text(json.dumps(values, indent=1) + "\n")


def load(directory: Path, name: str) -> Part | None:
    """The part as it was saved last; None if it never was."""
    file = directory / f"{name}.json"
    if not file.exists():
        return None
    values = json.loads(file.read_text())
    figures = {each["key"]: Measured(each["key"], each["values"], each["floors"]) for each in values["figures"]}
    return Part(name, Taken(**values["taken"]), figures)


def _rows(part: Part) -> list[Row]:
    return [row for row in EVERY[part.name] if row.key in part.figures]


def _mapping(part: Part, row: Row) -> dict[str, object]:
    found = part.figures[row.key]
    return asdict(row) | {
        "values": list(found.values),
        "floors": list(found.floors),
        "figure": found.figure,
        "floor_figure": found.bottom,
        "ratio": found.ratio,
        "met": None if row.target is None else row.target.met(found),
    }


# ---- for people ----------------------------------------------------------------------------------------------------


def line(row: Row, found: Measured | None) -> str:
    """One line of the table."""
    if found is None:
        return f"| {row.what} | {NOT_TAKEN} | {row.floor} | | {_target(row.target)} | |"
    figure = f"{_number(found.figure)} {row.unit}".strip()
    floor = "" if found.bottom is None else f"{_number(found.bottom)} {row.unit}".strip()
    ratio = "" if found.ratio is None else _number(found.ratio)
    met = "" if row.target is None else ("met" if row.target.met(found) else "**missed**")
    return f"| {row.what} | {figure} | {floor} ({row.floor}) | {ratio} | {_target(row.target)} | {met} |"


def markdown(names: Collection[str], parts: Mapping[str, Part]) -> str:
    """The table of these parts, and below it when and how each was taken."""
    lines = [HEAD]
    for name in names:
        figures = parts[name].figures if name in parts else {}
        lines += [line(row, figures.get(row.key)) for row in EVERY[name]]
    return "\n".join([*lines, "", *_occasions([part for name, part in parts.items() if name in names])])


def _occasions(parts: Sequence[Part]) -> Iterator[str]:
    """When the parts were taken, those of one commit and day together."""
    loads: dict[Taken, dict[str, float]] = {}
    for part in parts:
        loads.setdefault(replace(part.taken, load=0), {})[part.name] = part.taken.load
    for taken, by_part in loads.items():
        names = f"{', '.join(by_part)}: " if len(loads) > 1 else ""
        shared = f"load before each part {min(by_part.values()):.1f} to {max(by_part.values()):.1f}"
        shared += ": others were at work too" if max(by_part.values()) > QUIET else ""
        yield f"- {names}{taken.date}, commit {taken.commit}, {taken.machine}; `{taken.command}`; {shared}"


def replaced(page: str, name: str, text: str) -> str:
    """The page with this text in its marked block. Raises ValueError if it has none."""
    block = _BLOCK.format(name=name, text=text)
    made, number = re.subn(_pattern(name), lambda _: block, page)
    if number != 1:
        raise ValueError(f"the page has {number} blocks named {name}")
    return made


def block(page: str, name: str) -> str:
    """The text of a marked block. Raises ValueError if there is none."""
    found = re.search(_pattern(name), page)
    if found is None:
        raise ValueError(f"the page has no block named {name}")
    return found[1]


def _pattern(name: str) -> re.Pattern[str]:
    return re.compile(_BLOCK.format(name=re.escape(name), text=r"(.*?)"), re.DOTALL)


def _target(target: Target | None) -> str:
    if target is None:
        return ""
    what = "ratio " if target.of == "ratio" else ""
    return f"{what}{'≥' if target.kind == 'at least' else '≤'} {target.limit:g}"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}" if abs(value) < 10 else f"{value:.1f}"
