"""Run records as a DAQ might leave them on a bad day, each different: what a restore has to give back."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

from scripts.make_run_records import record_files

DELIMITERS = b"#####\nboot.fcl:\n#####\n# #####\r\nEnd of Record\nRun Number: 1\n# # End of Record\n"
CONTENTS = (
    b"",
    b"a: 1",
    b"a: 1\r\nb: 2\r\n",
    b"caf\xe9: \xff\n",
    DELIMITERS,
    b"\0" * 9,
    b"a: {",
    b"\xef\xbb\xbfa: 1\n",
    b"\r",
)
LONG_ESCAPED = "\xe9" * 60 + ".fcl"
"""Cut in the stores: only artdaqDB keeps the whole name beside it."""
NAMES = (
    "note.txt", "rc_info_start.txt", "boot.fcl", "boot_txt.fcl", "metadata.fcl", "RunHistory.fcl", "RunHistory2.fcl",
    "setup.fcl", "ranks_txt.fcl", "schema.fcl", "hashes.fcl", "reader 1.fcl", "d\xe9tecteur.fcl", "Z\udce4hlung.fcl",
    'quote"\\.fcl', "line\nend.fcl", ".fcl", ".note.txt.tmp", "100%41.fcl", "a%2Fb.txt", "-rf", "no suffix",
    "READER.fcl", "boot.TXT", "x" * 251 + ".fcl", "\u202eright to left", LONG_ESCAPED,
)  # fmt: skip
BESIDE: dict[str, Callable[[Path], object]] = {
    "link.fcl": lambda path: path.symlink_to("/etc/passwd"),
    "folder": Path.mkdir,
    "pipe": os.mkfifo,
}
"""What is never archived."""


def make(directory: Path, run: int) -> dict[str, bytes]:
    """Write a record, always the same for a run; return its files by name, bytes that are not UTF-8 as surrogates."""
    chance = random.Random(run)
    usual = record_files(run)
    kept = {name for name in usual if name.endswith(".txt") and chance.random() < 0.9} | {min(usual)}
    files = {name: usual[name] for name in kept}
    for name in chance.sample(NAMES, chance.randrange(6)):
        files[name] = chance.choice(CONTENTS)
    for name in chance.sample(sorted(kept), chance.randrange(min(4, len(kept)))):
        files[name] = chance.choice([*CONTENTS, files[name].replace(b"\n", b"\r\n"), files[name] + DELIMITERS])
    record = directory / str(run)
    record.mkdir(parents=True)
    for name, data in files.items():
        (record / name).write_bytes(data)
    if chance.random() < 0.2:
        name = chance.choice(sorted(BESIDE))
        BESIDE[name](record / name)
    return files


def found(directory: Path) -> dict[str, bytes]:
    """The files of a directory."""
    return {
        os.fsencode(path.name).decode("utf-8", "surrogateescape"): path.read_bytes()
        for path in directory.iterdir()
        if path.is_file() and not path.is_symlink()
    }
