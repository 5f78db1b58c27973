"""Full names of FHiCL parameters, and which of them a pattern chooses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_state.base.errors import FhiclError
from rra_state.records import parameters
from rra_state.records.fhicl.values import Scalar
from rra_state.records.parameters import Patterns

TEXT = b"""
BEGIN_PROLOG
receiver: { generator: "KestrelA" rate: 2.50 }
END_PROLOG
daq: { fragment_receiver: @local::receiver channels: [3, {gain: 1}, []] empty: {} none: @nil on: true }
daq.fragment_receiver.rate: 7
"""


def named(text: bytes) -> dict[str, str]:
    return {name: value.text for name, value in parameters.parameters("reader01", text)}


def test_every_value_has_its_full_name_and_references_are_resolved() -> None:
    assert named(TEXT) == {
        "reader01.daq.fragment_receiver.generator": '"KestrelA"',
        "reader01.daq.fragment_receiver.rate": "7",
        "reader01.daq.channels[0]": "3",
        "reader01.daq.channels[1].gain": "1",
        "reader01.daq.channels[2]": "[]",
        "reader01.daq.empty": "{}",
        "reader01.daq.none": "@nil",
        "reader01.daq.on": "true",
    }


def test_a_document_without_definitions_has_no_parameter() -> None:
    assert named(b"BEGIN_PROLOG\na: 1\nEND_PROLOG\n") == {}


def test_an_empty_table_is_not_its_text() -> None:
    found = dict(parameters.parameters("x", b'a: {} b: "{}"'))

    assert found["x.a"] != found["x.b"] == Scalar("string", '"{}"')


def test_references_that_multiply_without_end_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parameters, "MAX_CHARACTERS", 10_000)
    lines = ["BEGIN_PROLOG", "t0: [1, 2]"]
    lines += [f"t{n}: [@local::t{n - 1}, @local::t{n - 1}, @local::t{n - 1}]" for n in range(1, 12)]
    text = "\n".join([*lines, "END_PROLOG", "all: @local::t11"]).encode()

    with pytest.raises(FhiclError, match="more than 10000 characters"):
        named(text)


@pytest.mark.parametrize(
    ("glob", "matches"),
    [
        ("*.generator", True),
        ("*.fragment_receiver.generator", True),
        ("reader0?.daq.fragment_receiver.gen*", True),
        ("reader01.generator", False),
        ("*.GENERATOR", False),
        ("*.generato", False),
        ("[a-z]*.generator", False),
    ],
)
def test_a_glob_matches_the_whole_name_with_dots(glob: str, matches: bool) -> None:
    assert Patterns([glob]).match("reader01.daq.fragment_receiver.generator") is matches


def test_brackets_in_a_glob_are_an_index() -> None:
    assert list(Patterns(["*.channels[0]", "*.channels[?].gain"]).chosen("reader01", TEXT)) == [
        "reader01.daq.channels[1].gain",
        "reader01.daq.channels[0]",
    ]


@pytest.mark.parametrize(
    ("glob", "stem", "may"),
    [
        ("reader01.daq.x", "reader01", True),
        ("reader01.daq.x", "reader02", False),
        ("reader01.daq.x", "reader01.daq", True),
        ("reader.01.daq.x", "reader.01", True),
        ("reader0*", "reader01", True),
        ("reader0*", "boot", False),
        ("*.x", "boot", True),
    ],
)
def test_a_components_pattern_asks_for_its_document_only(glob: str, stem: str, may: bool) -> None:
    assert Patterns([glob]).may_match_in(stem) is may


def test_a_document_without_the_name_is_not_parsed() -> None:
    assert Patterns(["*.absent"]).chosen("reader01", b"this is { no FHiCL") == {}
    with pytest.raises(FhiclError):
        Patterns(["*.this"]).chosen("reader01", b"this is { no FHiCL")


def test_a_pattern_with_many_stars_takes_no_time() -> None:
    assert not Patterns(["*a" * 12 + "*b"]).match("x." + "a" * 200)


NAMES = st.sampled_from(["a", "b", "ab", "a_b", "gen1"])
GLOBS = st.lists(st.sampled_from(["a", "b", "ab", "_", "gen1", ".", "*", "?", "[0]", "[*]", "]"]), max_size=7)


@given(NAMES, NAMES, NAMES, st.integers(0, 2), GLOBS.map("".join))
def test_what_a_glob_requires_excludes_no_document_that_matches(
    stem: str, table: str, name: str, index: int, glob: str
) -> None:
    text = f"{table}: {{ {name}: [1, 2, 3] }} {table}.{name}[{index}]: 9".encode()
    patterns = Patterns([glob])
    matching = {each for each, _ in parameters.parameters(stem, text) if patterns.match(each)}

    assert set(patterns.chosen(stem, text)) == matching
    assert patterns.may_match_in(stem) or not matching
