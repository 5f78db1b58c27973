"""ranks.txt to ranks.fcl. Source: docs/design/run_records.md, Ranks."""

from __future__ import annotations

from rra_state.records import fhicl
from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

_RANK_COLUMN = 4


def to_fhicl(data: bytes) -> bytes:
    """A table with `header` and one `rank<N>` per row; a row too short to have a rank is `line_<number>`."""
    entries = Entries()
    header: list[str] | None = None
    for number, line in enumerate(lines.split(data), 1):
        words = line.split()
        if not words or words[0].startswith("#"):
            continue
        if header is None:
            header = words
            entries.add("header", words)
        elif len(words) > _RANK_COLUMN:
            entries.add(f"rank{words[_RANK_COLUMN]}", words)
        else:
            entries.add(f"line_{number}", words)
    if header is None:
        entries.add("header", fhicl.sequence([]))
    return f"ranks: {{\n{entries.body('  ')}}}\n".encode("ascii")
