"""Archives of 100,000 runs in seconds: what the archiver leaves behind, without the records, documents and blobs.

Run N has the shape of one of a few made-up records: the same file names, configuration, times, sizes and check sums.
Names, keys, object ids, rows and files are those that the archiver itself would have made, so that it finds nothing to
do (tests/acceptance/test_large_archive.py). The directories of the records are empty, documents and blobs not there.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
import time
import zlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import orjson
import psycopg

from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.monitoring import cycle_history
from rra_state.records import blob, convert, source
from rra_state.records.model import RunDocuments
from rra_state.state import changed_records, index_losses, newer_versions
from rra_state.state.markers import ON_DISK, SEEN, UNVERIFIED, Tree
from rra_state.state.outcome import STAGES, Facts, Marker, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Ledger, StateFiles
from rra_state.state.tally import Ended
from rra_state.state.tree_files import encode
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb import index as indexes
from rra_state.stores.artdaqdb import versions
from rra_state.stores.artdaqdb.base import RUN_HISTORY
from rra_state.stores.artdaqdb.document import object_id, timestamp
from rra_state.workers import import_stage
from scripts.make_run_records import make_records
from tests.records import read_record
from tests.servers import Folder

SHAPES = 8
"""So many records are really made and converted; runs 1 to 8 are these."""
SECONDS_PER_RUN = 600
"""The last run was archived now, the one before ten minutes earlier, and so on."""


@dataclass(frozen=True)
class Shape:
    """What a run has in common with the record it is modelled on. import_, migrate: the facts of its two markers."""

    name: str
    entities: tuple[str, ...]
    facts: dict[Stage, Facts]

    def configuration(self, run: int) -> str:
        """Configuration and version of a run of this shape."""
        return f"{run}/{self.name}"

    def oids(self, run: int) -> list[str]:
        """Object ids of its documents, in the order of `entities`."""
        return [object_id(RUN_HISTORY, self.configuration(run), entity) for entity in self.entities]


def grow(config_file: Path, folder: Folder, count: int) -> None:
    """Make the site of this configuration one where runs 1 to `count` are archived in both stores."""
    settings = loading.load(config_file)
    tree = Tree(settings.app.work_dir)
    tree.prepare()
    make_listing(settings.source_files.run_records_dir, count)
    if settings.artdaq_db.database_uri.startswith("postgres"):
        fill_postgres(settings, count)
    else:
        fill_directory(settings, count)
    fill_ucondb(folder, count)
    make_markers(tree, count)
    make_watches(settings, tree, count)
    make_state(settings, tree)


# ---- the places ----------------------------------------------------------------------------------------------------


def make_listing(records: Path, count: int) -> None:
    """An empty directory for every run."""
    records.mkdir(parents=True, exist_ok=True)
    for run in range(1, count + 1):
        os.mkdir(f"{records}/{run}", 0o555)  # noqa: PTH102 - twice as fast


def fill_directory(settings: Settings, count: int) -> None:
    """A filesystemdb whose index lists all documents."""
    store = artdaqdb.open_store(settings.artdaq_db)
    store.stage([], {})
    path = Path(settings.artdaq_db.database_uri.removeprefix("filesystemdb://"))
    (path / RUN_HISTORY / indexes.NAME).write_bytes(_index(count))


def _index(count: int) -> bytes:
    """Byte for byte as the archiver writes it. Source: docs/design/artdaqdb.md, Index file."""
    by_configuration: dict[str, list[str]] = {}
    by_run: dict[str, list[str]] = {}
    by_entity: dict[str, list[str]] = defaultdict(list)
    for run, shape in _runs(count):
        oids = shape.oids(run)
        for entity, oid in zip(shape.entities, oids, strict=True):
            by_entity[entity].append(oid)
        by_configuration[shape.configuration(run)] = by_run[str(run)] = sorted(oids)
    now = timestamp()
    index = {
        "ouid": sorted(oid for oids in by_entity.values() for oid in oids),
        indexes.VERSION: by_configuration,
        indexes.CONFIGURATION: by_configuration,
        indexes.ENTITY: {entity: sorted(oids) for entity, oids in by_entity.items()},
        indexes.ALIAS: {},
        indexes.RUN: by_run,
        indexes.ASSIGNED: {configuration: [now] for configuration in by_configuration},
    }
    return orjson.dumps(index)


def fill_postgres(settings: Settings, count: int) -> None:
    """The rows of all versions and documents; the documents themselves are empty."""
    artdaqdb.open_store(settings.artdaq_db).stage([], {})
    now = timestamp()
    with psycopg.connect(settings.artdaq_db.database_uri) as connection, connection.cursor() as cursor:
        with cursor.copy(
            "copy artdaqdb.versions (configuration, version, number, run, assigned, visible) from stdin"
        ) as to:
            for run, shape in _runs(count):
                to.write_row((shape.configuration(run), shape.configuration(run), 0, run, now, True))
        cursor.execute("set local session_replication_role = replica")  # a foreign key checked 1.7 million times
        columns = "collection, oid, entity, configuration, version, document"
        with cursor.copy(f"copy artdaqdb.documents ({columns}) from stdin") as to:
            for run, shape in _runs(count):
                name = shape.configuration(run)
                for entity, oid in zip(shape.entities, shape.oids(run), strict=True):
                    to.write(f"{RUN_HISTORY}\t{oid}\t{entity}\t{name}\t{name}\t{{}}\n")
    _analyse(settings.artdaq_db.database_uri, "artdaqdb.versions", "artdaqdb.documents")


def fill_ucondb(folder: Folder, count: int) -> None:
    """The rows of all versions, with the size and check sum of their blobs; the blobs themselves are empty."""
    name, uri = folder.folder, folder.server.pg()
    tables = {
        f"{name}_versions (id, key, object, tv, data_size, data_key, adler32)": lambda run, facts: (
            *(run, str(run), "configuration", 0.0, facts.size, str(run), facts.adler32),
        ),
        f"{name}_tags (version_id, tag_name)": lambda run, _: (run, str(run)),
        f"{name}_data (key, hash, size, data)": lambda run, facts: (run, facts.adler32, facts.size, b""),
    }
    with psycopg.connect(uri) as connection, connection.cursor() as cursor:
        for table, row in tables.items():
            with cursor.copy(f"copy {table} from stdin") as to:
                for run, shape in _runs(count):
                    to.write_row(row(run, shape.facts["migrate"]))
        for table, key in (("versions", "id"), ("data", "key")):
            cursor.execute(f"select setval('{name}_{table}_{key}_seq', {count})")
    _analyse(uri, f"{name}_versions", f"{name}_tags", f"{name}_data")


def _analyse(uri: str, *tables: str) -> None:
    with psycopg.connect(uri, autocommit=True) as connection:
        for table in tables:
            connection.execute(f"vacuum analyze {table}")


# ---- the work directory --------------------------------------------------------------------------------------------


def make_markers(tree: Tree, count: int) -> None:
    """Both markers of every run."""
    now = time.time()
    for stage in STAGES:
        patterns = [_pattern(stage, shape) for shape in shapes()]
        directory = os.open(tree.marker_path(stage, 1).parent, os.O_RDONLY)
        for run, _ in _runs(count):
            archived = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - (count - run) * SECONDS_PER_RUN))
            text = patterns[(run - 1) % SHAPES] % {b"run": b"%d" % run, b"archived": archived.encode()}
            file = os.open(f"{run}.json", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory)
            os.write(file, text)
            os.close(file)
        os.close(directory)


_RUN = 271828182845
"""Stands for the run number in a pattern."""


def _pattern(stage: Stage, shape: Shape) -> bytes:
    """The archiver's own marker, with places for run and time."""
    facts = replace(shape.facts[stage], version=shape.configuration(_RUN))
    if stage == "migrate":
        facts = replace(facts, ucondb_id=_RUN, ucondb_data_key=str(_RUN))
    marker = replace(Marker.of(stage, _RUN, facts), archived="%(archived)s")
    text = encode(marker.mapping()).replace(b"%", b"%%").replace(b"%%(archived)s", b"%(archived)s")
    return text.replace(b"%d" % _RUN, b"%(run)s")


def make_watches(settings: Settings, tree: Tree, count: int) -> None:
    """What cycles leave of their watches: of runs archived within `watch_days`, and of those without a stop time."""
    files, now, seen = settings.source_files, time.time(), {}
    for run, shape in _runs(count):
        age = (count - run) * SECONDS_PER_RUN
        if age < files.watch_days * 86400 or not shape.facts["import"].stop_time:
            watch = tree.root / "watch" / str(run)
            watch.touch()
            os.utime(watch, (now - age, now - age))
            seen[str(run)] = source.signature(files, run)
    tree.write_note(changed_records.NOTE, seen)


def make_state(settings: Settings, tree: Tree) -> None:
    """State files, failure logs, ledgers and notes, by the archiver's own code."""
    snapshot = Snapshot.take(settings)
    for stage in STAGES:
        known = snapshot.known(stage)
        StateFiles(settings, stage).write(known, Ledger(attempted=max(known.archived, default=0)))
    stamp = artdaqdb.open_store(settings.artdaq_db).stamp()
    tree.write_note(index_losses.NOTE, {"stamp": stamp})
    tree.write_note(newer_versions.NOTE, {"stamp": stamp, "versions": {}, "unfinished": {}})
    tree.write_noted_runs(ON_DISK, snapshot.records)
    tree.write_noted_runs(SEEN, ())
    tree.write_noted_runs(UNVERIFIED, ())
    cycle_history.record(tree, Ended(STAGES, 1.0))


# ---- shapes --------------------------------------------------------------------------------------------------------


def _runs(count: int) -> Iterator[tuple[int, Shape]]:
    every = shapes()
    return ((run, every[(run - 1) % SHAPES]) for run in range(1, count + 1))


@cache
def shapes() -> Sequence[Shape]:
    """Taken from runs 1 to 8 of `make_run_records`."""
    with tempfile.TemporaryDirectory() as name:
        runs = make_records(SHAPES, Path(name), first_run=1)
        return [_shape(convert.convert(read_record(Path(name) / str(run), run))) for run in runs]


def _shape(record: RunDocuments) -> Shape:
    """What import and migration find out of a record."""
    staged = versions.plan(record, None, timestamp(), None).staged
    imported = import_stage.facts_of(record, staged)
    content = blob.pack(record.run, {document.name: document.text for document in record.documents})
    migrated = replace(
        imported,
        size=len(content),
        adler32=zlib.adler32(content),
        sha256=hashlib.sha256(content).hexdigest(),
    )
    entities = tuple(document.entity for document in record.documents)
    return Shape(record.config_name, entities, {"import": imported, "migrate": migrated})
