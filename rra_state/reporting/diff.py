"""`--diff RUN RUN`: read the records of two runs wherever they are, and show what differs. Only reads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from rra_state.base.errors import ArchiverError, UsageError
from rra_state.base.wording import count, printable
from rra_state.config.loading import Settings
from rra_state.records.comparison import FileChange, ParameterChange, RecordComparison, compare, contents
from rra_state.records.parameters import json_value
from rra_state.workers.record_copies import NAMES, SOURCES, RecordCopy, read_copy
from rra_state.workers.worker import WorkerContext

_SIGNS = {"came": "+", "went": "-", "changed": "~", "bytes": "~"}
_STYLES = {"  + ": "green", "  - ": "red", "  ~ ": "yellow"}


def show(settings: Settings, runs: Sequence[int], form: str) -> bool:
    """Print what differs between two runs, as text or json; True if they are equal.

    Raises UsageError if nothing has a run, or the error of the source that has it.
    """
    context = WorkerContext(settings)
    copies = [_read(run, context) for run in runs]
    found = compare(*(contents(copy.run, copy.files, copy.by_value) for copy, _ in copies))
    written = _json(found, copies) if form == "json" else _text(found, copies)
    if form == "text" and sys.stdout.isatty():
        from rra_state.reporting import text  # noqa: PLC0415 - colours are for terminals

        text.show(written, sys.stdout, _STYLES)
    else:
        sys.stdout.write(written)
    return found.equal


def _read(run: int, context: WorkerContext) -> tuple[RecordCopy, list[str]]:
    """The record from the first source that can give it, and cautions about the comparison."""
    notes: list[str] = []
    errors: list[ArchiverError] = []
    for source in SOURCES:
        try:
            copy = read_copy(run, source, context)
        except ArchiverError as error:
            errors.append(error)
            notes.append(f"not read from {NAMES[source]}: {error}")
        else:
            if copy is not None:
                return copy, [*notes, *_cautions(copy)]
    if errors:
        raise errors[0]
    raise UsageError(f"run {run} is nowhere: not on disk, not in artdaqDB, not in UconDB")


def _cautions(copy: RecordCopy) -> Iterator[str]:
    yield from (*copy.problems, *copy.unknown)
    yield from (f"{each}; not compared" for each in copy.left_out)
    if copy.by_value:
        yield f"{count(len(copy.by_value), 'file')} known by value only; bytes not compared"


# ---- as text -------------------------------------------------------------------------------------------------------


def _text(found: RecordComparison, copies: Sequence[tuple[RecordCopy, list[str]]]) -> str:
    titles = [f"run {copy.run} ({NAMES[copy.source]})" for copy, _ in copies]
    summary = _summary(found, whole=all(copy.exact for copy, _ in copies))
    head = [f"{' -> '.join(titles)}: {summary}"]
    head += [f"caution: run {copy.run}: {each}" for copy, notes in copies for each in notes]
    return "".join(f"{printable(line)}\n" for line in (*head, *lines(found)))


def _summary(found: RecordComparison, *, whole: bool) -> str:
    if found.equal:
        return "no difference" if whole else "no difference in what could be compared"
    components = len(found.components_came) + len(found.components_went)
    parameters = sum(len(each.parameters) for each in found.files if each.how == "changed")
    differ = ((len(found.files), "file"), (components, "component"), (parameters, "parameter"))
    return "different: " + ", ".join(count(number, noun) for number, noun in differ if number)


def lines(found: RecordComparison) -> Iterator[str]:
    """What differs, a line each, under titles. Names are as they are on disk: not yet printable."""
    yield from _section("files", [f"{_SIGNS[each.how]} {each.name}{_remark(each)}" for each in found.files])
    components = [f"+ {name}" for name in found.components_came] + [f"- {name}" for name in found.components_went]
    yield from _section("components", components)
    changed = [each for file in found.files if file.how == "changed" for each in file.parameters]
    yield from _section("parameters", [_parameter(each) for each in changed])


def _section(title: str, lines: list[str]) -> Iterator[str]:
    if lines:
        yield title
        yield from (f"  {line}" for line in lines)


def _remark(change: FileChange) -> str:
    if change.how == "bytes":
        return ": bytes differ, values equal"
    if not change.fhicl:
        return ": bytes differ, no FHiCL" if change.how == "changed" else ""
    return f": {count(len(change.parameters), 'parameter')}"


def _parameter(change: ParameterChange) -> str:
    if change.before is None or change.after is None:
        sign, value = ("+", change.after) if change.before is None else ("-", change.before)
        return f"{sign} {change.name}: {value.text if value else ''}"
    return f"~ {change.name}: {change.before.text} -> {change.after.text}"


# ---- as JSON -------------------------------------------------------------------------------------------------------


def _json(found: RecordComparison, copies: Sequence[tuple[RecordCopy, list[str]]]) -> str:
    before, after = ({"run": copy.run, "source": copy.source, "notes": notes} for copy, notes in copies)
    values = {
        "before": before,
        "after": after,
        "equal": found.equal,
        "whole": all(copy.exact for copy, _ in copies),
        "files": [_file(each) for each in found.files],
        "components": {"came": found.components_came, "went": found.components_went},
    }
    return json.dumps(values, indent=1) + "\n"


def _file(change: FileChange) -> dict[str, Any]:
    parameters = [_named(each) for each in change.parameters]
    return {"name": change.name, "change": change.how, "fhicl": change.fhicl, "parameters": parameters}


def _named(change: ParameterChange) -> dict[str, Any]:
    """Name and values; a value that is not there has no key, and `@nil` is null."""
    values = {"before": change.before, "after": change.after}
    return {"name": change.name} | {key: json_value(value) for key, value in values.items() if value is not None}
