"""`--show RUN`: what every place holds of one run, side by side. Only reads."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from rra_state.base.errors import ArchiverError, UsageError
from rra_state.base.wording import count, printable
from rra_state.config.loading import Settings
from rra_state.records import blob, convert, source
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES
from rra_state.stores import artdaqdb
from rra_state.stores.ucondb.client import UconDB

_ABSENT = "-"
_WIDTH = 24
_MARKER_KEYS = ("archived", "verified", "version", "size", "adler32", "ucondb_id", "stop_time", "host")


def lines(settings: Settings, run: int) -> Iterator[str]:
    """The whole of it. Raises UsageError if no place knows the run; a place that cannot be read is told in its line."""
    tree = Tree(settings.app.work_dir)
    told: list[str] = []
    places: dict[str, Mapping[str, bytes]] = {}
    for name, ask in (("disk", _disk), ("artdaqDB", _artdaqdb), ("UconDB", _ucondb)):
        try:
            line, files = ask(settings, run)
        except ArchiverError as error:
            line, files = str(error), {}
        told.append(f"  {name:<9} {line or 'nothing'}")
        places[name] = files
    told += _markers(tree, run)
    if not any(places.values()) and len(told) == len(places):
        raise UsageError(f"run {run} is nowhere: not on disk, not in artdaqDB, not in UconDB, no marker")
    yield f"run {run}"
    yield from map(printable, told)
    if any(places.values()):
        yield ""
        yield from map(printable, _table(places))


def _disk(settings: Settings, run: int) -> tuple[str, Mapping[str, bytes]]:
    """The record, and the files as they would be archived now."""
    files = settings.source_files
    directory = files.run_records_dir / str(run)
    if not directory.exists():
        return "", {}
    record = source.read_record(files, run, even_if_open=True)
    documents = convert.convert(record, fhiclize=settings.fhiclize_generate, on_bad_file=files.on_bad_file)
    size = sum(len(file.data) for file in record.files)
    stopped = f"stopped {record.stop_time}" if record.stop_time else "no stop time"
    line = f"{count(len(record.files), 'file')}, {count(size, 'byte')}, fingerprint {record.fingerprint[:8]}, {stopped}"
    return line, {document.name: document.text for document in documents.documents}


def _artdaqdb(settings: Settings, run: int) -> tuple[str, Mapping[str, bytes]]:
    store = artdaqdb.open_store(settings.artdaq_db)
    location = store.locate([run]).get(run)
    if location is None:
        return "", {}
    export = store.export(location)
    written = "" if export.exact else ", written by another program"
    return f"version {location.version}, {count(len(location.items), 'document')}{written}", export.files


def _ucondb(settings: Settings, run: int) -> tuple[str, Mapping[str, bytes]]:
    found = UconDB(settings.ucon_db, same=blob.same).get(run)
    if found is None:
        return "", {}
    content, version = found
    stored = datetime.fromtimestamp(version.tr, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    line = f"version {version.id}, {count(version.size, 'byte')}, adler32 {version.adler32}, stored {stored}"
    return line, blob.unpack(content).files


def _markers(tree: Tree, run: int) -> Iterator[str]:
    """Everything the tree has of the run: markers, refreshes, failure records, the watch."""
    paths = [tree.marker_path(stage, run) for stage in STAGES]
    paths += sorted((tree.root / "markers" / "refresh").glob(f"{run}-*.json"))
    for path in paths:
        if path.exists():
            yield f"  {'marker':<9} {path.relative_to(tree.root)}: {_summary(path.read_bytes())}"
    failures = [tree.failure_path(stage, run) for stage in STAGES]
    failures += sorted((tree.root / "failures" / "refresh").glob(f"{run}-*.json"))
    for path in failures:
        if path.exists():
            yield f"  {'failure':<9} {path.relative_to(tree.root)}: {_reason(path.read_bytes())}"
    if run in tree.watched():
        yield f"  {'watched':<9} archived without a stop time; archived again once its record changes"


def _summary(text: bytes) -> str:
    values = _values(text)
    return ", ".join(f"{key} {values[key]}" for key in _MARKER_KEYS if values.get(key) is not None) or "damaged"


def _reason(text: bytes) -> str:
    values = _values(text)
    return f"{values.get('message', 'damaged')} [{values.get('kind')}, {count(values.get('attempts') or 0, 'attempt')}]"


def _values(text: bytes) -> dict[str, Any]:
    try:
        values = json.loads(text)
    except ValueError:
        return {}
    return values if isinstance(values, dict) else {}


def _table(places: Mapping[str, Mapping[str, bytes]]) -> Iterator[str]:
    """A line per file: size and checksum in each place, and whether those that have it agree."""
    names = sorted({name for files in places.values() for name in files})
    width = max(len("file"), *(len(name) for name in names))
    yield "  ".join(["file".ljust(width), *(name.ljust(_WIDTH) for name in places), ""]).rstrip()
    asked = [files for files in places.values() if files]
    for name in names:
        found = {files.get(name) for files in asked}
        verdict = "DIFFERENT" if len(found) > 1 else "equal" if len(asked) > 1 else ""
        cells = [_cell(files.get(name)).ljust(_WIDTH) for files in places.values()]
        yield "  ".join([name.ljust(width), *cells, verdict]).rstrip()


def _cell(content: bytes | None) -> str:
    return _ABSENT if content is None else f"{len(content)} {hashlib.sha256(content).hexdigest()[:12]}"
