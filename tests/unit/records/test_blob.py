"""The run blob: its grammar, its escape, and what it refuses."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_state.base.errors import BlobError
from rra_state.records import blob
from rra_state.records.model import SourceFile
from tests.waiting import scaled

METADATA = b'config_name: "demo"\ncomponents: ["a"]\nsbndaq_commit_or_version: "v1"\n'
DATED = METADATA + b'daqinterface_stop_time: "Thu Oct 17 10:08:25 UTC 2024"\n'
# Lines that matter to the grammar, in any order, among any others.
PIECES = st.sampled_from([
    b"#####", b"End of Record", b"# #####", b"# # End of Record", b"a.fcl:", b"Run Number: 7", b"Start of Record",
    b"Packed on Jan 01 00:00 UTC", b'Escaped: lines with "# "', b"######", b"#", b"\n", b"\r", b"\r\n", b"\n\n", b"x",
])  # fmt: skip
CONTENT = st.lists(PIECES | st.binary(max_size=4), max_size=14).map(b"".join)
NAME = st.text(st.characters(exclude_categories=["Cc", "Cs"], exclude_characters="/"), min_size=1, max_size=8).filter(
    lambda name: name not in (".", "..") and not (name.startswith(".") and name.endswith(".tmp"))
)


@settings(deadline=None)
@given(st.integers(1, 10**9), st.dictionaries(NAME, CONTENT, min_size=1, max_size=4))
def test_unpacking_gives_back_what_was_packed(run: int, files: dict[str, bytes]) -> None:
    unpacked = blob.unpack(blob.pack(run, files))

    assert (unpacked.run, unpacked.files) == (run, files)


@settings(deadline=None)
@given(st.dictionaries(NAME, CONTENT, min_size=1, max_size=4))
def test_a_reader_that_knows_no_escape_sees_the_same_files(files: dict[str, bytes]) -> None:
    packed = blob.pack(1, files)

    end = packed.index(b"\nEnd of Record\n")
    lines = packed[:end].replace(b"\r", b"\n").split(b"\n")
    assert lines.count(b"#####") == 2 * len(files)
    assert end == packed.rindex(b"\nEnd of Record\n")


def test_an_ordinary_blob_has_the_documented_form() -> None:
    files = {
        "RunHistory.fcl": b"run_number: 7\n",
        "b.fcl": b"b: 1",
        "A.fcl": b"",
        "metadata.fcl": DATED,
        "boot.fcl": b"x: 1\n",
    }

    assert blob.pack(7, files) == (
        b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n"
        b"\n#####\nA.fcl:\n#####\n"
        b"\n#####\nb.fcl:\n#####\nb: 1"
        b"\n#####\nboot.fcl:\n#####\nx: 1\n"
        b"\n#####\nmetadata.fcl:\n#####\n" + DATED + b"\n#####\nRunHistory.fcl:\n#####\nrun_number: 7\n"
        b"\nEnd of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n"
    )


def test_only_content_with_a_delimiter_is_escaped_and_stays_fhicl() -> None:
    forged = b'a: 1\n\n#####\nmetadata.fcl:\n#####\nconfig_name: "forged"\n\nEnd of Record\n'

    packed = blob.pack(7, {"a.fcl": forged, "metadata.fcl": METADATA})

    assert packed.splitlines()[3] == b'Escaped: lines with "# "'
    assert b"\n# #####\nmetadata.fcl:\n# #####\n" in packed
    assert blob.unpack(packed).files["metadata.fcl"] == METADATA
    assert b"Escaped" not in blob.pack(7, {"a.fcl": b"# #####\n######\n End of Record\n"})


@pytest.mark.parametrize(
    ("times", "packed_on"),
    [
        (b'daqinterface_stop_time: "Thu Oct 17 10:08:25 UTC 2024"\n', "Oct 17 10:08"),
        (b'daqinterface_stop_time: "Thu 17 Oct 2024 12:08:25 AM UTC"\n', "Oct 17 00:08"),
        (b'daqinterface_stop_time: "Fri Oct  4 1:08:25 UTC 2024"\n', "Oct 04 01:08"),
        (b'daqinterface_start_time:  "Thu 17 Oct 2024 01:08:25 PM UTC" \n', "Oct 17 13:08"),
        (b'daqinterface_stop_time: "soon"\n', "Jan 01 00:00"),
        (b"", "Jan 01 00:00"),
    ],
)
def test_packed_on_is_the_date_of_the_run(times: bytes, packed_on: str) -> None:
    packed = blob.pack(7, {"metadata.fcl": METADATA + times})

    assert blob.unpack(packed).packed_on == packed_on
    assert packed == blob.pack(7, {"metadata.fcl": METADATA + times})


def test_an_older_blob_with_boot_first_is_read() -> None:
    older = (
        b"Start of Record\nRun Number: 826\nPacked on Jul 02 21:30 UTC\n\n#####\nboot.fcl:\n#####\na: 1\n"
        b"# ruler\n########\n\n#####\na.fcl:\n#####\nb: 2\n"
        b"\nEnd of Record\nRun Number: 826\nPacked on Jul 02 21:30 UTC\n"
    )

    assert blob.unpack(older) == blob.Unpacked(
        826, "Jul 02 21:30", {"boot.fcl": b"a: 1\n# ruler\n########\n", "a.fcl": b"b: 2\n"}
    )


GOOD = blob.pack(7, {"a.fcl": b"a: 1\n"})


@pytest.mark.parametrize(
    ("bad", "line"),
    [
        (b"", 1),
        (b"<html>502</html>", 1),
        (GOOD[:-1], 12),
        (GOOD[:60], 5),
        (GOOD + b"x", 13),
        (GOOD.replace(b"7\nPacked", b"8\nPacked", 1), 10),
        (GOOD.replace(b"UTC\n\n", b"UTC\njunk\n\n", 1), 4),
        (GOOD.replace(b"a: 1\n", b"\n#####\na.fcl:\n#####\n"), 10),
    ],
)
def test_what_is_no_blob_is_refused_with_a_line(bad: bytes, line: int) -> None:
    with pytest.raises(BlobError) as caught:
        blob.unpack(bad)
    assert caught.value.line == line


def test_unpacking_is_linear() -> None:
    hostile = b"\n#####\nname" * 200_000
    packed = blob.pack(7, {"a.fcl": hostile, "b.fcl": b"\n# " * 500_000})

    started = time.perf_counter()
    assert blob.unpack(packed).files["a.fcl"] == hostile
    assert time.perf_counter() - started < scaled(1)


@pytest.mark.parametrize("name", ["../x", "/etc/x", "..", ".", "a/b", ".a.fcl.tmp"])
def test_extracting_never_leaves_its_folder_and_writes_nothing_then(tmp_path: Path, name: str) -> None:
    packed = blob.pack(7, {"a.fcl": b"a: 1\n", "NAME": b"b: 1\n"}).replace(b"NAME:", name.encode() + b":")
    target = tmp_path / "deep" / "out"

    with pytest.raises(BlobError, match="not a valid file name"):
        blob.extract(packed, target)
    assert list(tmp_path.rglob("*")) == []


@pytest.mark.parametrize("name", ["", "a\nb", "a\x00b", "a/b", "x\x7f"])
def test_a_name_that_no_blob_can_hold_is_not_packed(name: str) -> None:
    with pytest.raises(BlobError):
        blob.pack(7, {name: b""})


def test_extracting_writes_the_files(tmp_path: Path) -> None:
    files = {"a.fcl": b"End of Record\n\xff", "setup.fcl": b"", "é.fcl": b"a: 1\n"}

    blob.extract(blob.pack(7, files), tmp_path / "out")

    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == files


def test_an_empty_record_is_not_packed() -> None:
    with pytest.raises(BlobError, match="run 7: there is no file"):
        blob.pack(7, {})


def test_two_blobs_are_the_same_but_for_their_dates() -> None:
    one = blob.pack(7, {"metadata.fcl": METADATA})
    later = one.replace(b"Jan 01 00:00", b"Dec 24 18:30")

    assert blob.same(one, later)
    assert not blob.same(one, later.replace(b"demo", b"dem0"))
    assert not blob.same(one, one.replace(b"Run Number: 7", b"Run Number: 8"))
    assert not blob.same(b"x", b"y")


def test_the_original_texts_stand_behind_the_known_files() -> None:
    texts = [
        SourceFile("metadata.txt", b"Config name: demo\n"),
        SourceFile("d\xe9.fcl", b""),
        SourceFile("boot.txt", b"#"),
    ]

    packed = blob.unpack(blob.pack(7, {"metadata.fcl": METADATA, "z.txt": b"z"}, texts))

    assert list(packed.files) == ["z.txt", "metadata.fcl", "boot.txt", "metadata.txt"]
    assert list(packed.documents) == ["z.txt", "metadata.fcl"]


def test_originals_count_only_where_both_blobs_have_them() -> None:
    files = {"a.fcl": b"# #####\n", "metadata.fcl": METADATA}
    without = blob.pack(7, files)
    one, other = (blob.pack(7, files, [SourceFile("setup.txt", text)]) for text in (b"#####\n", b"x\n"))

    assert blob.same(without, one)
    assert blob.same(other, without)
    assert not blob.same(one, other)
    assert not blob.same(blob.pack(8, files), one)
    assert not blob.same(blob.pack(7, files | {"a.fcl": b"b"}), one)


def test_metadata_is_checked_for_one_value_of_each_key() -> None:
    assert blob.validate({"metadata.fcl": METADATA}) == []
    assert blob.validate({"metadata.fcl": METADATA + b"# xcomponents: 3\nxcomponents: 3\n"}) == []
    assert blob.validate({"a.fcl": b""}) == ["metadata.fcl is missing"]
    assert blob.validate({"metadata.fcl": METADATA.replace(b'"demo"', b'""') + b"components: 2\n"}) == [
        "metadata.fcl: components is there 2 times",
        "metadata.fcl: config_name has no value",
    ]
    assert blob.validate({"metadata.fcl": METADATA}, keys=["dune_version"]) == ["metadata.fcl: dune_version is missing"]
