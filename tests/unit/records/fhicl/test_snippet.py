"""The tree artdaqDB holds: raw text, types, comments; and the way back to FHiCL."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rra_state.base.errors import FhiclError
from rra_state.records import fhicl

TEXT = rb"""# what it is
daq: {  # of the detector
   hex: 0x1F # annotation of hex
   esc: "tab\there"
   one: 'a "b"'
   // not a comment above
   bare: word
   c @protect_ignore: (1.0, 2.0)
   l: [ 1.0e-3, true, [], {x: +4} ]
}
n: @nil  u: infinity
"""


def test_every_scalar_is_its_source_text() -> None:
    assert fhicl.snippet(TEXT).data == {
        "prolog": {},
        "main": {
            "daq": {
                "hex": "0x1F",
                "esc": "tab\\there",
                "one": 'a "b"',
                "bare": "word",
                "c": "(1.0,2.0)",
                "l": ["1.0e-3", "true", [], {"x": "+4"}],
            },
            "n": "@nil",
            "u": "infinity",
        },
    }


@pytest.mark.parametrize("text", [TEXT, b"a: " + b"{ a: " * 150 + b"1" + b" }" * 150 + b"\n"], ids=["any", "deep"])
@pytest.mark.parametrize("size", [1, fhicl.ORJSON_BYTES + 1], ids=["small", "large"])
def test_a_packed_snippet_comes_back_as_it_was(text: bytes, size: int) -> None:
    snippet = fhicl.snippet(text)

    back = fhicl.Snippet.unpacked(snippet.packed(size), size)

    assert back == snippet
    assert json.dumps(back.metadata) == json.dumps(snippet.metadata)


def test_metadata_mirrors_the_data_with_types_and_comments() -> None:
    metadata = fhicl.snippet(TEXT).metadata

    assert metadata["prolog"] == {"type": "table", "comment": "#prolog", "children": {}}
    assert list(metadata["main"]) == ["type", "comment", "children"]
    daq = metadata["main"]["children"]["daq"]
    assert list(daq) == ["type", "comment", "children"]
    assert daq["comment"] == "# what it is"
    assert daq["children"]["hex"] == {
        "type": "number",
        "comment": "# of the detector",
        "annotation": "# annotation of hex",
    }
    assert daq["children"]["esc"]["comment"] == "# annotation of hex"
    assert daq["children"]["bare"]["comment"] == ""
    assert daq["children"]["c"]["protection"] == "@protect_ignore"
    assert [daq["children"][key]["type"] for key in ("esc", "one", "bare", "c", "l")] == [
        "string_doublequoted",
        "string_singlequoted",
        "string_unquoted",
        "complex",
        "sequence",
    ]
    assert {key: child["type"] for key, child in daq["children"]["l"]["children"].items()} == {
        "0": "number",
        "1": "bool",
        "2": "sequence",
        "3": "table",
    }


def test_every_comment_is_listed_with_its_line() -> None:
    assert fhicl.snippet(TEXT).comments[:2] == [
        {"linenum": 1, "value": "# what it is"},
        {"linenum": 2, "value": "# of the detector"},
    ]
    assert fhicl.snippet(b"a: '# no'").comments == [{"linenum": 0, "value": "No comments"}]


def test_the_snippet_is_json_that_the_real_tools_can_read() -> None:
    text = TEXT + b"x: 1 # bell \x07\ny: 'tab\tand\nline'\r\n"

    written = json.dumps({name: getattr(fhicl.snippet(text), name) for name in ("data", "metadata", "comments")})

    assert written.isascii()
    assert "null" not in written
    assert not re.search(r"\\[^\"\\bfnrt]", written)


def test_references_stay_text_and_order_is_kept() -> None:
    text = b"BEGIN_PROLOG p: {q: 1} END_PROLOG z: @local::p a.b: 1 s: [@sequence::t] z2: @db::x"

    data = fhicl.snippet(text).data

    assert data["prolog"] == {"p": {"q": "1"}}
    assert list(data["main"].items()) == [
        ("z", "@local::p"),
        ("a.b", "1"),
        ("s", ["@sequence::t"]),
        ("z2", "@db::x"),
    ]


def test_an_include_becomes_a_numbered_key() -> None:
    snippet = fhicl.snippet(b'a: 1 # x\n#include "one.fcl"\n#include "two.fcl"\nb: 2\n')

    assert snippet.data["main"] == {
        "a": "1",
        "fhicl_pound_include_0": "one.fcl",
        "fhicl_pound_include_1": "two.fcl",
        "b": "2",
    }
    assert snippet.metadata["main"]["children"]["fhicl_pound_include_0"] == {
        "type": "string_doublequoted",
        "comment": "",
        "annotation": "",
    }
    written = fhicl.from_snippet({"data": snippet.data, "metadata": snippet.metadata})
    assert b'\n#include "one.fcl"\n' in written


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"a[1]: 9",
        b"t: {} a: {@table::t}",
        b"t: {x: 1} a: @local::t.x",
        b"a: 1.2.3",
        b'a: "\\x"',
        b"x: 1 y: @local::x x: 2",
        b"a @protect_ignore: 1 a: 2",
        b"a: {b: 1} a.b: 2 a: {b: 3}",
        b'#include "x.fcl"\nBEGIN_PROLOG p: 1 END_PROLOG',
    ],
)
def test_what_artdaqdb_cannot_hold_is_refused(text: bytes) -> None:
    with pytest.raises(FhiclError) as caught:
        fhicl.snippet(text)

    assert caught.value.line is not None


def test_of_two_equal_names_the_later_wins() -> None:
    assert fhicl.snippet(b"a: {b: 1} a: {c: 2}").data["main"] == {"a": {"c": "2"}}


def test_a_checked_snippet_is_of_a_valid_document() -> None:
    assert fhicl.checked_snippet(b"a: 1") == fhicl.snippet(b"a: 1")
    with pytest.raises(FhiclError, match=r'line 2: "a-b" is not a FHiCL value \(quote it\)'):
        fhicl.checked_snippet(b"a: 1\nb: a-b")
    with pytest.raises(FhiclError, match="not defined"):
        fhicl.checked_snippet(b"a: @local::b")


def test_foreign_documents_are_written_as_fhicl() -> None:
    document = {
        "data": {
            "prolog": {},
            "main": {"n": 3, "t": True, "f": 1.5, "s": "a b", "w": "@local::x", "e": {}, "l": ["1", "x-y"]},
        },
        "metadata": {
            "main": {"children": {"s": {"type": "string_doublequoted", "comment": "#include x", "annotation": "y"}}}
        },
    }

    text = fhicl.from_snippet(document)

    assert text == (
        b'n: 3\n\nt: true\n\nf: 1.5\n# #include x\ns: "a b" # y\n\nw: @local::x\n\ne: {\n}\n\nl: [1, "x-y"]\n'
    )


@pytest.mark.parametrize("data", [{"a": None}, {"a": "é"}, {"a b": "1"}, {"a": 'x"'}, {"a": "x\\"}])
def test_a_foreign_document_that_makes_no_fhicl_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(FhiclError):
        fhicl.from_snippet({"data": {"main": data}})


SCALARS = st.sampled_from(
    ["1", "0x1F", "1.50", "word", "true", "@nil", "'a \"b\"'", '"q\\"\\\\ x"', "(1,2)", "-infinity", "3abc", '"x\ny"']
)
NAMES = st.sampled_from(["a", "b", "c_1", "d"])
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + " , ".join(items) + "]"),
        st.dictionaries(NAMES, inner, max_size=3).map(
            lambda items: "{ # c\n" + "\n".join(f"{k}: {v}" for k, v in items.items()) + "\n}"
        ),
    ),
    max_leaves=12,
)


@given(st.lists(st.tuples(NAMES, VALUES), min_size=1, max_size=5))
@settings(max_examples=150)
def test_the_tree_means_what_the_text_meant(members: list[tuple[str, str]]) -> None:
    text = "\n".join(f"# above {name}\n{name}: {value} # beside" for name, value in members).encode()

    snippet = fhicl.checked_snippet(text)

    stored = json.loads(json.dumps({"data": snippet.data, "metadata": snippet.metadata}))
    assert fhicl.dump(fhicl.from_snippet(stored)) == fhicl.dump(text)
