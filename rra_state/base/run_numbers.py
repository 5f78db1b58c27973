"""Sets of run numbers: contiguous sequence, ranges, gaps. Pure functions on integers; no file, no store."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Collection, Iterable
from itertools import pairwise

import orjson

from rra_state.base.errors import UsageError

_NAME = re.compile(r"[1-9][0-9]{0,17}")
_RANGE = re.compile(r"([0-9]+)(?:-([0-9]+))?")
_WIDEST_RANGE = 10_000_000


def number(name: str) -> int | None:
    """The run a directory of this name holds: plain decimal without leading zeros; None if it is no run number.

    Source: docs/design/run_records.md, Names of run directories.
    """
    return int(name) if _NAME.fullmatch(name) else None


def numbers(names: Iterable[str], suffix: str = "") -> set[int]:
    """The runs of the file names `<run><suffix>`; other names are left out.

    One regular expression over all names, since a directory has up to 100,000: twice as fast as name by name, and twice
    as fast again without other names.

    >>> sorted(numbers(["12.json", "07.json", "9.json.tmp", "3.json"], ".json"))
    [3, 12]
    """
    text = "\0".join([*names, ""])  # no file name holds a NUL
    name = rf"({_NAME.pattern}){re.escape(suffix)}\0"
    if re.fullmatch(f"(?:{name})*+", text):
        listed = text.replace(f"{suffix}\0", ",").removesuffix(",")
        return set(orjson.loads(f"[{listed}]"))
    return set(map(int, re.findall(rf"(?<![^\0]){name}", text)))


def last_contiguous(archived: Iterable[int], start: int = 0) -> int:
    """Highest run of the unbroken sequence that follows `start`.

    start: 0 begins at the lowest archived run; the result is 0 if there is none.
    Source: docs/design/state.md, Last contiguous run.

    >>> last_contiguous([100, 101, 102, 105])
    102
    >>> last_contiguous([101, 102, 104, 105], start=100)
    102
    >>> last_contiguous([])
    0
    """
    ordered = sorted(set(archived))
    if not start:
        start = ordered[0] - 1 if ordered else 0
    after = ordered[bisect_right(ordered, start) :]
    # Up to the first gap the run at each place is `start + 1 + place`, from there on it is higher.
    return start + bisect_right(range(len(after)), start + 1, key=lambda place: after[place] - place)


def ranges(runs: Iterable[int]) -> list[tuple[int, int]]:
    """Ascending, closed ranges that cover exactly these runs.

    >>> ranges([3, 1, 2, 7])
    [(1, 3), (7, 7)]
    """
    found: list[tuple[int, int]] = []
    for run in sorted(set(runs)):
        if found and run == found[-1][1] + 1:
            found[-1] = (found[-1][0], run)
        else:
            found.append((run, run))
    return found


def text(runs: Iterable[int]) -> str:
    """Ranges as text.

    >>> text([1, 2, 3, 7])
    '1-3,7'
    """
    return ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges(runs))


def parse(selection: str) -> set[int]:
    """The runs that `100-200,305` names. Raises UsageError.

    >>> sorted(parse("7, 1-3"))
    [1, 2, 3, 7]
    """
    chosen: set[int] = set()
    for part in filter(None, (part.strip() for part in selection.split(","))):
        match = _RANGE.fullmatch(part)
        low, high = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if low > high or low < 1 or number(str(high)) is None or high - low > _WIDEST_RANGE:
            raise UsageError(f'"{part}" is no run or range of runs', hint="write 100-200,305")
        chosen.update(range(low, high + 1))
    return chosen


def wrongly_named(selection: str, found: Collection[int]) -> set[int]:
    """The runs that a selection names one by one and that are not `found`; if no run is found, all that it names.

    A range may have gaps.

    >>> wrongly_named("7, 1-3", {2}), wrongly_named("1-3", {7}), wrongly_named("1-3", {2})
    ({7}, {1, 2, 3}, set())
    """
    named = parse(selection)
    if named.isdisjoint(found):
        return named
    return {int(part) for part in map(str.strip, selection.split(",")) if part.isdecimal()}.difference(found)


def gaps(runs: Iterable[int]) -> list[tuple[int, int]]:
    """Closed ranges of numbers missing between the lowest and the highest run.

    >>> gaps([100, 101, 104, 106])
    [(102, 103), (105, 105)]
    """
    return [(low[1] + 1, high[0] - 1) for low, high in pairwise(ranges(runs))]
