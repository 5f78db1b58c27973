"""The markers of a stage as columns, and a copy of them that is read instead of a hundred thousand files.

    <work_dir>/state/catalog/<stage>.json           the time of the markers' directory, and a digest per block
    <work_dir>/state/catalog/<stage>-<block>.json   the columns of 1,000 run numbers

The copy only saves work: it is used where it is proven to be of the markers as they are, and who holds the archive's
lock may renew it. Reading 200,000 markers takes 2 s, and ten to a hundred times that if they are not in memory.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rra_state.base import files, run_numbers
from rra_state.base.errors import WorkDirError
from rra_state.state.counts import seconds
from rra_state.state.markers import Tree
from rra_state.state.outcome import Stage

Column = list[Any]

NAMES: dict[Stage, tuple[str, ...]] = {
    "import": ("archived", "verified", "configuration", "version", "start_time", "stop_time", "kept", "skipped"),
    "migrate": ("archived", "verified", "size", "ucondb_id"),
}
"""The keys of a marker that reports show."""

BLOCK = 1000
SETTLED_SECONDS = 0.1
"""A directory whose time is younger may change again without its time: file systems count in ticks."""
_FORMAT = 1

log = logging.getLogger("rra")


@dataclass(frozen=True, slots=True)
class Shelf:
    """The markers of one stage, column by column in the order of `runs`; what a marker does not say is None.

    damaged: what is wrong with those that cannot be read; their rows hold nothing.
    """

    runs: list[int] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    damaged: list[str] = field(default_factory=list)

    def by_run(self, name: str) -> dict[int, Any]:
        """One column by run."""
        return dict(zip(self.runs, self.columns[name], strict=True))

    def extend(self, other: Shelf) -> None:
        """Put the runs of another one behind these."""
        self.runs.extend(other.runs)
        self.damaged.extend(other.damaged)
        for name, column in other.columns.items():
            self.columns[name].extend(column)


def read(tree: Tree, stage: Stage, archived: Set[int], *, renew: bool = False) -> Shelf:
    """The markers of these runs, which are all there are, ascending. renew: renew the copy. Raises WorkDirError."""
    copy = _Copy(tree, stage)
    shelf = copy.whole(archived)
    return shelf if shelf is not None else _assemble(tree, stage, archived, copy, renew=renew)


def _assemble(tree: Tree, stage: Stage, archived: Set[int], copy: _Copy, *, renew: bool) -> Shelf:
    """Block by block: the copy where it is of these very files, else the files."""
    stamp = copy.stamp()
    digests = _digests(tree, stage) if renew or copy.exists() else {}
    blocks: dict[int, list[int]] = {}
    for run in sorted(archived):
        blocks.setdefault(run // BLOCK, []).append(run)
    shelf, fresh = _empty(stage), {}
    for block, members in blocks.items():
        part = copy.block(block, digests.get(block))
        if part is None or part.runs != members:
            part = _from_files(tree, stage, members)
            if not part.damaged and block in digests:
                fresh[block] = part
        shelf.extend(part)
    if renew:
        copy.renew(stamp, digests, fresh)
    return shelf


def _from_files(tree: Tree, stage: Stage, members: Sequence[int]) -> Shelf:
    shelf = _empty(stage)
    appends = [(name, column.append) for name, column in shelf.columns.items()]
    for run, values in tree.markers(stage, members):
        if isinstance(values, WorkDirError):
            shelf.damaged.append(str(values))
            values = {}  # noqa: PLW2901 - its row holds nothing
        shelf.runs.append(run)
        for name, append in appends:
            append(values.get(name))
    shelf.columns["archived"][:] = map(_second, shelf.columns["archived"])
    return shelf


def _digests(tree: Tree, stage: Stage) -> dict[int, str]:
    """What tells each block of marker files from any later one: their names, inodes and times."""
    found: dict[int, list[tuple[int, int, int]]] = {}
    try:
        with os.scandir(tree.marker_path(stage, 1).parent) as entries:
            for entry in entries:
                run = run_numbers.number(entry.name.removesuffix(".json"))
                if run is not None:
                    status = entry.stat(follow_symlinks=False)
                    found.setdefault(run // BLOCK, []).append((run, status.st_ino, status.st_mtime_ns))
    except OSError:
        return {}  # a file vanished meanwhile: then the files themselves are read
    return {block: _digest(stage, sorted(stamps)) for block, stamps in found.items()}


def _digest(stage: Stage, stamps: object) -> str:
    return hashlib.sha256(f"{_FORMAT} {NAMES[stage]} {stamps}".encode()).hexdigest()


class _Copy:
    """The copy of one stage's markers on disk. What of it cannot be read does not exist."""

    def __init__(self, tree: Tree, stage: Stage) -> None:
        self._stage = stage
        self._markers = tree.marker_path(stage, 1).parent
        self._directory = tree.root / "state" / "catalog"

    def stamp(self) -> list[int] | None:
        """Inode and time of the markers' directory: every marker that comes, goes or is replaced changes it."""
        try:
            status = self._markers.stat()
        except OSError:
            return None
        return [status.st_ino, status.st_mtime_ns]

    def exists(self) -> bool:
        """Whether there is any; a site without a page makes none."""
        return self._index().exists()

    def whole(self, archived: Set[int]) -> Shelf | None:
        """All of it, if nothing happened in the markers' directory since it was made."""
        index = _load(self._index())
        stamp = self.stamp()
        if stamp is None or index.get("stamp") != stamp or index.get("format") != _FORMAT:
            return None
        shelf = _empty(self._stage)
        for block, digest in sorted((int(block), digest) for block, digest in index.get("blocks", {}).items()):
            part = self.block(block, digest)
            if part is None:
                return None
            shelf.extend(part)
        return shelf if len(shelf.runs) == len(archived) and set(shelf.runs) == archived else None

    def block(self, number: int, digest: str | None) -> Shelf | None:
        """One block, if it has this digest."""
        values = _load(self._block(number)) if digest else {}
        columns, names = values.get("columns"), NAMES[self._stage]
        if not digest or values.get("digest") != digest or not isinstance(columns, dict):
            return None
        members = values.get("runs")
        if not isinstance(members, list) or columns.keys() != set(names):
            return None
        return Shelf(members, columns) if all(len(column) == len(members) for column in columns.values()) else None

    def renew(self, stamp: list[int] | None, digests: Mapping[int, str], fresh: Mapping[int, Shelf]) -> None:
        """Write the blocks that are new, then the index. What fails is told nobody: it costs time only."""
        if stamp is None:
            return
        index: dict[str, Any] = {"format": _FORMAT, "blocks": {str(block): digests[block] for block in sorted(digests)}}
        time.sleep(max(0.0, min(SETTLED_SECONDS, stamp[1] / 1e9 + SETTLED_SECONDS - time.time())))
        index["stamp"] = stamp if self.stamp() == stamp else None
        if not fresh and _load(self._index()) == index:
            return
        try:
            files.make_directory(self._directory)
            files.write_batch((self._block(block), _dump(part, digests[block])) for block, part in fresh.items())
            files.write_atomic(self._index(), json.dumps(index).encode())
        except OSError as error:
            log.debug("the copy of the markers cannot be written: %s", error)

    def _index(self) -> Path:
        return self._directory / f"{self._stage}.json"

    def _block(self, number: int) -> Path:
        return self._directory / f"{self._stage}-{number}.json"


def _load(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return values if isinstance(values, dict) else {}


def _dump(part: Shelf, digest: str) -> bytes:
    return json.dumps({"digest": digest, "runs": part.runs, "columns": part.columns}, separators=(",", ":")).encode()


def _empty(stage: Stage) -> Shelf:
    return Shelf(columns={name: [] for name in NAMES[stage]})


def _second(text: object) -> int | None:
    found = seconds(text)
    return None if found is None else int(found)
