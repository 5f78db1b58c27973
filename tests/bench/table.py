"""What the bench found, as JSON, as a Markdown table, and as the marked block of a page."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from tests.bench.rows import EVERY, Measured, Row, Target

HEAD = "| what | figure | beside it | ratio | target | verdict |"
NOT_TAKEN = "not taken"
QUIET = 2.0
"""Load of a machine that has nothing else to do, with what is left of the part before."""
_BLOCK = "<!-- bench: begin, written by tests.bench -->\n\n{text}\n\n<!-- bench: end -->"
_PATTERN = re.compile(_BLOCK.format(text=r"(.*?)"), re.DOTALL)


@dataclass(frozen=True)
class Taken:
    """When, on what, and how a part was measured. load, snakemake: right before; seconds of `snakemake --version`."""

    date: str
    commit: str
    machine: str
    command: str
    load: float
    snakemake: float


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
    rows = [row for row in EVERY[part.name] if row.key in part.figures]
    values = {"part": part.name, "taken": asdict(part.taken), "figures": [_mapping(part, row) for row in rows]}
    (directory / f"{part.name}.json").write_text(json.dumps(values, indent=1) + "\n")


def load_all(directory: Path) -> dict[str, Part]:
    """The parts as they were saved last, without those that never were."""
    return {name: _load(file) for name in EVERY if (file := directory / f"{name}.json").exists()}


def _load(file: Path) -> Part:
    values = json.loads(file.read_text())
    figures = {each["key"]: Measured(each["key"], each["values"], each["floors"]) for each in values["figures"]}
    return Part(values["part"], Taken(**values["taken"]), figures)


def _mapping(part: Part, row: Row) -> dict[str, object]:
    found = part.figures[row.key]
    return asdict(row) | {
        "values": list(found.values),
        "floors": list(found.floors),
        "figure": found.figure,
        "floor_figure": found.bottom,
        "ratio": found.ratio,
        "met": row.target.met(found),
    }


# ---- for people ----------------------------------------------------------------------------------------------------


def line(row: Row, found: Measured | None) -> str:
    """One line of the table."""
    if found is None:
        return f"| {row.what} | {NOT_TAKEN} | {row.floor} | | {_target(row.target)} | |"
    floor = "" if found.bottom is None else f"{_with_unit(found.bottom, row)} ({row.floor})"
    ratio = "" if found.ratio is None else _ratio(found.ratio)
    met = "met" if row.target.met(found) else "**missed**"
    return f"| {row.what} | {_with_unit(found.figure, row)} | {floor} | {ratio} | {_target(row.target)} | {met} |"


def markdown(parts: Mapping[str, Part], before: Mapping[str, Part] | None = None) -> str:
    """The table of these parts, and below it when and how each was taken. before: an older version's, in a column."""
    older = list((before or {}).values())
    lines = [HEAD, "| --- | --- | --- | --- | --- | --- |"]
    lines += [line(row, _found(parts, name, row)) for name in EVERY for row in EVERY[name]]
    if older:
        column = [f"{older[0].taken.commit}", "---"]
        column += [_judged(row, _found(before, name, row)) for name in EVERY for row in EVERY[name]]
        lines = [f"{text} {cell} |" for text, cell in zip(lines, column, strict=True)]
    return "\n".join([*lines, "", *_occasions(list(parts.values())), *_occasions(older)])


def _found(parts: Mapping[str, Part] | None, name: str, row: Row) -> Measured | None:
    return parts[name].figures.get(row.key) if parts and name in parts else None


def _judged(row: Row, found: Measured | None) -> str:
    """The value that the target is about; a dash if it was not taken."""
    if found is None:
        return "-"
    return _ratio(found.ratio or 0) if row.target.of == "ratio" else _with_unit(found.figure, row)


def _occasions(parts: Sequence[Part]) -> Iterator[str]:
    """When the parts were taken, those of one commit and day together."""
    groups: dict[Taken, list[Part]] = {}
    for part in parts:
        groups.setdefault(replace(part.taken, load=0, snakemake=0), []).append(part)
    for taken, group in groups.items():
        names = ", ".join(part.name for part in group)
        yield (
            f"- {names}: {taken.date}, commit {taken.commit}, {taken.machine}; `{taken.command}`;"
            f" `snakemake --version` took {_range(part.taken.snakemake for part in group)} s,"
            f" load before each part {_range(part.taken.load for part in group)}"
            + (": other programs ran too" if any(part.taken.load > QUIET for part in group) else "")
        )


def _range(values: Iterator[float]) -> str:
    found = sorted(values)
    return f"{found[0]:.1f} to {found[-1]:.1f}"


def replaced(page: str, text: str) -> str:
    """The page with this text in its marked block. Raises ValueError if it has none."""
    made, number = _PATTERN.subn(lambda _: _BLOCK.format(text=text), page)
    if number != 1:
        raise ValueError(f"the page has {number} blocks of the bench")
    return made


def block(page: str) -> str:
    """The text of the marked block. Raises ValueError if there is none."""
    found = _PATTERN.search(page)
    if found is None:
        raise ValueError("the page has no block of the bench")
    return found[1]


def _target(target: Target) -> str:
    sign = "≥" if target.kind == "at least" else "≤"
    return f"ratio {sign} {_ratio(target.limit)}" if target.of == "ratio" else f"{sign} {target.limit:g}"


def _ratio(value: float) -> str:
    return f"{100 * value:.2g} %" if value < 0.1 else f"{value:.2g}"


def _with_unit(value: float, row: Row) -> str:
    number = f"{value:,.0f}" if abs(value) >= 100 else f"{value:.2g}" if abs(value) < 10 else f"{value:.1f}"
    return f"{number} {row.unit}"
