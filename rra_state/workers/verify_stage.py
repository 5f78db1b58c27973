"""Verification stage: compare what UconDB, artdaqDB, markers and disk hold of archived runs.

Takes run numbers and returns one RunVerification per run; changes nothing. An error of a store is in its `error`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from rra_state.base.errors import (
    ArchiverError,
    Interrupted,
    RecordError,
    RecordShrank,
    RecordTooLarge,
    VerificationError,
    WorkDirError,
)
from rra_state.base.host_limits import within_memory
from rra_state.records import blob
from rra_state.records.fhicl import meaning
from rra_state.records.model import RunDocuments
from rra_state.state.changed_records import Refresh, newest_marker, not_read
from rra_state.state.markers import Tree
from rra_state.state.outcome import DIFFERS, MARKER_DIFFERS, RECORD_DIFFERS, STAGES, Facts, Marker, Stage
from rra_state.stores.artdaqdb.base import Export, Location
from rra_state.stores.ucondb.values import BlobVersion
from rra_state.workers.foreign_versions import differences_by_meaning, differing_files
from rra_state.workers.import_stage import read, source_facts
from rra_state.workers.worker import WorkerContext


@dataclass(frozen=True, slots=True)
class RunVerification:
    """Result for one run. differences: a sentence for each, with store and file; none if all is equal.

    facts: what is now known of a run whose marker says `verified: false`, by stage. error: a store could not be read.
    on_disk: its record was compared too; not one that is away, or that the next cycle archives again.
    kind: of the finding that the differences are. passed_over: see `Location`.
    """

    run: int
    differences: tuple[str, ...] = ()
    facts: Mapping[Stage, Facts] | None = None
    error: ArchiverError | None = None
    on_disk: bool = True
    kind: str = DIFFERS
    passed_over: tuple[str, ...] = ()


def verify_runs(
    numbers: Sequence[int], context: WorkerContext, located: Mapping[int, Location]
) -> list[RunVerification]:
    """Read these runs back from both stores and disk. located: where artdaqDB holds them."""
    results: list[RunVerification] = []
    for run in numbers:
        try:
            if context.stopping:
                raise Interrupted
            results.append(within_memory(run, partial(_verify, run, context, located.get(run))))
        except RecordTooLarge as error:
            results.append(RunVerification(run, differences=(error.message,)))
        except ArchiverError as error:
            results.append(RunVerification(run, error=error))
            break
    return results


def _verify(run: int, context: WorkerContext, location: Location | None) -> RunVerification:
    """Verify one run. Raises ArchiverError if a store cannot be read.

    A cycle may store a new version meanwhile: if one appeared, a run that differs is read again.
    """
    held = _held(run, context, location)
    if held.differences:
        again = context.artdaqdb.locate([run]).get(run)
        if again != location or _marker(partial(newest_marker, context.tree, run), []) != held.newest:
            held = _held(run, context, again)
    facts = dict(_facts(held)) if not held.differences else None
    marker = all(each.startswith("marker:") for each in held.differences)
    kind = RECORD_DIFFERS if held.sound else MARKER_DIFFERS if marker else DIFFERS
    on_disk = held.record is not None
    return RunVerification(run, held.differences, facts, on_disk=on_disk, kind=kind, passed_over=held.passed_over)


@dataclass(frozen=True, slots=True)
class _Held:
    """What each store holds of a run; None if it holds nothing, or nothing that can be read.

    sound: markers and stores agree, so that only the record on disk can differ. passed_over: see `Location`.
    """

    run: int
    imported: Marker | None
    newest: Marker | None
    record: RunDocuments | None
    export: Export | None
    blob: tuple[bytes, BlobVersion] | None
    differences: tuple[str, ...] = ()
    sound: bool = True
    passed_over: tuple[str, ...] = ()


def _held(run: int, context: WorkerContext, location: Location | None) -> _Held:
    tree = context.tree
    faults: list[str] = []
    from_disk: list[str] = []
    imported = _marker(partial(tree.marker, "import", run), faults)
    newest = _marker(partial(newest_marker, tree, run), faults)
    held = _Held(
        run,
        imported,
        newest,
        _record(run, context, not_read(newest, imported), from_disk),
        _export(context, location, faults),
        _blob(run, context, faults) if tree.marker_path("migrate", run).exists() else None,
        passed_over=location.passed_over if location is not None else (),
    )
    faults += _differences(held, tree)
    if location is not None:
        faults += [f"artdaqDB: {each}" for each in location.beside]
    if held.record is not None and _archived_again(held, tree):
        held = replace(held, record=None)  # it shows nothing of what is archived; the next cycle compares it
    if held.record is not None and held.export is not None:
        from_disk += _record_and_archive(held)
    return replace(held, differences=(*faults, *from_disk), sound=not faults)


def _marker(read: Callable[[], Marker | None], faults: list[str]) -> Marker | None:
    """A marker, if it can be read."""
    try:
        return read()
    except WorkDirError as error:
        faults.append(f"marker: {error}")
        return None


def _record(run: int, context: WorkerContext, without: frozenset[str], faults: list[str]) -> RunDocuments | None:
    """A fresh conversion of the record, if it still exists and can be read. without: files that were never read."""
    try:
        return context.with_retries(lambda: read(run, context.settings, even_if_open=True, without=without))[0]
    except RecordError as error:
        if (context.settings.source_files.run_records_dir / str(run)).exists():
            faults.append(f"disk: {_where(error)}{error.message}")
        return None


def _export(context: WorkerContext, location: Location | None, faults: list[str]) -> Export | None:
    if location is None:
        faults.append("artdaqDB: does not show the run")
        return None
    try:
        return context.artdaqdb.export(location)
    except VerificationError as error:
        faults.append(f"artdaqDB: {_where(error)}{error.message}")
        return None


def _blob(run: int, context: WorkerContext, faults: list[str]) -> tuple[bytes, BlobVersion] | None:
    try:
        found = context.ucondb.read(run)
    except VerificationError as error:
        faults.append(error.message)
        return None
    if found is None:
        faults.append("UconDB: has no blob of the run")
    return found


def _where(error: ArchiverError) -> str:
    return f"{error.path}: " if error.path else ""


# ---- comparing -----------------------------------------------------------------------------------------------------


def _differences(held: _Held, tree: Tree) -> Iterator[str]:
    for stage in STAGES:
        marker = _marker(partial(tree.marker, stage, held.run), [])
        if marker is not None and marker.run != held.run:
            path = tree.marker_path(stage, held.run).relative_to(tree.root)
            yield f"marker: {path} is one of run {marker.run}"
    yield from _marker_and_archive(held)
    if held.blob is not None and held.export is not None:
        yield from _blob_and_archive(held.run, held.blob[0], held.export)


def _marker_and_archive(held: _Held) -> Iterator[str]:
    """Compare the marker with what the stores hold. A marker that was never verified lacks fields."""
    marker = held.newest or held.imported
    facts = Facts(verified=False) if marker is None else marker.facts
    true = facts if held.blob is None else facts.of_blob(*held.blob)
    true = true if held.export is None else replace(true, version=held.export.version)
    for name in ("size", "adler32", "sha256", "ucondb_id", "version"):
        value, marked = getattr(true, name), getattr(facts, name)
        if marked is None and facts.verified and held.blob is not None:
            yield f"marker: {name} is missing"
        elif marked not in (None, value):
            yield f"marker: {name} is {marked}, the store has {value}"


def _blob_and_archive(run: int, content: bytes, export: Export) -> Iterator[str]:
    expected = blob.pack(run, export.files, export.sources if blob.has_originals(content) else ())
    if blob.same(content, expected):
        return
    try:
        unpacked = blob.unpack(content)
    except ArchiverError as error:
        yield f"UconDB: the blob cannot be unpacked: {error.message}"
        return
    if unpacked.run != run:
        yield f"UconDB: the blob is one of run {unpacked.run}"
    # artdaq's tools write other text than is made here from their trees; so an old blob is compared by meaning.
    shown = bytes if export.exact else meaning
    held = (unpacked.files if blob.has_originals(expected) else unpacked.documents, blob.unpack(expected).files)
    stored, exported = ({name: shown(text) for name, text in each.items()} for each in held)
    differing = differing_files("UconDB", stored, "artdaqDB", exported)
    yield from differing or (["UconDB: header or footer differ"] if export.exact else ())


def _record_and_archive(held: _Held) -> Iterator[str]:
    assert held.record is not None  # noqa: S101 - the caller looked
    assert held.export is not None  # noqa: S101 - likewise
    known, changed = _known(held), _has_changed(held)
    if held.export.exact:
        fresh = {document.name: document.text for document in held.record.documents}
        differences = differing_files("disk", fresh, "artdaqDB", held.export.files)
    else:
        differences = differences_by_meaning(held.record, held.export, ours=known is not None and not known.foreign)
    if differences and changed:
        yield "disk: the record is not the one that was archived"
    yield from differences


def _known(held: _Held) -> Facts | None:
    """What was archived last of the record, if a marker has its fingerprint."""
    return next((each.facts for each in (held.newest, held.imported) if each and each.facts.fingerprint), None)


def _has_changed(held: _Held) -> bool:
    known = _known(held)
    return known is not None and held.record is not None and known.fingerprint != held.record.fingerprint


def _archived_again(held: _Held, tree: Tree) -> bool:
    """Whether the record has changed and the next cycle archives it again: not if it lost something."""
    if held.record is None or not _has_changed(held) or held.run not in tree.watched():
        return False
    wanted = Refresh.next(held.run, held.record.fingerprint, tree.refreshed().get(held.run, ()))
    if wanted is None:
        return False
    failure = tree.failure("refresh", str(wanted))
    return failure is None or failure.kind != RecordShrank.__name__


# ---- filling in ----------------------------------------------------------------------------------------------------


def _facts(held: _Held) -> Iterator[tuple[Stage, Facts]]:
    """Facts for the markers that say `verified: false`, and for those that were verified without the record.

    Their content was compared with another store's, and with the record if there is one.
    """

    def incomplete(marker: Marker) -> bool:
        return not marker.facts.verified or (marker.facts.without_record and record is not None)

    assert held.export is not None  # noqa: S101 - nothing differs, so artdaqDB gave it
    record = replace(source_facts(held.record), foreign=not held.export.exact) if held.record is not None else None
    if held.imported is not None and incomplete(held.imported) and (record is not None or held.blob is not None):
        facts = _with_record(held.imported.facts, record)
        yield "import", replace(facts, verified=True, version=held.export.version)
    if held.newest is not None and incomplete(held.newest) and held.blob is not None:
        facts = _with_record(held.newest.facts, record).of_blob(*held.blob)
        stage: Stage = "refresh" if held.newest.stage == "refresh" else "migrate"
        yield stage, replace(facts, verified=True, version=held.export.version)


def _with_record(facts: Facts, record: Facts | None) -> Facts:
    """The facts of a marker with what the record says now."""
    if record is None:
        return facts
    return replace(facts.completed(record), configuration=record.configuration, remarks=record.remarks)
