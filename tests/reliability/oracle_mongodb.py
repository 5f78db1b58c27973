"""What really is in an artdaqDB in MongoDB, read without the archiver's code; the rest is in oracle.py.

Format: docs/design/artdaqdb.md, MongoDB.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from pymongo.database import Database

from tests.reliability.oracle import Files, stored_files

Tree = dict[str, Any]
_VERSION = re.compile(r"(\d+)/.*?(?:v(\d+))?")


def in_artdaqdb(database: Database[Tree]) -> dict[int, Files]:
    """The files of the newest version of each run; none if it is another program's."""
    return {run: stored_files(trees) for run, trees in _newest(database)}


def of_other_programs(database: Database[Tree]) -> dict[int, set[str]]:
    """The entities of each run whose newest version is another program's: all of its configuration."""
    foreign = {run for run, trees in _newest(database) if not stored_files(trees)}
    found: dict[int, set[str]] = {run: set() for run in foreign}
    for version, trees in _versions(database).items():
        run, _ = _numbers(version)
        if run in foreign:
            found[run].update(each["name"] for tree in trees for each in tree["entities"])
    return found


def _newest(database: Database[Tree]) -> Iterator[tuple[int, Sequence[Tree]]]:
    newest: dict[int, tuple[int, str]] = {}
    versions = _versions(database)
    for version in versions:
        run, number = _numbers(version)
        newest[run] = max(newest.get(run, (-1, "")), (number, version))
    for run, (_, version) in newest.items():
        yield run, versions[version]


def _versions(database: Database[Tree]) -> dict[str, Sequence[Tree]]:
    """The documents of each version: of the archiver's own those of a whole one, else those of other programs."""
    theirs: defaultdict[str, list[Tree]] = defaultdict(list)
    ours: defaultdict[tuple[str, str, int], dict[str, Tree]] = defaultdict(dict)
    for tree in database["RunHistory"].find({"configurations": {"$ne": []}}):
        values = tree["origin"]["rawdata"]
        pairs = dict(zip(values[::2], values[1::2], strict=True))
        if pairs:
            content = tree["version"], pairs["rra:content"], int(pairs["rra:documents"])
            ours[content][pairs["rra:file"]] = tree
        else:
            theirs[tree["version"]].append(tree)
    whole = {version: [*trees.values()] for (version, _, number), trees in ours.items() if len(trees) == number}
    return theirs | whole


def _numbers(version: str) -> tuple[int, int]:
    """The run, and the number of its version."""
    match = _VERSION.fullmatch(version)
    assert match is not None, version
    return int(match[1]), int(match[2] or 0)
