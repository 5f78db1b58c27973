"""`--show RUN`: what every site holds of one run, side by side. Only reads."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TypeVar

from rra_state.base.errors import ArchiverError, UsageError, WorkDirError
from rra_state.base.wording import count, printable, second
from rra_state.config.loading import Settings
from rra_state.records import blob, convert, source
from rra_state.records.fhicl import meaning
from rra_state.records.model import Document
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Damaged, Failure, Marker, Stage
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.document import shown_by_tools
from rra_state.stores.ucondb.client import UconDB

T = TypeVar("T")
_ABSENT = "-"
_WIDTH = 24


@dataclass(frozen=True, slots=True)
class _Site:
    """What a site has of the run, in a line, and the files as they are archived.

    documents: of the record on disk. exact: False if artdaq's tools wrote the files: then only their meaning is that
    of the record.
    """

    line: str
    files: Mapping[str, bytes] = field(default_factory=dict)
    documents: Sequence[Document] = ()
    exact: bool = True


def lines(settings: Settings, run: int) -> Iterator[str]:
    """The lines to print. If a site cannot be read, its line says why. Raises UsageError if no site has the run."""
    tree = Tree(settings.app.work_dir)
    found: list[str] = []
    sites: dict[str, _Site] = {}
    for name, ask in (("disk", _disk), ("artdaqDB", _artdaqdb), ("UconDB", _ucondb)):
        try:
            site = ask(settings, run)
        except ArchiverError as error:
            site = _Site(str(error))
        found.append(f"  {name:<9} {site.line}")
        sites[name] = site
    found += _markers(tree, run)
    if not any(site.files for site in sites.values()) and len(found) == len(sites):
        raise UsageError(f"run {run} is nowhere: not on disk, not in artdaqDB, not in UconDB, no marker")
    yield f"run {run}"
    yield from map(printable, found)
    if any(site.files for site in sites.values()):
        yield ""
        yield from map(printable, _table(sites))


def _disk(settings: Settings, run: int) -> _Site:
    """The record, and the files as they would be archived now."""
    files = settings.source_files
    directory = files.run_records_dir / str(run)
    if not directory.exists():
        return _Site("nothing")
    record = source.read_record(files, run, even_if_open=True)
    documents = convert.convert(record, fhiclize=settings.fhiclize_generate, on_bad_file=files.on_bad_file).documents
    size = sum(len(file.data) for file in record.files)
    stopped = f"stopped {record.stop_time}" if record.stop_time else "no stop time"
    line = f"{count(len(record.files), 'file')}, {count(size, 'byte')}, fingerprint {record.fingerprint[:8]}, {stopped}"
    return _Site(line, {document.name: document.text for document in documents}, documents)


def _artdaqdb(settings: Settings, run: int) -> _Site:
    store = artdaqdb.open_store(settings.artdaq_db)
    location = store.locate([run]).get(run)
    if location is None:
        return _Site("nothing")
    export = store.export(location)
    written = "" if export.exact else ", written by another program"
    line = f"version {location.version}, {count(len(location.items), 'document')}{written}"
    line = "; ".join((line, *location.passed_over, *location.beside))
    return _Site(line, export.files, exact=export.exact)


def _ucondb(settings: Settings, run: int) -> _Site:
    found = UconDB(settings.ucon_db).get(run)
    if found is None:
        return _Site("nothing")
    content, version = found
    line = (
        f"version {version.id}, {count(version.size, 'byte')}, adler32 {version.adler32}, stored {second(version.tr)}"
    )
    return _Site(line, blob.unpack(content).documents)


def _markers(tree: Tree, run: int) -> Iterator[str]:
    """What the tree holds of the run: markers and failure records, with those of refreshes, finding and watch."""
    own: list[tuple[Stage, int | str]] = [(stage, run) for stage in STAGES]
    refreshes = [f"{run}-{fingerprint}" for fingerprint in sorted(tree.refreshed().get(run, ()))]
    failed = sorted(name for name in tree.failed_refreshes() if Refresh.of(name).run == run)
    for stage, name in (*own, *(("refresh", each) for each in refreshes)):
        yield from _lines("marker", f"markers/{stage}/{name}.json", partial(tree.marker, stage, name), _summary)
    for stage, name in (*own, *(("refresh", each) for each in failed)):
        yield from _lines("failure", f"failures/{stage}/{name}.json", partial(tree.failure, stage, name), _reason)
    for found in tree.found([run]).values():
        text = found.text if isinstance(found, Damaged) else f"{found.message} [{found.kind}]"
        yield f"  {'finding':<9} findings/{run}.json: {text}"
    if run in tree.watched():
        yield f"  {'watched':<9} archived again once its record changes"


def _lines(kind: str, name: str, read: Callable[[], T | None], text: Callable[[T], str]) -> Iterator[str]:
    try:
        found = read()
    except WorkDirError as error:
        yield f"  {kind:<9} {name}: damaged: {error.message}"
    else:
        if found is not None:
            yield f"  {kind:<9} {name}: {text(found)}"


def _summary(marker: Marker) -> str:
    facts = marker.facts
    values = {
        "archived": marker.archived,
        "verified": facts.verified,
        "version": facts.version,
        "size": facts.size,
        "adler32": facts.adler32,
        "ucondb_id": facts.ucondb_id,
        "stop_time": facts.stop_time,
        "host": marker.host,
    }
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


def _reason(failure: Failure) -> str:
    return f"{failure.message} [{failure.kind}, {count(failure.attempts, 'attempt')}]"


def _table(sites: Mapping[str, _Site]) -> Iterator[str]:
    """A line per file: size and checksum at each site, and whether those that have it agree."""
    exact = all(site.exact for site in sites.values())
    held = [site.files if exact else _as_by_tools(site, sites["disk"].documents) for site in sites.values()]
    names = sorted({name for files in held for name in files})
    width = max(len("file"), *(len(name) for name in names))
    yield "  ".join(["file".ljust(width), *(name.ljust(_WIDTH) for name in sites), ""]).rstrip()
    for name in names:
        cells = [_cell(files.get(name)).ljust(_WIDTH) for files in held]
        verdict = _verdict([files.get(name) for files in held if files], exact=exact)
        yield "  ".join([name.ljust(width), *cells, verdict]).rstrip()


def _as_by_tools(site: _Site, record: Sequence[Document]) -> Mapping[str, bytes]:
    """The files of a site as artdaq's tools show them, under the names that the record on disk has for them."""
    names = {f"{document.entity}.fcl": document.name for document in record}
    shown = {document.name: shown_by_tools(document) for document in site.documents}
    return shown or {names.get(name, name): data for name, data in site.files.items()}


def _verdict(found: Sequence[bytes | None], *, exact: bool) -> str:
    """Whether the sites that hold the run agree about a file. exact: False if an equal meaning is enough."""
    if len(found) < 2:
        return ""
    if len(set(found)) == 1:
        return "equal"
    same = not exact and None not in found and len({meaning(each) for each in found if each is not None}) == 1
    return "equal in meaning" if same else "DIFFERENT"


def _cell(content: bytes | None) -> str:
    return _ABSENT if content is None else f"{len(content)} {hashlib.sha256(content).hexdigest()[:12]}"
