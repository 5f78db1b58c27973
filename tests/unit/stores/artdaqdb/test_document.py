from __future__ import annotations

import base64
import json
import re
from datetime import datetime, timedelta, timezone

import pytest

from rra_state.base.errors import FhiclError, RecordError, VerificationError
from rra_state.records.model import Document, SourceFile
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb.base import Item, Location
from tests.unit.stores.artdaqdb.artdaqdb_helpers import record

NOW = "2026-11-23T20:20:41.006+0000"
VERSION = documents.RunVersion(300, "300/standard", "300/standardv1", NOW, 1, "digest")


def location(version: str = "300/standardv1") -> Location:
    return Location(300, "300/standard", version, ())


def item(tree: documents.Tree, entity: str = "boot") -> Item:
    return Item("RunHistory", entity, tree["_id"]["$oid"])


def test_a_document_has_every_key_in_artdaqs_order() -> None:
    tree = documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION)

    assert " ".join(tree) == (
        "document comments origin version entities configurations changelog bookkeeping _id collection "
        "aliases runs attachments configtype"
    )
    assert tree["document"]["data"] == {"prolog": {}, "main": {"level": "3"}}
    assert tree["document"]["search"] == []
    assert tree["comments"] == [{"linenum": 0, "value": "No comments"}]
    assert list(tree["origin"]) == ["format", "name", "source", "timestamp", "created", "rawdata"]
    assert tree["version"] == "300/standardv1"
    assert tree["entities"] == [{"name": "boot", "assigned": NOW}]
    assert tree["configurations"] == [{"name": "300/standard", "assigned": NOW}]
    assert tree["runs"] == [{"name": "300", "assigned": NOW}]
    assert tree["aliases"] == {"active": [], "history": []}
    assert (tree["changelog"], tree["configtype"], tree["attachments"]) == ("notprovided", "notprovided", [])


def test_the_bookkeeping_has_five_events_in_order() -> None:
    bookkeeping = documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION)["bookkeeping"]

    assert [(each["event"], each["value"]["name"]) for each in bookkeeping["updates"]] == [
        ("addConfiguration", "300/standard"),
        ("setVersion", "300/standardv1"),
        ("setCollection", "RunHistory"),
        ("addEntity", "boot"),
        ("addRun", "300"),
    ]
    assert (bookkeeping["isdeleted"], bookkeeping["isreadonly"], bookkeeping["created"]) == (False, False, NOW)


def test_the_origin_keeps_text_and_source_as_plain_strings() -> None:
    source = SourceFile("boot.txt", b"level: 3 \xff\r\n")

    origin = documents.tree(Document("boot.fcl", b"level: 3\n", source), VERSION)["origin"]

    assert origin["source"] == "fhicl_to_json"
    assert origin["rawdata"][:2] == ["rra:base64", base64.b64encode(b"level: 3\n").decode()]
    assert base64.b64encode(source.data).decode() in origin["rawdata"]
    assert all(re.fullmatch(r"[\w:.+/= -]*", text, re.ASCII) for text in origin["rawdata"])


def test_case_d8_a_file_kept_as_text_has_an_empty_tree() -> None:
    kept = Document("odd.fcl", b"a-b: \x00\xe9", kept='line 1: "a\\b" \u2013 quote it')

    tree = documents.tree(kept, VERSION)
    stored = documents.unpack(documents.decode(documents.encode(tree)), item(tree, "odd"), location())

    assert tree["document"]["data"] == {"prolog": {}, "main": {}}
    assert tree["document"]["metadata"]["main"] == {"type": "table", "comment": "#main", "children": {}}
    assert stored.file == SourceFile("odd.fcl", b"a-b: \x00\xe9")


def test_case_d7_a_rewritten_empty_text_is_read() -> None:
    empty = Document("odd.fcl", b"", SourceFile("odd.txt", b""), kept="the file is empty")
    tree = documents.tree(empty, VERSION)
    rawdata = tree["origin"]["rawdata"]
    tree["origin"]["rawdata"] = [text or "notprovided" for text in rawdata]  # as artdaq's ovlStringKeyValue does

    stored = documents.unpack(tree, item(tree, "odd"), location())

    assert "" in rawdata
    assert (stored.file, stored.source) == (SourceFile("odd.fcl", b""), SourceFile("odd.txt", b""))


def test_encoding_uses_only_the_escapes_that_artdaq_reads() -> None:
    tree = documents.tree(Document("odd.fcl", b"\x00", kept="\u00e9 \x1f \x7f"), VERSION)
    tree["comments"] = [{"linenum": 1, "value": '# "quoted" \\u0041 \\\\u tab\t'}]

    raw = documents.encode(tree)

    assert raw.isascii()
    assert set(re.findall(r"\\(.)", raw.decode())) <= set('"\\bfnrt')
    assert b"null" not in raw
    assert json.loads(raw) == tree


@pytest.mark.parametrize("depth", [1, 20, 150], ids=["flat", "nested", "deeper than orjson goes"])
def test_a_document_has_the_bytes_that_pythons_own_json_gives(depth: int) -> None:
    text = b"# of the detector\na: " + b"{ t: " * depth + rb"'x \/ \\ y'" + b" }" * depth + b"\n"

    tree = documents.tree(Document("boot.fcl", text), VERSION)

    assert documents.encode(tree) == json.dumps(tree, separators=(",", ":")).encode()


@pytest.mark.parametrize("text", ["\x01", "\x7f", "\u00e9", "a\\\x01"])
def test_a_character_that_artdaq_cannot_read_back_is_refused(text: str) -> None:
    tree = documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION)
    tree["comments"] = [{"linenum": 1, "value": text}]

    with pytest.raises(RecordError, match="document boot"):
        documents.encode(tree)


def test_a_text_that_is_not_fhicl_names_its_file() -> None:
    with pytest.raises(FhiclError) as caught:
        documents.tree(Document("odd.fcl", b"a: %\n"), VERSION)

    assert caught.value.path == "odd.fcl"


@pytest.mark.parametrize("name", ["b\u00f6.fcl", 'a".fcl', "a\\.fcl", "../a.fcl", "a\n.fcl"])
def test_a_name_that_artdaq_cannot_hold_fails_the_run(name: str) -> None:
    with pytest.raises(RecordError) as caught:
        documents.check_names(record(300, {name: b"a: 1\n"}))

    assert caught.value.run == 300


def test_two_files_of_one_entity_fail_the_run() -> None:
    with pytest.raises(RecordError, match="two files"):
        documents.check_names(record(300, {"boot": b"a: 1\n", "boot.fcl": b"a: 1\n"}))


def test_a_name_without_fcl_comes_back_as_it_was() -> None:
    tree = documents.tree(Document("notes", b"a: 1\n"), VERSION)

    assert documents.unpack(tree, item(tree, "notes"), location()).file.name == "notes"


def test_times_are_local_with_an_offset_and_no_colon() -> None:
    moment = datetime(2026, 1, 2, 3, 4, 5, 6789, timezone(timedelta(hours=-6)))

    text = documents.timestamp(moment)

    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.006[+-]\d{4}", text)
    assert datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z") == moment.replace(microsecond=6000)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": "301/standard"}, "version 301/standard"),
        ({"entities": [{"name": "setup"}]}, "entity setup"),
        ({"runs": [{"name": "301"}]}, "run 301"),
        ({"_id": {"$oid": "f" * 24}}, "object ffff"),
    ],
)
def test_a_document_that_is_another_one_inside_is_refused(change: dict[str, object], message: str) -> None:
    tree = documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION)
    asked = item(tree)

    with pytest.raises(VerificationError, match=message) as caught:
        documents.unpack(tree | change, asked, location())

    assert caught.value.run == 300


def test_an_older_version_of_the_configuration_is_accepted() -> None:
    tree = documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION)

    assert documents.unpack(tree, item(tree), location(version="300/standardv12")).exact


@pytest.mark.parametrize(
    ("place", "value"), [(1, "bGV2ZWw6IDQK"), (1, "b"), (3, "0" * 64), (7, "many"), (5, None), (13, "0" * 64)]
)
def test_damage_in_the_raw_data_is_found(place: int, value: str | None) -> None:
    tree = documents.tree(Document("boot.fcl", b"level: 3\n", SourceFile("boot.txt", b"level")), VERSION)
    rawdata = tree["origin"]["rawdata"]
    assert len(rawdata) == 16
    rawdata[place:] = [value, *rawdata[place + 1 :]] if value else []

    with pytest.raises(VerificationError) as caught:
        documents.unpack(tree, item(tree), location())

    assert caught.value.run == 300


def test_a_long_integer_of_another_program_keeps_its_digits() -> None:
    number = 2**70 + 1

    assert documents.decode(b'{"document": {"data": {"main": {"level": %d}}}}' % number)["document"]["data"] == {
        "main": {"level": number}
    }


@pytest.mark.parametrize("value", [b'"\\ud800"', b"NaN"])
def test_unusual_json_of_another_program_is_read(value: bytes) -> None:
    tree = documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION)
    raw = documents.encode(tree).replace(b'"notprovided"', value)

    read = documents.decode(raw)

    assert documents.unpack(read, item(tree), location()).file == SourceFile("boot.fcl", b"level: 3\n")


@pytest.mark.parametrize("raw", [b"", b"{", b"[1]", b'{"a": 1} x', b'{"a": "\xff"}'])
def test_what_is_no_json_object_is_damaged(raw: bytes) -> None:
    with pytest.raises(VerificationError, match="the document is damaged"):
        documents.decode(raw)


def test_a_large_document_is_not_read_by_orjson(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = documents.encode(documents.tree(Document("boot.fcl", b"level: 3\n"), VERSION))
    monkeypatch.setattr(documents, "_ORJSON_BYTES", len(raw) - 1)
    monkeypatch.setattr(documents.orjson, "loads", lambda _: pytest.fail("orjson ends the process where memory does"))

    assert documents.decode(raw)["document"]["data"]["main"] == {"level": "3"}
