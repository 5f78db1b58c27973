"""ranks.txt to ranks.fcl. Source: docs/design/run_records.md, Ranks."""

from __future__ import annotations

from rra_state.records import fhicl
from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

_RANK_COLUMN = 4


def to_fhicl(data: bytes) -> bytes:
    """A table with `header` and one `rank<N>` per row; a row too short to have a rank is `line_<number>`.

    The rank is in the column that the heading calls `rank` (the fourth in 2018 and 2019), else in the fifth.
    """
    entries = Entries()
    header: list[str] | None = None
    column = _RANK_COLUMN
    for number, line in enumerate(lines.split(data), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if header is None:
            header = words
            column = words.index("rank") if "rank" in words else _RANK_COLUMN
            entries.add("header", words)
        elif len(words) > column:
            entries.add(f"rank{words[column]}", words)
        else:
            entries.add(f"line_{number}", words)
    if header is None:
        entries.add("header", fhicl.sequence([]))
    return f"ranks: {{\n{entries.body('  ')}}}\n".encode("ascii")
