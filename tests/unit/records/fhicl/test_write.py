"""What the writers make is FHiCL, and the original can be had back from it."""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rra_state.records import fhicl


def text_of(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


@given(st.one_of(st.binary(), st.text().map(str.encode), st.text(alphabet="\\xu0041\"'nA5C\n\t é").map(str.encode)))
@example(b"\\")
@example(b"\\\\")
@example(b'\\"')
@example(b'"\\')
@example(b"\\x41")
@example(b"\\u00E9\\xff")
@example(b"\\\xff")
@example(b"\xed\xa0\x80")
@example("😀\\".encode())
@settings(max_examples=400)
def test_any_bytes_come_back_from_a_quoted_string(data: bytes) -> None:
    literal = fhicl.quote(text_of(data))

    value = fhicl.values(f"a: {literal}\n")["a"]

    assert isinstance(value, str)
    assert fhicl.unescape(value) == data
    assert value == fhicl.unquote(literal)
    assert fhicl.snippet(f"a: {literal}\nb: 1".encode()).data["main"]["b"] == "1"


@pytest.mark.parametrize(
    ("value", "literal"),
    [
        ("plain", '"plain"'),
        ("", '""'),
        ('say "hi"', '"say \\"hi\\""'),
        ("a\\b", '"a\\\\b"'),
        ("ends\\", '"ends\\\\x5C"'),
        ("\\x41", '"\\\\x5Cx41"'),
        ("\\x4", '"\\\\x4"'),
        ("\n\t\r\x1b\x7f", '"\\n\\t\\\\x0D\\\\x1B\\\\x7F"'),
        ("é€😀", '"\\\\u00E9\\\\u20AC\\\\uD83D\\\\uDE00"'),
        ("\udce9", '"\\\\xE9"'),
    ],
)
def test_quote_writes_what_fhicl_cannot_hold_as_visible_escapes(value: str, literal: str) -> None:
    assert fhicl.quote(value) == literal


@given(st.text(max_size=30))
@settings(max_examples=150)
def test_a_name_made_of_anything_is_a_name(key: str) -> None:
    assert fhicl.values(f"{fhicl.name(key)}: 1") == {fhicl.name(key): 1}


def test_reserved_words_and_digits_get_an_underscore_in_front() -> None:
    assert [fhicl.name(key) for key in ("BEGIN_PROLOG_2", "END_PROLOG", "9a", "a-b.c d", "")] == [
        "_BEGIN_PROLOG_2",
        "_END_PROLOG",
        "_9a",
        "a_b_c_d",
        "_",
    ]


@pytest.mark.parametrize("value", ["0", "7", "-3", "123456", "1e6", "5e-1", "1.25e1", "true", "false"])
def test_an_atom_that_prints_as_itself_is_bare(value: str) -> None:
    assert fhicl.atom(value) == value


@pytest.mark.parametrize(
    "value", ["", ".", "007", "1.10", "1234567", "+5", "-0", "0xFF", "True", "@nil", "word", "1 2", "1\n"]
)
def test_any_other_atom_is_quoted(value: str) -> None:
    assert fhicl.atom(value) == fhicl.quote(value)


@given(st.lists(st.text(max_size=10), max_size=5))
@settings(max_examples=60)
def test_a_sequence_holds_its_values(values: list[str]) -> None:
    read = fhicl.values("a: " + fhicl.sequence(values))["a"]

    assert isinstance(read, list)
    assert [fhicl.unescape(str(item)).decode("utf-8", "surrogatepass") for item in read] == values


def test_the_empty_sequence_is_two_brackets() -> None:
    assert fhicl.sequence([]) == "[]"
    assert fhicl.sequence(["a", "b"]) == '["a", "b"]'
