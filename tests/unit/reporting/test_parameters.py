"""Columns of parameters: their types, and how they are printed."""

from __future__ import annotations

import json
from typing import Any

import pandas as pd
import pytest

from rra_state.reporting import parameters


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([True, None], "boolean"),
        ([1, None], "Int64"),
        ([1, 2.5], "Float64"),
        (["a", None], "string"),
        ([1, "a"], "object"),
        ([True, 1], "object"),
        ([10**30, 1], "object"),
        ([2**53, 2.5], "Float64"),
        ([2**53 + 1, 2.5], "object"),
        ([], "object"),
    ],
)
def test_a_column_has_the_type_of_its_values(values: list[Any], dtype: str) -> None:
    column = parameters._typed(values, 3)

    assert (str(column.dtype), len(column)) == (dtype, 3)


def test_a_large_whole_number_keeps_every_digit() -> None:
    assert parameters._typed([2**60 + 1, None], 2)[0] == 2**60 + 1


def test_an_empty_text_is_not_printed_like_a_missing_one() -> None:
    frame = pd.DataFrame({"run": [1, 2], "a.b": parameters._typed(["", None], 2)})

    assert [line.split() for line in parameters.text(frame, "text").splitlines()[1:]] == [["1", '""'], ["2", "-"]]


def test_every_value_is_printed_without_control_characters() -> None:
    columns = {"a\x1b[2J.x": ["b\x1b", None], "on": [True, None], "most": [float("inf"), 0.1234567891]}
    frame = pd.DataFrame({"run": [1, 2], **{name: parameters._typed(values, 2) for name, values in columns.items()}})

    text, csv, values = (parameters.text(frame, form) for form in ("text", "csv", "json"))

    assert [line.split() for line in text.splitlines()] == [
        ["run", r"a\x1B[2J.x", "on", "most"],
        ["1", r"b\x1B", "True", "inf"],
        ["2", "-", "-", "0.1234567891"],
    ]
    assert csv.splitlines()[2] == "2,,,0.1234567891"
    assert json.loads(values) == [
        {"run": 1, "a\x1b[2J.x": "b\x1b", "on": True, "most": "+infinity"},
        {"run": 2, "most": 0.1234567891},
    ]
