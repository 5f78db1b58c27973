"""Records spoilt by the thousand, through reading, converting, artdaqDB and the blob: archived exactly, or refused.

Never another exception, never longer than a few seconds, never more memory than a record deserves.
"""

from __future__ import annotations

import os
import re
import resource
import shutil
import time
from pathlib import Path
from random import Random

import pytest

from rra_state.base.errors import ArchiverError, FhiclError
from rra_state.records import blob, convert, fhicl
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from scripts.make_run_records import make_records
from tests.records import read_record
from tests.reliability.counts import count
from tests.reliability.spoil import WAYS
from tests.samples import RECORDS as RECORDS_OF_DAQ

LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
RECORDS = 20_000 if LONG else 200
CHUNK = 25
SECONDS = 20.0
"""CPU time that no record may take: a whole one takes a hundredth of that."""
MEMORY = 300 * 2**20
LARGEST = 150_000
"""Bytes of a sample that is spoilt; larger ones only take longer."""


@pytest.fixture
def samples(tmp_path: Path) -> list[dict[str, bytes]]:
    """Whole records: real ones, where they are, and made ones."""
    make_records(3, tmp_path / "made", first_run=1)
    directories = [*(tmp_path / "made").iterdir(), *(RECORDS_OF_DAQ.iterdir() if RECORDS_OF_DAQ.is_dir() else ())]
    found = [{file.name: file.read_bytes() for file in sorted(each.iterdir())} for each in sorted(directories)]
    return [record for record in found if sum(map(len, record.values())) < LARGEST]


@pytest.mark.timeout(3 * 3600)
def test_a_spoilt_record_is_archived_exactly_or_refused(
    samples: list[dict[str, bytes]], memory: Path, request: pytest.FixtureRequest
) -> None:
    chance = Random(20261125 if not LONG else None)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    archived = 0

    for first in range(1, RECORDS + 1, CHUNK):
        place = memory / f"records{first}"
        for run in range(first, first + CHUNK):
            _write(_spoilt(chance.choice(samples), chance), place / str(run))
        archived += _archive(place, memory / f"artdaqdb{first}")
        for each in memory.iterdir():
            shutil.rmtree(each)

    assert 0 < archived < RECORDS
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before < MEMORY
    count(request, "spoilt records, archived exactly", archived)
    count(request, "spoilt records, refused with the reason", RECORDS - archived)


def _spoilt(record: dict[str, bytes], chance: Random) -> dict[str, bytes]:
    """Files of a record after accidents. None is left of some: only such a record must be refused."""
    if chance.random() < 0.02:
        return {}
    files = dict(record)
    for _ in range(chance.choice((1, 1, 2, 5))):
        name = chance.choice(sorted(files))
        if chance.random() < 0.05:
            del files[name]
            if not files:
                return files
            continue
        files[name] = chance.choice(WAYS)(files[name], chance)
        if chance.random() < 0.05:
            files[chance.choice(("x" * 250, "a b", "ü", "-", "a'b\"", "%s")) + ".fcl"] = files[name]
    return files


def _write(files: dict[str, bytes], directory: Path) -> None:
    directory.mkdir(parents=True)
    for name, content in files.items():
        (directory / name).write_bytes(content)


def _stored(path: Path) -> str:
    """The name that both stores give a file of a record."""
    return re.sub(rb'[^ -~]|["\\]', lambda byte: b"%%%02X" % byte[0][0], os.fsencode(path.name)).decode()


def _archive(place: Path, archive: Path) -> int:
    """Take the records there through both stages; how many came out whole."""
    store, archived = FilesystemDB(archive), 0
    for directory in sorted(place.iterdir(), key=lambda path: int(path.name)):
        began = time.process_time()
        try:
            record = read_record(directory, int(directory.name))
            [staged] = store.stage([convert.convert(record, fhiclize=None, on_bad_file="keep_text")], {})
            if isinstance(staged, ArchiverError):
                raise staged
            assert isinstance(staged, Staged)
            store.publish([staged])
            export = store.export(store.locate([record.run])[record.run])
            unpacked = blob.unpack(blob.pack(record.run, export.files))
        except ArchiverError as error:
            if error.stops_cycle:
                raise
        else:
            archived += 1
            assert unpacked.files == export.files
            assert {file.name for file in record.files} == {path.name for path in directory.iterdir()}
            for path in directory.glob("*.fcl"):
                assert unpacked.files[_stored(path)] == path.read_bytes()
        assert time.process_time() - began < SECONDS, directory
    return archived


def test_what_the_printer_of_fhicl_writes_means_the_same(
    samples: list[dict[str, bytes]], request: pytest.FixtureRequest
) -> None:
    chance, read, refused = Random(7), 0, 0

    for _ in range(RECORDS):
        record = chance.choice(samples)
        name = chance.choice([name for name in sorted(record) if name.endswith(".fcl")])
        text = chance.choice(WAYS)(record[name], chance)
        try:
            printed = fhicl.dump(text)
        except FhiclError:
            refused += 1
            continue
        read += 1
        assert fhicl.dump(printed) == printed
        assert fhicl.values(printed) == fhicl.values(text)

    assert read
    assert refused
    count(request, "spoilt FHiCL documents", read + refused)
