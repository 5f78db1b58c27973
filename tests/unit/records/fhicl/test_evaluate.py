"""References, dotted names, erasure and protection."""

from __future__ import annotations

import pytest

from rra_state.base.errors import FhiclError
from rra_state.records import fhicl
from rra_state.records.fhicl.evaluate import evaluate
from rra_state.records.fhicl.parse import parse


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a: {x: 1} b: @local::a b.x: 2", {"a": {"x": 1}, "b": {"x": 2}}),
        ("a: {x: {y: 1}} b: @local::a b.x.y: 2", {"a": {"x": {"y": 1}}, "b": {"x": {"y": 2}}}),
        ("a: [[1]] b: [0, @sequence::a] b[1][0]: 2", {"a": [[1]], "b": [0, [2]]}),
        ("a: {x: [1]} @table::a x[0]: 2", {"a": {"x": [1]}, "x": [2]}),
        ("a: [1, {x: 2}] b: @local::a[1].x", {"a": [1, {"x": 2}], "b": 2}),
        ("BEGIN_PROLOG p: {x: 1} END_PROLOG p.y: 2", {"p": {"y": 2}}),
        ("BEGIN_PROLOG p: {x: 1} p.y: 2 END_PROLOG a: @local::p", {"a": {"x": 1, "y": 2}}),
        ("BEGIN_PROLOG p: 1 END_PROLOG p: @erase a: @local::p", {"a": 1}),
        ("a: {x: 1 y: 2} a.x: @erase a.z.q: @erase", {"a": {"y": 2}}),
        ("a: {x: 1 x: @erase}", {"a": {}}),
        ("a: @nil a.b: 1", {"a": {"b": 1}}),
        ("t: {x: 1 y: 2} a: {x: 0 @table::t y: 3}", {"t": {"x": 1, "y": 2}, "a": {"x": 1, "y": 3}}),
        ("a @protect_ignore: {x: 1} a: 2 a: @erase", {"a": {"x": 1}}),
        ("a: {x @protect_ignore: 1} b: @local::a b.x: 2", {"a": {"x": 1}, "b": {"x": 1}}),
        ("a: {x @protect_ignore: 1 x: 2 x: @erase}", {"a": {"x": 1}}),
        ("t: {x: 2 y: 3} a: {x @protect_ignore: 1 @table::t}", {"t": {"x": 2, "y": 3}, "a": {"x": 1, "y": 3}}),
        ("a: {x @protect_error: 1 x: 2}", None),
        ("a: {x @protect_error: 1 x: @erase}", None),
        ("a @protect_error: 1 b: @local::a b: 2", {"a": 1, "b": 2}),
        ("BEGIN_PROLOG a @protect_error: 1 END_PROLOG a: 2", {"a": 2}),
        ("a: @local::b", None),
        ("a: 1 b: @local::a.x", None),
        ("a: [1] b: @local::a[1]", None),
        ("a: {} b: [@sequence::a]", None),
        ("a: [1] a[0]: @erase", None),
        ("a: 1 a.b: @erase", None),
        ("a: {x @protect_error: 1} a.x: 2", None),
        ("a: {x @protect_error: 1} a.x: @erase", None),
        ("a: {x: 1 x @protect_error: 2}", None),
        ("a: 1 a @protect_ignore: 2", None),
        ("t: {b @protect_ignore: 1} a @protect_error: @local::t", None),
        ("a[99999999]: 1", None),
    ],
)
def test_evaluation(text: str, values: dict[str, object] | None) -> None:
    if values is None:
        with pytest.raises(FhiclError):
            fhicl.values(text)
    else:
        assert fhicl.values(text) == values


def test_a_fault_of_evaluation_names_the_line() -> None:
    with pytest.raises(FhiclError, match=r'"a.b\[0\]": "b" is not a sequence') as caught:
        fhicl.values("a: {\nb: 1\n}\n\na.b[0]: 2\n")

    assert caught.value.line == 5


def test_values_are_pythons_own() -> None:
    text = r"""s: "tab\there \"q\" \\ it's" w: word n: @nil t: true i: 12345678 f: 2.5 c: (1, -2) l: [1e-3, 'x']
        big: 1e300 neg: -1e6 inf: -infinity"""

    assert fhicl.values(text) == {
        "s": 'tab\there "q" \\ it\'s',
        "w": "word",
        "n": None,
        "t": True,
        "i": 12345678,
        "f": 2.5,
        "c": 1 - 2j,
        "l": [0.001, "x"],
        "big": 1e300,
        "neg": -1_000_000,
        "inf": float("-inf"),
    }


def test_references_to_references_do_not_make_evaluation_endless() -> None:
    lines = ["a0: [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: [{', '.join([f'@local::a{i - 1}'] * 10)}]" for i in range(1, 30)]

    evaluate(parse("\n".join(lines)))
