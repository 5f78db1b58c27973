"""FHiCL parameters of many runs: `rra_state.parameters`, `rra_state.history` and `--parameters`. Loads pandas.

Reads artdaqDB, and UconDB for runs that artdaqDB has no more. Only the documents in which a parameter could match are
read, those of RUNS_AT_ONCE runs at a time.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pandas as pd

from rra_state.base.errors import BlobError, FhiclError, VerificationError
from rra_state.base.wording import by_text, printable, which_runs
from rra_state.config.loading import Settings
from rra_state.records import blob
from rra_state.records.fhicl.values import Scalar
from rra_state.records.parameters import Patterns, python, stem_of
from rra_state.state.markers import Tree
from rra_state.stores import artdaqdb
from rra_state.stores.ucondb.client import UconDB

RUNS_AT_ONCE = 50

_log = logging.getLogger("rra")
_DTYPES = (({bool}, "boolean"), ({int}, "Int64"), ({int, float}, "Float64"), ({str}, "string"))
"""The type of a column by the types of its values; else `object`."""
_FLOAT64_INT = range(-(2**53), 2**53 + 1)
"""Whole numbers that a Float64 holds with every digit."""
_INFINITE = {float("inf"): "+infinity", float("-inf"): "-infinity"}
_INT64 = range(-(2**63), 2**63)


def table(settings: Settings, runs: Iterable[int] | None, patterns: Iterable[str]) -> pd.DataFrame:
    """The frame of `rra_state.parameters`."""
    found: list[int] = []
    columns: dict[str, list[Any]] = {}
    for run, values in _read(settings, runs, Patterns(patterns)):
        for name, value in values.items():
            column = columns.setdefault(name, [])
            column += [None] * (len(found) - len(column))
            column.append(python(value))
        found.append(run)
    named = {name: _typed(columns[name], len(found)) for name in sorted(columns)}
    return pd.DataFrame({"run": pd.Series(found, dtype="int64"), **named})


def history(settings: Settings, pattern: str, runs: Iterable[int] | None) -> pd.DataFrame:
    """The frame of `rra_state.history`."""
    rows: list[_Period] = []
    last: dict[str, _Period] = {}
    for run, values in _read(settings, runs, Patterns([pattern])):
        for name, value in values.items():
            if name not in last or last[name].value != value:
                last[name] = _Period(name, value, run)
                rows.append(last[name])
            last[name].add(run)
    rows.sort(key=lambda row: (row.parameter, row.first))
    return pd.DataFrame(
        {
            "parameter": pd.Series([row.parameter for row in rows], dtype="string"),
            "value": _typed([python(row.value) for row in rows], len(rows)),
            "first": pd.Series([row.first for row in rows], dtype="int64"),
            "last": pd.Series([row.last for row in rows], dtype="int64"),
            "runs": pd.Series([row.runs for row in rows], dtype="int64"),
        }
    )


class _Period:
    """Runs in which a parameter had the same value; runs without it may lie between them."""

    __slots__ = ("first", "last", "parameter", "runs", "value")

    def __init__(self, parameter: str, value: Scalar, first: int) -> None:
        self.parameter, self.value, self.first, self.last, self.runs = parameter, value, first, first, 0

    def add(self, run: int) -> None:
        self.last, self.runs = run, self.runs + 1


def text(frame: pd.DataFrame, form: str) -> str:
    """A frame of `table` as the command line prints it: text, csv or json."""
    if form == "json":
        # Without missing values. JSON has no infinite numbers: they become texts.
        rows = [
            {name: _INFINITE.get(value, value) for name, value in row.items() if not pd.isna(value)}
            for row in frame.astype(object).to_dict("records")
        ]
        return json.dumps(rows, indent=1) + "\n"
    shown = frame.astype(object).map(lambda value: printable(value) if isinstance(value, str) else value)
    shown.columns = [printable(name) for name in shown.columns]
    if form == "csv":
        return str(shown.to_csv(index=False))
    return shown.map(lambda value: str(value) or '""', na_action="ignore").to_string(index=False, na_rep="-") + "\n"


# ---- values --------------------------------------------------------------------------------------------------------


def _typed(values: list[Any], rows: int) -> pd.Series[Any]:
    """A column of `rows` rows; the rows after the last value have none."""
    types = {type(value) for value in values if value is not None}
    dtype = next((name for kinds, name in _DTYPES if types and types <= kinds), "object")
    whole = {"Int64": _INT64, "Float64": _FLOAT64_INT}.get(dtype)
    if whole is not None and not all(value in whole for value in values if type(value) is int):
        dtype = "object"
    return pd.Series(values + [None] * (rows - len(values)), dtype=dtype)


# ---- reading -------------------------------------------------------------------------------------------------------


def _read(
    settings: Settings, runs: Iterable[int] | None, patterns: Patterns
) -> Iterator[tuple[int, Mapping[str, Scalar]]]:
    """Each archived run, ascending, with its parameters that match. Raises StoreError, VerificationError."""
    store, ucondb = artdaqdb.open_store(settings.artdaq_db), UconDB(settings.ucon_db)
    held = store.runs()
    archived = held | Tree(settings.app.work_dir).archived("migrate")
    ordered = sorted(archived if runs is None else archived.intersection(runs))
    chooser = _Chooser(patterns)
    for first in range(0, len(ordered), RUNS_AT_ONCE):
        some = ordered[first : first + RUNS_AT_ONCE]
        # Only the files in which a parameter could match.
        parts = [each.only(patterns.may_match_in) for each in store.locate(held.intersection(some)).values()]
        exported = {each.run: each.files for each in store.exports(parts)}
        for run in some:
            yield run, chooser.chosen(run, exported[run] if run in exported else _of_ucondb(ucondb, run))
    chooser.log_unread()


def _of_ucondb(ucondb: UconDB, run: int) -> Mapping[str, bytes]:
    """The files of a run that artdaqDB does not have."""
    found = ucondb.get(run)
    if found is None:
        raise VerificationError("neither artdaqDB nor UconDB has it", run=run, hint=f"--show {run}, or leave it out")
    try:
        return blob.of_run(run, found[0]).files
    except BlobError as error:
        raise VerificationError(f"UconDB: {error.message}", run=run) from error


class _Chooser:
    """Chooses the parameters of run after run. A file that is the same as in the run before is not parsed again."""

    def __init__(self, patterns: Patterns) -> None:
        self._patterns = patterns
        self._before: dict[str, tuple[bytes, Mapping[str, Scalar]]] = {}
        self._unread: dict[int, list[str]] = {}

    def chosen(self, run: int, files: Mapping[str, bytes]) -> Mapping[str, Scalar]:
        """The parameters in these files that match, without full names that two of the files have."""
        found: dict[str, Scalar] = {}
        file_of: dict[str, str] = {}
        twice: set[str] = set()
        for name, content in files.items():
            stem = stem_of(name)
            if stem is None:
                continue
            if name not in self._before or self._before[name][0] != content:
                try:
                    self._before[name] = content, self._patterns.chosen(stem, content)
                except FhiclError as error:
                    self._before.pop(name, None)
                    self._unread.setdefault(run, []).append(f"{name}: {error}; its parameters are missing")
                    continue
            chosen = self._before[name][1]
            for full_name in sorted(found.keys() & chosen.keys()):
                both = " and in ".join(sorted((file_of[full_name], name)))
                self._unread.setdefault(run, []).append(f"{full_name} is in {both}; left out")
                twice.add(full_name)
            found |= chosen
            file_of |= dict.fromkeys(chosen, name)
        return {full_name: value for full_name, value in found.items() if full_name not in twice}

    def log_unread(self) -> None:
        """Name the files that are archived and are no FHiCL, and the full names that are left out."""
        for text, runs in by_text(self._unread):
            _log.warning("%s: %s", which_runs(runs), text)
