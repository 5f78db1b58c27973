"""A program that writes to records while they are read: `python -m tests.reliability.restless DIRECTORY SEED LOG`.

Each step changes one file of one record at once: rewritten in place, replaced, grown, emptied, gone, a FIFO.
What each record then is stands in LOG before the step is taken, one line of JSON each: so whoever reads a record and
finds something that stands nowhere in LOG has read parts of several.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from random import Random

NAMES = tuple(f"{number:02}.fcl" for number in range(40))
METADATA = b"Config name: restless\nDAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"
BURST, PAUSE = 100, 0.02
"""So many steps on one record without a rest, and seconds of rest: half of the readers come in between."""
GROWN = b"grown: true\n"


def make(directory: Path) -> None:
    """A record before anything happens to it."""
    directory.mkdir(parents=True)
    (directory / "metadata.txt").write_bytes(METADATA)
    for name in NAMES:
        (directory / name).write_bytes(content(0))


def content(step: int) -> bytes:
    return b"step: %06d\n" % step


def change(path: Path, step: int, way: str) -> bytes | None:
    """What the file is after this step; None: nothing that is archived."""
    if way == "rewrite" and path.is_file():
        with open(path, "r+b", buffering=0) as stream:
            stream.write(content(step))
        return path.read_bytes()
    if way == "grow" and path.is_file():
        with open(path, "ab", buffering=0) as stream:
            stream.write(GROWN)
        return path.read_bytes()
    if way == "empty" and path.is_file():
        os.truncate(path, 0)
        return b""
    if way == "remove":
        path.unlink(missing_ok=True)
        return None
    made = path.with_name("made")
    if way == "fifo":
        os.mkfifo(made)
        made.replace(path)
        return None
    made.write_bytes(content(step))
    made.replace(path)
    return content(step)


WAYS = ("rewrite", "rewrite", "rewrite", "replace", "replace", "replace", "grow", "empty", "remove", "fifo")


def _after(now: bytes | None, step: int, way: str) -> bytes | None:
    """What `change` will make of it, to be written down first."""
    if now is None and way in ("rewrite", "grow", "empty"):
        return content(step)
    return {
        "rewrite": content(step) + (now or b"")[len(content(step)) :],
        "grow": (now or b"") + GROWN,
        "empty": b"",
        "remove": None,
        "fifo": None,
        "replace": content(step),
    }[way]


def main(directory: Path, seed: int, log: Path) -> None:
    """Go on until killed."""
    chance, step = Random(seed), 0
    records = sorted(directory.iterdir(), key=lambda path: path.name)
    states: dict[str, dict[str, bytes | None]] = {each.name: dict.fromkeys(NAMES, content(0)) for each in records}
    with open(log, "w", encoding="ascii") as stream:
        for each in records:
            _note(stream, each.name, states[each.name])
        record = records[0]
        while True:
            step += 1
            if step % BURST == 0:
                record = chance.choice(records)
                time.sleep(PAUSE)
            name, way = (
                NAMES[step % len(NAMES)],
                chance.choice(WAYS),
            )  # in the order of reading: one overtakes the other
            states[record.name][name] = _after(states[record.name][name], step, way)
            _note(stream, record.name, states[record.name])
            change(record / name, step, way)


def _note(stream: object, run: str, state: dict[str, bytes | None]) -> None:
    files = {name: text.decode("ascii") for name, text in state.items() if text is not None}
    print(json.dumps([run, files]), file=stream, flush=True)  # type: ignore[call-overload]


def seen(log: Path) -> dict[str, set[frozenset[tuple[str, bytes]]]]:
    """Every state that each record ever had."""
    states: dict[str, set[frozenset[tuple[str, bytes]]]] = {}
    for line in log.read_text(encoding="ascii").splitlines():
        try:
            run, files = json.loads(line)
        except ValueError:
            continue  # the last one, cut
        states.setdefault(run, set()).add(frozenset((name, text.encode()) for name, text in files.items()))
    return states


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]))
