"""Restore stage: records from artdaqDB or UconDB -> directories as the DAQ wrote them.

Takes run numbers and returns one RestoredRun per run. Changes no store, no marker, and no file or directory that is
there already.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from rra_state.base import files, host_limits
from rra_state.base.errors import ArchiverError, Interrupted, RecordError, StoreError, UsageError, VerificationError
from rra_state.base.host_limits import within_memory
from rra_state.stores.artdaqdb.base import Location
from rra_state.workers.record_copies import NAMES, RecordCopy, Source, read_copy
from rra_state.workers.worker import WorkerContext

PARTIAL = ".partial"
"""Directory in the target in which records are written before they are renamed to their places."""
_BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EILSEQ, errno.EINVAL})
"""Errnos of a file name that the target's file system does not take: errors of this run."""


@dataclass(frozen=True, slots=True)
class RestoredRun:
    """Outcome for one run.

    copy: what is in its directory now, without the contents; None if it was not restored. already: it was there before.
    refused: a store that should have it could not give it. sentences: what a person should know. error: a store, or the
    disk, cannot be used: no further run was begun.
    """

    run: int
    copy: RecordCopy | None = None
    already: bool = False
    refused: bool = False
    sentences: tuple[str, ...] = ()
    error: ArchiverError | None = None


def restore_runs(
    numbers: Sequence[int],
    context: WorkerContext,
    located: Mapping[int, Location],
    *,
    directory: Path,
    sources: Sequence[Source],
) -> list[RestoredRun]:
    """Write `directory/<run>` for each of these runs, from the first source that has it exactly.

    located: where artdaqDB holds them. While one run is written the next is read.
    """
    chunk = _RestoringChunk(context, directory, sources)
    results: list[RestoredRun] = []
    reading = (context.sender.submit(within_memory, run, partial(chunk.read, run, located.get(run))) for run in numbers)
    following = next(reading)
    for run in numbers:
        try:
            if context.stopping:
                raise Interrupted
            found, following = following, next(reading, following)
            results.append(within_memory(run, partial(chunk.write, run, *found.result())))
        except (VerificationError, RecordError) as error:
            results.append(RestoredRun(run, sentences=(error.message,)))
        except ArchiverError as error:
            results.append(RestoredRun(run, error=error))
            break
    try:
        files.place_directories(chunk.written)
    except OSError as error:
        return [RestoredRun(numbers[0], error=_not_written(error))]
    return results


class _RestoringChunk:
    """Reads and writes the runs of a chunk. A store that did not answer is not asked again.

    written: directories that are complete, each with its place.
    """

    def __init__(self, context: WorkerContext, directory: Path, sources: Sequence[Source]) -> None:
        self.written: dict[Path, Path] = {}
        self._context = context
        self._directory = directory
        self._sources = sources
        self._unusable: dict[Source, StoreError] = {}

    def read(self, run: int, location: Location | None) -> tuple[RecordCopy, tuple[str, ...]]:
        """The first exact copy, else the one that lacks least; and why other sources did not give one."""
        found: list[RecordCopy] = []
        refused: list[str] = []
        for source in self._sources:
            try:
                if source == "artdaqdb" and location is None:
                    copy = None
                elif source in self._unusable:
                    raise self._unusable[source]
                else:
                    copy = read_copy(run, source, self._context, location)
            except (VerificationError, RecordError) as error:
                refused.append(f"{NAMES[source]} cannot give it: {error.message}")
                continue
            except StoreError as error:
                self._unusable[source] = error
                if len(self._sources) == 1 or len(self._unusable) == len(self._sources):
                    raise
                refused.append(f"{NAMES[source]} cannot be asked: {error.message}")
                continue
            if copy is None:
                refused.append(f"{NAMES[source]} does not have it")
            elif not (copy.by_value or copy.problems):  # what was left out is in no store
                return copy, tuple(refused)
            else:
                found.append(copy)
        if not found:
            raise VerificationError("; ".join(refused), run=run)
        return min(found, key=lambda copy: (len(copy.problems), len(copy.by_value))), tuple(refused)

    def write(self, run: int, copy: RecordCopy, refused: Sequence[str]) -> RestoredRun:
        """Write one run beside its place. Raises ArchiverError."""
        first = copy.source == self._sources[0] and not (copy.by_value or copy.problems)
        chosen = () if first or len(self._sources) == 1 else (f"taken from {NAMES[copy.source]}",)
        sentences = (*refused, *chosen, *_sentences(copy))
        done = RestoredRun(run, replace(copy, files={}), refused=bool(refused), sentences=sentences)
        place = self._directory / str(run)
        if os.path.lexists(place):
            hint = "choose another directory, or move that one away"
            try:
                there = read_directory(place)
            except OSError as error:
                text = f"{place} is there already and cannot be read: {host_limits.plain(error)}; left alone"
                raise VerificationError(text, run=run, hint=hint) from error
            if there != copy.files:
                text = f"{place} is there already and holds something else; left alone"
                raise VerificationError(text, run=run, hint=hint)
            return replace(done, already=True)
        part = self._directory / PARTIAL / str(run)
        try:
            files.write_directory(part, copy.files)
            if read_directory(part) != copy.files:
                raise VerificationError("what was written is not what is read back; nothing is left", run=run)
        except ValueError as error:
            raise VerificationError(f"{NAMES[copy.source]}: {error}; nothing was written", run=run) from error
        except OSError as error:
            if error.errno in _BAD_NAME:
                shutil.rmtree(part)
                raise VerificationError(f"a file cannot be written: {host_limits.plain(error)}", run=run) from error
            raise _not_written(error) from error
        self.written[part] = place
        return done


def _sentences(copy: RecordCopy) -> Iterator[str]:
    """What a person should know of a copy, first what of it is not byte for byte the record."""
    if copy.by_value:
        yield f"{NAMES[copy.source]} has only the values, as FHiCL: {', '.join(sorted(copy.by_value))}"
    if copy.left_out:
        yield f"never archived: {', '.join(copy.left_out)}"
    yield from (*copy.problems, *copy.unknown, *copy.notes)


def read_directory(directory: Path) -> dict[str, bytes] | None:
    """The files of a directory by name; None if it is no directory, or holds anything but files."""
    if directory.is_symlink() or not directory.is_dir():
        return None
    found = {}
    with os.scandir(directory) as entries:
        for entry in entries:
            if not entry.is_file(follow_symlinks=False):
                return None
            with open(entry.path, "rb") as stream:
                found[os.fsencode(entry.name).decode("utf-8", "surrogateescape")] = stream.read()
    return found


def _not_written(error: OSError) -> UsageError:
    return UsageError(f"cannot be written: {host_limits.reason(error)}", path=error.filename)
