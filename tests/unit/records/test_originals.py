"""The DAQ's files behind those of a blob, also where names of converted and own files meet."""

from __future__ import annotations

from pathlib import Path

import pytest

from rra_state.records import blob, convert, originals
from rra_state.records.model import RunDocuments
from tests.records import read_record

TEXTS = {
    "metadata.txt": b"Config name: a\nDAQInterface start time: Thu Oct 17 10:08:25 UTC 2024\n",
    "boot.txt": b"a: b\n",
}
OWN = [
    {},
    {"boot.fcl": b"x: 1\n"},
    {"boot_txt.fcl": b"x: 1\n"},
    {"boot.fcl": b"x: 1\n", "boot_txt.fcl": b"", "RunHistory.fcl": b"y: 1\n"},
    {"setup.fcl": b"x: 1\n", "ranks_txt.fcl": b"#####\n"},
    {"d\udce9tecteur \u00fc.fcl": b"a: 1\n", ".fcl": b"", "100%41.fcl": b"", "a%2Fb": b"", 'quote"\\.txt': b"\r\n"},
]


def archived(directory: Path, files: dict[str, bytes]) -> RunDocuments:
    record = directory / "7"
    record.mkdir()
    for name, data in files.items():
        (record / name).write_bytes(data)
    return convert.convert(read_record(record, 7))


@pytest.mark.parametrize("own", OWN)
def test_a_blob_with_originals_gives_the_record_back(tmp_path: Path, own: dict[str, bytes]) -> None:
    run = archived(tmp_path, TEXTS | own)
    texts = [each.source for each in run.documents if each.source]

    stored = blob.unpack(blob.pack(7, {each.name: each.text for each in run.documents}, texts)).files
    found = originals.of_blob(7, stored, run.fingerprint)

    assert found.files == TEXTS | own
    assert not found.by_value


def test_without_originals_the_conversions_are_named() -> None:
    stored = {"boot.fcl": b"", "boot_txt.fcl": b"", "metadata.fcl": b"", "RunHistory.fcl": b"", "a.fcl": b""}

    found = originals.of_blob(7, stored, "unknown")

    assert found.by_value == {"boot_txt.fcl", "metadata.fcl", "RunHistory.fcl"}
    assert found.files == stored


def test_a_record_without_texts_needs_no_originals(tmp_path: Path) -> None:
    run = archived(tmp_path, {"boot.fcl": b"x: 1\n", "a.fcl": b"x: 1\n"})

    found = originals.of_blob(7, {each.name: each.text for each in run.documents}, run.fingerprint)

    assert not found.by_value
