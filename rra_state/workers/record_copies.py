"""One run's record as the disk, artdaqDB or UconDB gives it back, and what of it is not as the DAQ wrote it.

Reads one source and the run's markers; writes nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import Literal, get_args

from rra_state.base import host_limits
from rra_state.base.errors import RecordError, WorkDirError
from rra_state.records import blob, originals, source
from rra_state.records.model import LEFT_OUT
from rra_state.records.originals import Originals
from rra_state.state.changed_records import newest_marker
from rra_state.state.outcome import Damaged
from rra_state.stores.artdaqdb.base import Location
from rra_state.workers.worker import WorkerContext

Source = Literal["disk", "artdaqdb", "ucondb"]
SOURCES: tuple[Source, ...] = get_args(Source)
_UNKNOWN = (
    "no marker has its fingerprint: nothing shows whether the record had links, directories or large files besides"
)
NAMES: Mapping[Source, str] = {"disk": "the disk", "artdaqdb": "artdaqDB", "ucondb": "UconDB"}


@dataclass(frozen=True, slots=True)
class RecordCopy:
    """The record of a run from one source.

    files: name to bytes, the names as in `SourceFile`. by_value: names of files that the DAQ did not write, FHiCL that
    holds the values of a text or of another program's document. left_out: what the archive never had. unknown: a
    sentence, if nothing shows what that is. problems: sentences, why this is not the record that was archived, or why
    that is not known. notes: what else is known of the run, such as the finding of a verification.
    """

    run: int
    source: Source
    files: Mapping[str, bytes]
    by_value: frozenset[str] = frozenset()
    left_out: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    unknown: tuple[str, ...] = ()

    @property
    def exact(self) -> bool:
        """Whether this is the whole record, byte for byte."""
        return not (self.by_value or self.left_out or self.problems or self.unknown)


def read_copy(run: int, source: Source, context: WorkerContext, location: Location | None = None) -> RecordCopy | None:
    """The record from this source; None if it does not have the run. location: in artdaqDB, if the caller knows it.

    Raises StoreError, VerificationError or RecordError if the source cannot give it whole.
    """
    if source == "disk":
        return _of_disk(run, context)
    known = _Known.of(run, context)
    if source == "artdaqdb":
        location = location or context.artdaqdb.locate([run]).get(run)
        return None if location is None else _of_artdaqdb(location, known, context)
    return _of_ucondb(run, known, context)


@dataclass(frozen=True, slots=True)
class _Known:
    """What the markers say of the record. foreign, sha256: of its newest blob. damage: why a marker cannot be read."""

    fingerprint: str | None = None
    left_out: tuple[str, ...] = ()
    foreign: bool = False
    sha256: str | None = None
    damage: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @classmethod
    def of(cls, run: int, context: WorkerContext) -> _Known:
        tree = context.tree
        try:
            newest, imported = newest_marker(tree, run), tree.marker("import", run)
        except WorkDirError as error:
            return cls(damage=(str(error),))
        facts = [each.facts for each in (newest, imported) if each is not None]
        notes = [
            f"--verify found: {each.text if isinstance(each, Damaged) else each.message}"
            for each in tree.found([run]).values()
        ]
        if not all(each.verified for each in facts):
            notes.append("its marker says verified: false")
        fingerprint = next((each.fingerprint for each in facts if each.fingerprint), None)
        remarks = dict.fromkeys(chain(*(each.remarks for each in facts if each.fingerprint == fingerprint)))
        return cls(
            fingerprint,
            tuple(str(each).removesuffix(f"; {LEFT_OUT}") for each in remarks if each.text.endswith(LEFT_OUT)),
            newest is not None and newest.facts.foreign,
            newest.facts.sha256 if newest is not None else None,
            notes=tuple(notes),
        )


def _of_disk(run: int, context: WorkerContext) -> RecordCopy | None:
    settings = context.settings.source_files
    path = settings.run_records_dir / str(run)
    try:
        if not path.exists():
            return None
    except OSError as error:
        raise RecordError(host_limits.plain(error), run=run, path=path) from error
    record = context.with_retries(lambda: source.read_record(settings, run, even_if_open=True))[0]
    left_out = tuple(f"{each.name}: {each.reason}" for each in record.skipped)
    return RecordCopy(run, "disk", {file.name: file.data for file in record.files}, left_out=left_out)


def _of_artdaqdb(location: Location, known: _Known, context: WorkerContext) -> RecordCopy:
    export = context.export(location)
    files = {name: data for name, data in export.files.items() if name not in export.converted}
    files |= {each.name: each.data for each in export.sources}
    found = Originals(files, export.by_value)
    # Without a fingerprint the digest in the documents still covers all names and bytes of the version.
    problems = known.damage if known.fingerprint is None else tuple(_differences(found, known))
    unknown = () if known.fingerprint or known.damage else (_UNKNOWN,)
    return RecordCopy(location.run, "artdaqdb", files, export.by_value, known.left_out, problems, known.notes, unknown)


def _of_ucondb(run: int, known: _Known, context: WorkerContext) -> RecordCopy | None:
    given = context.with_retries(lambda: context.ucondb.read(run))[0]
    if given is None:
        return None
    content, _ = given
    found = originals.of_blob(run, blob.of_run(run, content).files, known.fingerprint)
    by_tools = known.foreign or context.settings.artdaq_db.use_tools
    by_value = frozenset(found.files) if by_tools else found.by_value
    problems = [*known.damage, *_differences(Originals(found.files, by_value), known)]
    if known.sha256 not in (None, hashlib.sha256(content).hexdigest()):
        problems.append("the blob is not the one that its marker names")
    return RecordCopy(run, "ucondb", found.files, by_value, known.left_out, tuple(problems), known.notes)


def _differences(found: Originals, known: _Known) -> Iterator[str]:
    """Compare with the fingerprint. It covers the texts, so it says nothing of a copy that lacks one."""
    if found.by_value or any("fhiclize_generate" in each for each in known.left_out):
        return
    if known.fingerprint is None:
        yield "no marker has its fingerprint: nothing shows that names and bytes are right"
    elif known.fingerprint != found.fingerprint:
        yield "names or bytes are not those of the fingerprint in its marker"
