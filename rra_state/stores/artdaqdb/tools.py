"""artdaqDB written by artdaq's own tools, for sites that want no other program to write their archive.

The tools end with status 0 after losing files, show a run while they load it, and repeat what is loaded twice. So each
load gets a configuration name of its own, is read back and counted before the run counts as stored, and is hidden
until then. Source: docs/design/artdaqdb.md, Loader and downloader.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Protocol
from urllib.parse import quote, unquote

from rra_state.base import files
from rra_state.base.errors import (
    ArchiverError,
    FhiclError,
    IndexDamaged,
    RecordError,
    StoreUnavailable,
    VerificationError,
    WorkDirError,
)
from rra_state.base.run_numbers import number
from rra_state.base.turns import Turns
from rra_state.records import fhicl
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb.base import Capabilities, Export, Location, Outline, Staged
from rra_state.stores.artdaqdb.document import RUN_HISTORY
from rra_state.stores.artdaqdb.index import CONFIGURATION, ENTITY, Index
from rra_state.stores.artdaqdb.tool_runner import DOWNLOADER, Programs

_SCHEMA_FILE = "schema.fcl"
_RETRY = "what is in artdaqDB of this try stays unseen; --retry-failed-import loads it anew under the next name"


class Reader(Protocol):
    """How the archive is looked at: the tools have no command that lists it."""

    def describe(self) -> str:
        """The archive in one phrase."""

    def check(self) -> None:
        """See ArtdaqDB."""

    def stamp(self) -> str:
        """See ArtdaqDB."""

    def read_indexes(self) -> dict[str, Index]:
        """Every collection's index as it is now."""

    def export(self, location: Location) -> Export:
        """See ArtdaqDB."""


class ToolsDB:
    """An artdaqDB archive that artdaq's tools write; implements `base.ArtdaqDB`. One instance per process."""

    capabilities = Capabilities(byte_identical=False, atomic=False, concurrent_readers=False)

    def __init__(self, reader: Reader, programs: Programs, state: Path, *, schema: bytes | None = None) -> None:
        """state: directory where loads in progress are noted; it must outlive this process."""
        self._reader, self._programs, self._state = reader, programs, state
        self._schema = None if schema is None else versions.Schema(schema)
        self._turns = Turns(state, "loading", 1)

    def describe(self) -> str:
        """The store in one phrase."""
        return f"{self._reader.describe()}, written by artdaq's tools"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError unless the archive can be read and the tools be run."""
        self._reader.check()
        if self._schema is not None:
            self._schema.parsed()
        self._programs.check()

    def stamp(self) -> str:
        """See ArtdaqDB."""
        return self._reader.stamp()

    def runs(self) -> set[int]:
        """Every run that is there whole, as far as this archiver loaded it."""
        indexes = self._indexes()
        found = indexes[RUN_HISTORY].runs()
        doubtful = found & {run for name in self._unfinished() if (run := number(name.partition("/")[0])) is not None}
        return found - (doubtful - set(lookup.locate(indexes, doubtful, self._unfinished())))

    def lost(self, expected: Iterable[int]) -> set[int]:
        """Runs that ought to be visible and are not."""
        return set(expected) - self.runs()

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The configuration assigned last of each of these runs, of those whose loading came to its end."""
        return lookup.locate(self._indexes(), runs, self._unfinished())

    def outlines(self, runs: Iterable[int], needed: Collection[str]) -> Iterator[Outline]:
        """The same versions, each with whether it has these entities."""
        return lookup.outlines(self.locate, runs, needed)

    def _indexes(self) -> dict[str, Index]:
        """The tools rewrite an index in place: one that looks damaged is looked at again while nothing is loaded."""
        try:
            return self._reader.read_indexes()
        except (IndexDamaged, StoreUnavailable):
            if not self._state.is_dir():
                raise
        with self._turns.taken():
            return self._reader.read_indexes()

    def _unfinished(self) -> set[str]:
        """Configurations whose loading was begun and not found whole."""
        if not self._state.is_dir():
            return set()
        return {unquote(each.stem) for each in self._state.glob("*.loading")}

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Load each run and read it back. One load at a time among all processes: the tools lose what two write."""

        def stage(record: RunDocuments) -> Staged:
            with self._turns.taken() as turn:
                return self._stage(record, known.get(record.run), turn)

        return versions.each_by_itself(records, stage)

    def _stage(self, record: RunDocuments, known: Location | None, turn: int) -> Staged:
        documents.check_names(record)
        meaning = _meaning_of(record)
        now = documents.timestamp()
        if known is None:
            known = lookup.locate(self._reader.read_indexes(), [record.run], self._unfinished()).get(record.run)
        if known is not None and _same(self._reader.export(known).files, meaning):
            return Staged(known, changed=False, assigned=now)
        config = self._free_name(record)
        note = self._state / f"{quote(f'{record.run}/{config}', safe='')}.loading"
        with _noted(note):
            ended = self._programs.load(record.run, config, self._files(record), turn)
            location = self._found(record, config, str(ended))
            self._compare(record, config, meaning)
        return Staged(location, changed=True, assigned=now)

    def _free_name(self, record: RunDocuments) -> str:
        """The configuration's name, with the next vN if it was used: the tools repeat documents under one name."""
        pattern = re.compile(re.escape(record.configuration) + r"(?:v(\d{1,9}))?")
        names = (
            *self._reader.read_indexes()[RUN_HISTORY].of_run(CONFIGURATION, record.run),
            *self._unfinished(),
        )
        used = [int(match[1] or 0) for name in names if (match := pattern.fullmatch(name))]
        return f"{record.config_name}v{max(used) + 1}" if used else record.config_name

    def _files(self, record: RunDocuments) -> dict[str, bytes]:
        files = {document.name: document.text for document in record.documents}
        if self._schema is not None:
            self._schema.parsed()
            files[_SCHEMA_FILE] = self._schema.document.text
        return files

    def _found(self, record: RunDocuments, config: str, ended: str) -> Location:
        """What the archive lists of the load: exactly these documents, each once. Raises VerificationError."""
        configuration = f"{record.run}/{config}"
        index = self._reader.read_indexes()[RUN_HISTORY]
        oids = index.oids(CONFIGURATION, configuration)
        wanted = sorted(document.entity for document in record.documents)
        names = index.names_of(ENTITY, oids, {})
        found = sorted(name for oid in oids for name in names.get(oid, ()))
        if found != wanted:
            raise VerificationError(
                f"artdaq's tools stored {len(found)} of {len(wanted)} files as {configuration} ({ended})",
                run=record.run,
                hint=_RETRY,
            )
        hidden = self._unfinished() - {configuration}
        location = lookup.locate(self._reader.read_indexes(), [record.run], hidden).get(record.run)
        if location is None or location.configuration != configuration:
            raise VerificationError(
                f"artdaqDB shows another configuration than {configuration}", run=record.run, hint=_RETRY
            )
        return location

    def _compare(self, record: RunDocuments, config: str, meaning: Mapping[str, str]) -> None:
        """Have it exported, and compare what that means: the tools never give back the same bytes."""
        ended, exported = self._programs.download(record.run, config)
        files = {PurePosixPath(path): text for path, text in exported.items() if path != _SCHEMA_FILE}
        folders = {path.parent for path in files}
        if len(folders) > 1 or any(len(path.parts) != 2 for path in files):
            where = ", ".join(sorted(map(str, folders)))
            raise VerificationError(f"{DOWNLOADER} wrote into other folders ({where})", run=record.run, hint=_RETRY)
        if len(files) != len(meaning):
            message = f"artdaq's tools give back {len(files)} of {len(meaning)} files ({ended})"
            raise VerificationError(message, run=record.run, hint=_RETRY)
        given = {path.name: text for path, text in files.items()}
        for name, wanted in meaning.items():
            if name not in given or _dumped(given[name]) != wanted:
                raise VerificationError(
                    f"artdaq's tools give back {name} with another meaning", run=record.run, hint=_RETRY
                )

    def publish(self, staged: Sequence[Staged]) -> None:
        """Nothing is left to do: what the tools load is shown at once, and was found whole."""

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a run back from its documents; the text is made from their trees. Raises VerificationError."""
        return self._reader.export(location)


@contextmanager
def _noted(note: Path) -> Iterator[None]:
    """Have a file say that something is under way; it stays if that fails, or this process dies."""
    try:
        files.write_atomic(note, b"")
        yield
        files.remove_batch([note])
    except OSError as error:
        raise WorkDirError(f"cannot be written: {error.strerror}", path=note, hint="check owner and mode") from error


def _meaning_of(record: RunDocuments) -> dict[str, str]:
    """Each file evaluated. Raises RecordError for what the tools cannot hold: they take FHiCL only."""
    meaning = {}
    for document in record.documents:
        if document.kept:
            raise RecordError(f"{document.name} {document.kept}; artdaq's tools take FHiCL only", run=record.run)
        try:
            meaning[f"{document.entity}.fcl"] = fhicl.dump(document.text)
        except FhiclError as error:
            error.run, error.path = record.run, document.name
            raise
    return meaning


def _same(files: Mapping[str, bytes], meaning: Mapping[str, str]) -> bool:
    return {name: _dumped(text) for name, text in files.items()} == dict(meaning)


def _dumped(text: bytes) -> str | None:
    """What a text means; None if it is no FHiCL at all."""
    try:
        return fhicl.dump(text)
    except FhiclError:
        return None
