"""artdaqDB written by artdaq's own tools, for sites where no other program may write to the archive.

The tools may lose files and still end with status 0, make a run visible while they load it, and store it twice if it is
loaded twice. So each load gets its own configuration name, is hidden until it was read back and counted, and only then
counts as stored. Source: docs/design/artdaqdb.md, Loader and downloader.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.parse import quote, unquote

from rra_state.base import files, host_limits
from rra_state.base.concurrency import Slots
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
from rra_state.records import fhicl
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup, versions
from rra_state.stores.artdaqdb.base import RUN_HISTORY, ArtdaqDB, Export, Location, Staged
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.index import CONFIGURATION, ENTITY, Index
from rra_state.stores.artdaqdb.ssh_reader import SshReader
from rra_state.stores.artdaqdb.tool_runner import DOWNLOADER, Tools

_SCHEMA_FILE = "schema.fcl"
_RETRY = "what is in artdaqDB of this try stays unseen; --retry-failed-import loads it anew under the next name"


class ToolsDB(ArtdaqDB):
    """An artdaqDB archive that artdaq's tools write; implements `base.ArtdaqDB`. One instance per process."""

    def __init__(
        self, reader: FilesystemDB | SshReader, programs: Tools, state: Path, *, schema: bytes | None = None
    ) -> None:
        """reader: reads the archive, since the tools have no command that lists it.

        state: directory with one file per load in progress; it must survive this process.
        """
        self._reader, self._programs, self._state = reader, programs, state
        self._schema = None if schema is None else versions.Schema(schema)
        self._slots = loading(state)

    def describe(self) -> str:
        """The store in one phrase."""
        return f"{self._reader.describe()}, written by artdaq's tools"

    # ---- looking -----------------------------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise StoreError unless the archive can be read and the tools can be run."""
        self._reader.check()
        if self._schema is not None:
            self._schema.parsed()
        self._programs.check()

    def stamp(self) -> str:
        """See ArtdaqDB."""
        return self._reader.stamp()

    def runs(self) -> set[int]:
        """Every run in the archive, except those of which only unfinished loads exist."""
        indexes = self._indexes()
        found = indexes[RUN_HISTORY].runs()
        doubtful = found & {run for name in self._unfinished() if (run := number(name.partition("/")[0])) is not None}
        return found - (doubtful - set(lookup.locate(indexes, doubtful, self._unfinished())))

    def locate(self, runs: Iterable[int]) -> dict[int, Location]:
        """The configuration assigned last of each of these runs, unfinished loads left out."""
        return lookup.locate(self._indexes(), runs, self._unfinished())

    def _indexes(self) -> dict[str, Index]:
        """Every collection's index. If one looks damaged, it is read again while no load of this archiver runs."""
        try:
            return self._reader.read_indexes()
        except (IndexDamaged, StoreUnavailable):
            if not self._state.is_dir():
                raise
        with self._slots.held():
            return self._reader.read_indexes()

    def _unfinished(self) -> set[str]:
        """Configurations whose load was begun and not confirmed."""
        if not self._state.is_dir():
            return set()
        return {unquote(each.stem) for each in self._state.glob("*.loading")}

    # ---- storing -----------------------------------------------------------------------------------------------------

    def stage(self, records: Sequence[RunDocuments], known: Mapping[int, Location]) -> list[Staged | ArchiverError]:
        """Load each run and read it back. One load at a time in all processes: parallel loads lose documents."""

        def stage(record: RunDocuments) -> Staged:
            with self._slots.held() as slot:
                return self._stage(record, known.get(record.run), slot)

        return versions.each_by_itself(records, stage)

    def _stage(self, record: RunDocuments, known: Location | None, slot: int) -> Staged:
        """The caller adds the run to errors."""
        documents.check_names(record)
        meaning = _meaning_of(record)
        now = documents.timestamp()
        if known is None:
            known = lookup.locate(self._reader.read_indexes(), [record.run], self._unfinished()).get(record.run)
        if known is not None:
            stored = {name: fhicl.meaning(text) for name, text in self._reader.export(known).files.items()}
            if stored == meaning:
                return Staged(known, changed=False, assigned=now)
        config = self._free_name(record)
        note = self._state / f"{quote(f'{record.run}/{config}', safe='')}.loading"
        with _noted(note):
            ended = self._programs.load(record.run, config, self._files(record), slot)
            location = self._found(record, config, str(ended))
            self._compare(record, config, meaning)
        return Staged(location, changed=True, assigned=now)

    def _free_name(self, record: RunDocuments) -> str:
        """The configuration's name, with the next vN if it was used: under a used name documents would be doubled."""
        pattern = re.compile(re.escape(record.configuration) + r"(?:v(\d{1,9}))?")
        names = (
            *self._reader.read_indexes()[RUN_HISTORY].of_run(CONFIGURATION, record.run),
            *self._unfinished(),
        )
        used = [int(match[1] or 0) for name in names if (match := pattern.fullmatch(name))]
        return f"{record.config_name}v{max(used) + 1}" if used else record.config_name

    def _files(self, record: RunDocuments) -> dict[str, bytes]:
        files = {f"{each.entity}.fcl": documents.shown_by_tools(each) for each in record.documents}
        if self._schema is not None:
            self._schema.parsed()
            files[_SCHEMA_FILE] = self._schema.document.text
        return files

    def _found(self, record: RunDocuments, config: str, ended: str) -> Location:
        """Location of the loaded run. Raises VerificationError unless each of its documents is listed exactly once."""
        configuration = f"{record.run}/{config}"
        index = self._reader.read_indexes()[RUN_HISTORY]
        oids = index.oids(CONFIGURATION, configuration)
        wanted = sorted(document.entity for document in record.documents)
        names = index.names_of(ENTITY, oids)
        found = sorted(name for oid in oids for name in names.get(oid, ()))
        if found != wanted:
            text = f"artdaq's tools stored {len(found)} of {len(wanted)} files as {configuration} ({ended})"
            raise VerificationError(text, hint=_RETRY)
        hidden = self._unfinished() - {configuration}
        location = lookup.locate(self._reader.read_indexes(), [record.run], hidden).get(record.run)
        if location is None or location.configuration != configuration:
            raise VerificationError(f"artdaqDB shows another configuration than {configuration}", hint=_RETRY)
        return location

    def _compare(self, record: RunDocuments, config: str, meaning: Mapping[str, str]) -> None:
        """Export the run and compare the evaluated FHiCL: the tools never give back the same bytes."""
        ended, exported = self._programs.download(record.run, config)
        files = {PurePosixPath(path): text for path, text in exported.items() if path != _SCHEMA_FILE}
        # The folder is the configuration's name without digits at its end: `.` for a name of digits only.
        folders = {path.parent for path in files}
        if len(folders) > 1 or any(len(path.parts) > 2 for path in files):
            where = ", ".join(sorted(map(str, folders)))
            raise VerificationError(f"{DOWNLOADER} wrote into other folders ({where})", hint=_RETRY)
        if len(files) != len(meaning):
            text = f"artdaq's tools give back {len(files)} of {len(meaning)} files ({ended})"
            raise VerificationError(text, hint=_RETRY)
        given = {path.name: text for path, text in files.items()}
        for name, wanted in meaning.items():
            if name not in given or fhicl.meaning(given[name]) != wanted:
                raise VerificationError(f"artdaq's tools give back {name} with another meaning", hint=_RETRY)

    def publish(self, staged: Sequence[Staged]) -> None:
        """Does nothing: what the tools load is visible at once, and `stage` checked it."""

    # ---- reading back ------------------------------------------------------------------------------------------------

    def export(self, location: Location) -> Export:
        """Read a run from its documents; the text is made from their trees. Raises VerificationError."""
        return self._reader.export(location)


def loading(state: Path) -> Slots:
    """What a load by the tools holds, so that one is in progress at a time."""
    return Slots(state, "loading", 1)


@contextmanager
def _noted(note: Path) -> Iterator[None]:
    """Keep a file while a load is in progress; it stays if the load fails or this process dies."""
    try:
        files.write_atomic(note, b"")
        yield
        files.remove_batch([note])
    except OSError as error:
        hint = host_limits.REMEDIES.get(error.errno or 0, "check owner and mode")
        raise WorkDirError(f"cannot be written: {host_limits.plain(error)}", path=note, hint=hint) from error


def _meaning_of(record: RunDocuments) -> dict[str, str]:
    """Each file as `fhicl.dump` prints it. Raises RecordError for a file that the tools refuse or store elsewhere."""
    meaning = {}
    for document in record.documents:
        if document.kept and document.is_fcl:
            raise RecordError(
                f"{document.name} {document.kept}; artdaq's tools take FHiCL only",
                hint="correct the file, or set artdaq_db.use_tools: false, which keeps it as text",
            )
        if document.entity.endswith(documents.SCHEMA):
            raise RecordError(
                f"{document.name}: artdaq's tools take {document.entity}.fcl for the archive's {_SCHEMA_FILE}",
                hint="rename it, or set artdaq_db.use_tools: false",
            )
        try:
            if documents.is_taken_for_checksums(document):
                raise RecordError(
                    f"{document.name} holds MD5 sums only: readers of the archive take it for the existing archiver's",
                    hint="rename it, or set artdaq_db.use_tools: false",
                )
            meaning[f"{document.entity}.fcl"] = fhicl.dump(documents.shown_by_tools(document))
        except FhiclError as error:
            error.path = document.name
            raise
    return meaning
