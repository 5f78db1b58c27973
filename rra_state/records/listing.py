"""List the runs that have a record: one scan of the directory of run records. Opens no record."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from pathlib import Path

from rra_state.base import run_numbers
from rra_state.records import signatures
from rra_state.records.model import Skipped
from rra_state.records.signatures import Signature
from rra_state.records.source import unreadable

_NO_NUMBER = "is no run number"


@dataclass(frozen=True, slots=True)
class Listing:
    """One listing of the directory of run records. ignored: the entries that are not runs.

    signature: of the directory; None if it changed so recently that another change could leave the same times.
    """

    runs: frozenset[int]
    ignored: tuple[Skipped, ...]
    signature: Signature | None = None


def listing(run_records_dir: Path, earlier: Listing | None = None) -> Listing:
    """The runs that have a directory here. Raises SourceUnreadable.

    Scans the directory once, without a stat per entry where the file system gives the type. Does not scan it if nothing
    came or went since the `earlier` listing.
    """
    try:
        descriptor = os.open(run_records_dir, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            signature = signatures.of(os.fstat(descriptor))
            if earlier is not None and earlier.signature == signature:
                return earlier
            settled = not signatures.just_changed([signature], time.time())
            directories, ignored = list[str](), list[Skipped]()
            with os.scandir(descriptor) as entries:
                for entry in entries:
                    if entry.is_dir(follow_symlinks=False):
                        directories.append(entry.name)
                    else:
                        ignored.append(Skipped(entry.name, _why_no_run(entry)))
        finally:
            os.close(descriptor)
    except OSError as error:
        raise unreadable(run_records_dir, error) from error
    found = run_numbers.numbers(directories)
    if len(found) < len(directories):
        ignored += (Skipped(name, _NO_NUMBER) for name in directories if run_numbers.number(name) is None)
    in_order = tuple(sorted(ignored, key=lambda skipped: skipped.name))
    return Listing(frozenset(found), in_order, signature if settled else None)


def _why_no_run(entry: os.DirEntry[str]) -> str:
    """Why an entry that is not a directory is not a run."""
    if entry.is_symlink():
        return "is a link"
    return "is no directory" if run_numbers.number(entry.name) is not None else _NO_NUMBER
