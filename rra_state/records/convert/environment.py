"""environment.txt to environment.fcl. Source: docs/design/run_records.md, Environment."""

from __future__ import annotations

import re

from rra_state.records import fhicl
from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

# DAQInterface writes `export NAME=value` only. Without `export`, one of its own names is a variable too; all else
# continues the value above.
_VARIABLE = re.compile(r"[ \t]*(?:(?:export|declare -x)[ \t]+([^\s=]+)|(DAQINTERFACE_\w+))[ \t]*=(.*)", re.DOTALL)


def to_fhicl(data: bytes) -> bytes:
    """One string per variable. Values are not quoted in the text, so quotes are part of them.

    A line that defines no variable continues the value above it; before the first variable it becomes `line_<number>`.
    """
    variables: list[tuple[str, list[str]]] = []
    entries = Entries()
    for number, line in enumerate(lines.split(data), 1):
        if match := _VARIABLE.fullmatch(line):
            variables.append((match[1] or match[2], [match[3]]))
        elif variables:
            variables[-1][1].append(line)
        elif lines.strip(line):
            entries.add(f"line_{number}", fhicl.quote(line))
    for name, value in variables:
        entries.add(name, fhicl.quote("\n".join(value).strip(lines.BLANKS + "\n")))
    return entries.text().encode("ascii")
