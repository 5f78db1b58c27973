"""known_boardreaders_list.txt to known_boardreaders_list.fcl. Source: docs/design/run_records.md, Board readers."""

from __future__ import annotations

import re

from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

_WORD = re.compile(r'"([^"]*)"|("[^"]*\Z)|([^ \t\v\f]+)')


def to_fhicl(data: bytes) -> bytes:
    """One list of strings per board reader: host, port, subsystem, processors, command prefix, as far as given.

    Blanks inside the quotes of the prefix stay; a quote that is never closed takes the rest of the line.
    """
    entries = Entries()
    for line in lines.split(data):
        text = lines.without_comment(line)
        if text:
            name, *words = ("".join(word) for word in _WORD.findall(text))
            entries.add(name, words)
    return entries.text().encode("ascii")
