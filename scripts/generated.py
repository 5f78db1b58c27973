"""Pages that a script makes, as a whole or between two comments. `--check` changes nothing."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from rra_state.base import files


def write_or_check(arguments: Sequence[str] | None, script: str, wanted: Mapping[Path, str]) -> int:
    """Write the files that differ from what they should hold; with `--check` name them instead.

    script: name of the module that makes them. Returns the exit status: 1 if `--check` found one.
    """
    parser = argparse.ArgumentParser(prog=f"python -m {script}", description=f"Write {', '.join(map(str, wanted))}.")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 if a file is out of date")
    check = parser.parse_args(arguments).check
    stale = [path for path, text in wanted.items() if not path.is_file() or path.read_text(encoding="utf-8") != text]
    for path in stale:
        print(f"{path} is out of date: .venv/bin/python -I -m {script}" if check else f"{path} written")
        if not check:
            files.write_atomic(path, wanted[path].encode())
    return 1 if check and stale else 0


def renewed(text: str, begin: str, end: str, content: str, page: str) -> str:
    """The text with `content` between its two comments. Raises ValueError, naming `page`, if one of them is missing."""
    before, found, rest = text.partition(begin)
    _, closed, after = rest.partition(end)
    if not (found and closed):
        raise ValueError(f"{page} lacks one of the marker comments {begin} and {end}")
    return f"{before}{begin}\n\n{content}\n{end}{after}"
