"""Conversion as a whole: every document valid, nothing of a record lost or overwritten."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_state.base.errors import RecordError
from rra_state.records import blob, convert, fhicl, source
from rra_state.records.model import Document, Record, RunDocuments, SourceFile
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.artdaqdb.document import shown_by_tools
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from tests.records import read_record
from tests.samples import RECORDS, with_real_records

RUNS = sorted(path.name for path in RECORDS.iterdir()) if RECORDS.is_dir() else ["absent"]
METADATA = b"Config name: demo\nComponent #0: a\n\nDAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"
WORDS = [
    b"Config name: ",
    b"Component #0: ",
    b" logfiles: ",
    b"boardreader",
    b"DAQInterface stop time: ",
    b"pmt logfile(s): ",
    b"EventBuilder host: ",
    b"EventBuilder label: ",
    b"Subsystem id: ",
    b"Subsystem source: ",
    b"export A=",
    b"a: ",
    b"1.0",
    b"[ a, b ]",
    b"[",
    b"]",
    b'"',
    b"'",
    b"\\",
    b"#",
    b'#include "x.fcl"',
    b"# c",
    b"\n",
    b"\n",
    b"\n",
    b"\r",
    b"\t",
    b" ",
    b"true",
    b"BEGIN_PROLOG: 1",
    b"END_PROLOG",
    b"@nil",
    b"@erase",
    b"\xe9",
    "é€\U0001f600".encode(),
    b"\xef\xbb\xbf",
    b"\0",
    b"\\xE9",
    b"\\u00E9",
    b"{",
    b"}",
    b",",
    b"host 1 l s 0 ",
    b"-",
    b"infinity",
    b"//",
    b"commit/version: ",
    b"\x0c",
    b"\x85",
]
NOT_FOR_ARTDAQDB = [
    (b"x: {a: 1}\n@table::x\n", "line 2: artdaqDB cannot hold @table:: references"),
    (b"x: [1]\nx[0]: 2\n", 'line 2: "x[0]": artdaqDB cannot hold names with an index'),
    (
        b"x: {a: 1}\ny: @local::x\ny: 3\n",
        'line 3: "y" is defined twice in a document with references; artdaqDB keeps the last only',
    ),
]
TEXT = st.lists(st.sampled_from(WORDS) | st.binary(max_size=6), max_size=20).map(b"".join)


def record(**texts: bytes) -> Record:
    """A record in memory: `boot=b"..."` is boot.txt, `reader_fcl=b"..."` is reader.fcl."""
    files = {"metadata.txt": METADATA}
    for name, data in texts.items():
        files[f"{name.removesuffix('_fcl')}.fcl" if name.endswith("_fcl") else f"{name}.txt"] = data
    return Record(
        7, tuple(SourceFile(name, data) for name, data in sorted(files.items())), (), "f" * 64, None, "stopped"
    )


def by_name(documents: RunDocuments) -> dict[str, Document]:
    return {document.name: document for document in documents.documents}


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(source.TEXTS), TEXT)
def test_any_bytes_become_valid_ascii_fhicl_that_is_not_empty(stem: str, data: bytes) -> None:
    for document in convert.convert(record(**{stem: data})).documents:
        document.text.decode("ascii")
        assert fhicl.values(document.text)


@settings(deadline=None)
@given(TEXT)
def test_the_setup_script_can_be_had_back_from_its_document(data: bytes) -> None:
    document = by_name(convert.convert(record(setup=data)))["setup.fcl"]

    script = fhicl.values(document.text)["setup_script"]
    assert isinstance(script, str)
    assert fhicl.unescape(script) == data


@with_real_records
@pytest.mark.parametrize("run", RUNS)
def test_sample_records_convert_and_come_back_from_a_blob(run: str) -> None:
    read = read_record(RECORDS / run, int(run))

    converted = convert.convert(read)

    originals = {file.name: file.data for file in read.files}
    for document in converted.documents:
        if document.source is None:
            assert document.text == originals[document.name]
        else:
            assert document.source.data == originals[document.source.name]
            document.text.decode("ascii")
            fhicl.values(document.text)
    texts = {document.source.name for document in converted.documents if document.source}
    assert texts == {name for name in originals if name.endswith(".txt")}
    files = {document.name: document.text for document in converted.documents}
    assert blob.unpack(blob.pack(int(run), files)).files == files


def test_every_text_and_both_histories_are_made() -> None:
    converted = convert.convert(record(**(dict.fromkeys(source.TEXTS, b"") | {"metadata": METADATA})))

    assert [document.name for document in converted.documents] == sorted(f"{stem}.fcl" for stem in convert.GENERATED)
    assert by_name(converted)["RunHistory.fcl"].text == b'run_number: 7\n\nconfig_name: "demo"\n\ncomponents: ["a"]\n\n'
    assert by_name(converted)["RunHistory2.fcl"].text == b'DAQInterface_stop_time: "Thu Oct 17 10:08:25 UTC 2024"'
    assert (converted.run, converted.configuration, converted.fingerprint) == (7, "7/demo", "f" * 64)
    assert converted.stop_time == "stopped"


def test_a_run_without_any_time_has_no_second_history() -> None:
    assert "RunHistory2.fcl" not in by_name(convert.convert(record(metadata=b"Config name: demo\n")))


def test_a_records_own_files_are_never_replaced() -> None:
    own = b"mine: true\n"

    made = by_name(
        convert.convert(
            record(boot=b"debug level: 1\n", boot_fcl=own, Boot_fcl=own, schema_fcl=own, RunHistory_fcl=own)
        )
    )

    assert {name for name, document in made.items() if document.text == own} == {
        "boot.fcl",
        "Boot.fcl",
        "schema.fcl",
        "RunHistory.fcl",
    }
    assert made["boot_txt.fcl"].text.startswith(b"debug_level: 1\n")
    assert made["RunHistory_txt.fcl"].text.startswith(b"run_number: 7\n")


def test_a_second_collision_finds_another_name_still() -> None:
    made = by_name(convert.convert(record(boot=b"", boot_fcl=b"a: 1", boot_txt_fcl=b"a: 1")))

    assert "boot_txt2.fcl" in made


def test_a_bad_file_is_kept_as_text_with_the_reason() -> None:
    bad = b"a: 1\nb: 12-5\n"

    converted = convert.convert(record(reader_fcl=bad))

    kept = by_name(converted)["reader.fcl"]
    assert kept.text == bad
    assert (kept.kept or "").startswith("line 2: ")
    (remark,) = converted.remarks
    assert str(remark) == f"reader.fcl {kept.kept}; kept as text"


@pytest.mark.parametrize(("data", "where"), NOT_FOR_ARTDAQDB)
def test_fhicl_that_artdaqdb_cannot_hold_is_kept_as_text(tmp_path: Path, data: bytes, where: str) -> None:
    fhicl.values(data)

    documents = convert.convert(record(reader_fcl=data))
    db = FilesystemDB(tmp_path, schema=b"main: {}\n")
    (staged,) = db.stage([documents], {})
    assert isinstance(staged, Staged)
    db.publish([staged])

    assert [each.kept for each in documents.documents if each.kept] == [where]
    assert db.export(db.locate([7])[7]).files == {each.name: each.text for each in documents.documents}
    with pytest.raises(RecordError, match=r"reader\.fcl line"):
        convert.convert(record(reader_fcl=data), on_bad_file="fail")


@pytest.mark.parametrize(
    ("data", "where"), [(b"a: 1\nb: 12-5\n", "reader.fcl line 2: "), (b"", "reader.fcl: the file is empty")]
)
def test_a_bad_file_fails_the_run_if_configured(data: bytes, where: str) -> None:
    with pytest.raises(RecordError) as caught:
        convert.convert(record(reader_fcl=data), on_bad_file="fail")

    assert str(caught.value).startswith(f"run 7: {where}")
    assert caught.value.hint


def test_a_text_left_out_of_fhiclize_generate_is_reported() -> None:
    converted = convert.convert(record(boot=b"", setup=b""), fhiclize=["boot", "RunHistory"])

    assert sorted(by_name(converted)) == ["RunHistory.fcl", "boot.fcl"]
    assert [each.file for each in converted.remarks] == ["metadata.txt", "setup.txt"]
    assert {each.text for each in converted.remarks} == {"is not in fhiclize_generate; not archived"}
    assert converted.config_name == "demo"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        (b"demo", "demo"),
        (b"sub/a  sub/b", "sub_a_sub_b"),
        (b'a"b`c(d)$(e)', "a_b_c_d_e_"),
        (b"caf\xe9", "caf_"),
        (b"a+b-c.d_e", "a+b-c.d_e"),
        (b"x" * 200, "x" * 150),
        (b"../..", "standard"),
        (b"", "standard"),
    ],
)
def test_the_configurations_name_is_one_that_every_tool_takes(text: bytes, name: str) -> None:
    converted = convert.convert(record(metadata=b"Config name: " + text + b"\n"))

    assert converted.config_name == name
    assert converted.config_text == text.decode("utf-8", "backslashreplace")


def test_the_configuration_is_the_same_everywhere() -> None:
    converted = convert.convert(record(metadata=b"Config name: 00123\nConfig name: caf\xe9 2\n"))

    for name in ("metadata.fcl", "RunHistory.fcl"):
        assert fhicl.values(by_name(converted)[name].text)["config_name"] == "caf\\xE9 2"
    assert converted.config_name == "caf_2"


OTHERS = {
    "rc_info_start.txt": b"trigger: 5\n\ton\r\n",
    "notes": bytes(range(256)),
    "boot": b"",
    "README": b"a: 1\n",
    ".fcl": b"a: 1\n",
    ".x.tmp": b"x",
    "two\nlines": b"x",
    'a"b\\c.txt': b"x",
    "d\xe9tecteur.fcl": b"a: 1\n",
    "d\udce9tecteur.fcl": b"a: 2\n",
    "d%C3%A9tecteur.fcl": b"a: 3\n",
    "README.fcl": b"a: 4\n",
    "\u20ac" * 80 + ".txt": b"x",
    "\u20ac" * 80 + ".md": b"y",
}


def test_case_e9_every_file_comes_back_by_name_and_bytes(tmp_path: Path) -> None:
    files = {"metadata.txt": METADATA, **OTHERS}
    read = Record(7, tuple(SourceFile(*each) for each in files.items()), (), "f" * 64, None, None)

    documents = convert.convert(read)
    db = FilesystemDB(tmp_path)
    (staged,) = db.stage([documents], {})
    assert isinstance(staged, Staged)
    db.publish([staged])
    export = db.export(db.locate([7])[7])

    sources = {each.name: each.data for each in export.sources}
    assert files == {name: sources.get(name, export.files.get(name)) for name in files}
    assert export.files == {each.name: each.text for each in documents.documents}
    blob.extract(blob.pack(7, export.files), tmp_path / "out")
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == export.files
    assert {"rc_info_start.txt", "README_2", "README.fcl", "%2Efcl", "d%E9tecteur.fcl"} <= export.files.keys()


def test_another_file_shows_name_and_text_to_artdaqs_tools() -> None:
    read = Record(7, (SourceFile("rc_info\n.txt", bytes(range(256))),), (), "f" * 64, None, None)
    (document,) = [each for each in convert.convert(read).documents if each.kept]

    values = fhicl.values(shown_by_tools(document))

    assert {key: fhicl.unescape(str(value)) for key, value in values.items()} == {
        "file_name": b"rc_info\n.txt",
        "text": bytes(range(256)),
    }
    assert document.entity == "rc_info_0A_txt"
