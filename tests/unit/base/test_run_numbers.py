"""Sets of run numbers."""

from __future__ import annotations

import doctest
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_state.base import run_numbers
from rra_state.base.errors import UsageError

SETS = st.sets(st.integers(1, 200))


def test_the_examples_in_the_module_are_true() -> None:
    assert doctest.testmod(run_numbers).failed == 0


@pytest.mark.parametrize("name", ["1", "12345", "9" * 18])
def test_a_plain_decimal_is_a_run(name: str) -> None:
    assert run_numbers.number(name) == int(name)


@pytest.mark.parametrize("name", ["", "0", "007", "-1", "+1", "1.0", "1 ", "1\n", "1_0", "run1", "٣", "9" * 19])
def test_what_daqinterface_never_writes_is_no_run(name: str) -> None:
    assert run_numbers.number(name) is None


def test_of_many_file_names_the_same_ones_are_runs() -> None:
    names = [
        "1.json",
        "12345.json",
        "007.json",
        "3.json.tmp",
        ".4.json",
        "5\n6.json",
        "٣.json",
        "-7.json",
        "8json",
        "0.json",
    ]

    assert run_numbers.numbers(names, ".json") == {1, 12345}


@given(st.lists(st.sampled_from(["1", "12", "9" * 18, "9" * 19, "007", "0", "3,4", "1e5", "-7", "x", ""])))
def test_a_run_is_one_whatever_lies_beside_it(stems: list[str]) -> None:
    found = run_numbers.numbers([f"{stem}.json" for stem in stems], ".json")

    assert found == {run for stem in stems if (run := run_numbers.number(stem)) is not None}


@given(SETS)
def test_ranges_cover_exactly_these_runs(chosen: set[int]) -> None:
    found = run_numbers.ranges(chosen)

    assert {run for low, high in found for run in range(low, high + 1)} == chosen
    assert all(high + 1 < low for (_, high), (low, _) in pairwise(found))


@given(SETS)
def test_what_is_written_can_be_read(chosen: set[int]) -> None:
    assert run_numbers.parse(run_numbers.text(chosen)) == chosen


@given(SETS)
def test_gaps_lie_between_the_lowest_and_the_highest(chosen: set[int]) -> None:
    missing = {run for low, high in run_numbers.gaps(chosen) for run in range(low, high + 1)}

    assert missing == set(range(min(chosen, default=0), max(chosen, default=-1) + 1)) - chosen


@given(SETS, st.integers(0, 200))
def test_the_contiguous_run_is_where_the_first_gap_begins(chosen: set[int], start: int) -> None:
    last = run_numbers.last_contiguous(chosen, start)

    begin = start + 1 if start else min(chosen, default=1)
    assert set(range(begin, last + 1)) <= chosen
    assert last + 1 not in chosen or not (start or chosen)


def test_any_iterable_of_runs_will_do() -> None:
    assert run_numbers.last_contiguous(iter([2, 1, 3])) == 3


@pytest.mark.parametrize("selection", ["x", "5-", "-5", "7-5", "0", "0-3", "1-2-3", "1 - 2", "1..3", "1-99999999999"])
def test_a_bad_selection_is_refused_with_an_example(selection: str) -> None:
    with pytest.raises(UsageError, match=r"is no run or range of runs \(write 100-200,305\)"):
        run_numbers.parse(f"1,{selection}")


def test_blanks_and_empty_parts_of_a_selection_do_no_harm() -> None:
    assert run_numbers.parse(" 1-3 , ,7,") == {1, 2, 3, 7}
    assert run_numbers.parse("") == set()
