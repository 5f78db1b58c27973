"""State and failure log by rule: the examples of docs/design/state.md, and what may never happen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_state.state.state_files import Derived, Known, Ledger, State, derive, raised
from tests.unit.archive_site import Site, edit_state, known, written

# ---- the examples of docs/design/state.md --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("runs", "contiguous"),
    [
        ([100, 101, 102, 103, 104, 105], 105),
        ([100, 101, 102, 105, 106, 107], 102),
        ([100, 101, 103, 104, 106, 107], 101),
        ([], 0),
    ],
)
def test_the_contiguous_run_of_the_guides_examples(runs: list[int], contiguous: int) -> None:
    assert derive(known(runs, runs), Ledger()).state.last_contiguous_run == contiguous


def test_the_guides_attempted_run_is_the_highest_tried() -> None:
    derived = derive(known(range(100, 107), [100, 101, 102, 105, 106], [103, 104]), Ledger())

    assert derived == Derived(State(102, 106), (103, 104), frozenset())


def test_incremental_mode_starts_above_both_numbers() -> None:
    assert State(102, 107).start == 107
    assert State(107, 102).start == 107


def test_the_guides_state_update(site: Site) -> None:
    keeper = site.keeper()
    edit_state(site, 100, 100)

    keeper.update(known(range(101, 106), [101, 102, 104, 105], [103]), attempted=True)

    assert written(site) == ({"last_contiguous_run": 102, "last_attempted_run": 105}, [103])


def test_the_guides_gap_closes_when_the_failed_runs_are_archived(site: Site) -> None:
    edit_state(site, 12100, 12150)
    site.settings.app.import_failure_log.write_text("12101\n12103\n12107\n")
    source = range(12101, 12151)
    missing = {12101, 12103, 12107}
    before = site.keeper().update(known(source, set(source) - missing))

    after = site.keeper().update(known(source, source), attempted=True, explicit=True)

    assert (before.state, before.log) == (State(12100, 12150), (12101, 12103, 12107))
    assert (after.state, after.log) == (State(12150, 12150), ())
    assert written(site) == ({"last_contiguous_run": 12150, "last_attempted_run": 12150}, [])


def test_an_empty_archive_has_the_documented_state(site: Site) -> None:
    site.keeper().update(known([], []))

    text = site.settings.app.import_state_file.read_text()
    assert text == '{\n  "last_contiguous_run": 0,\n  "last_attempted_run": 0\n}\n'
    assert site.settings.app.import_failure_log.read_text() == ""


# ---- what never may happen: a run lost without a word --------------------------------------------------------------

RUNS = st.integers(1, 40)
FATES = st.sampled_from(["archived", "failed", "late", "open"])


@given(st.dictionaries(RUNS, FATES), st.integers(0, 40), st.data())
def test_runs_up_to_attempted_are_archived_logged_or_open(
    fates: dict[int, str], base: int, data: st.DataObject
) -> None:
    attempted = data.draw(st.one_of(st.none(), st.integers(0, 50)))
    of = {fate: {run for run, is_so in fates.items() if is_so == fate} for fate in ("archived", "failed", "open")}
    runs = known(fates, of["archived"], of["failed"], of["open"])

    derived = derive(runs, Ledger(base=base, attempted=attempted))

    accounted = of["archived"] | of["open"] | set(derived.log)
    in_question = {run for run in fates if base < run <= derived.state.last_attempted_run}
    assert in_question <= accounted
    assert list(derived.log) == sorted(set(derived.log) - of["archived"])
    assert not derived.not_attempted & (of["open"] | runs.tried)


@given(st.dictionaries(RUNS, st.booleans(), min_size=1), st.data())
def test_the_order_in_which_runs_come_does_not_matter(outcomes: dict[int, bool], data: st.DataObject) -> None:
    order = data.draw(st.permutations(list(outcomes)))
    ledger, done = Ledger(), set()

    for run in order:
        done.add(run)
        tried = known(outcomes, {r for r in done if outcomes[r]}, {r for r in done if not outcomes[r]})
        ledger = replace(ledger, attempted=raised(tried, ledger.attempted or 0, explicit=False))

    archived = {run for run, good in outcomes.items() if good}
    at_once = derive(known(outcomes, archived, outcomes.keys() - archived), Ledger())
    assert derive(tried, ledger) == at_once


@given(st.sets(RUNS), st.sets(RUNS), st.integers(0, 40))
def test_named_runs_push_no_other_run_into_the_failure_log(source: set[int], named: set[int], attempted: int) -> None:
    tried = {run for run in source if run <= attempted} | (named & source)

    after = raised(known(source, tried), attempted, explicit=True)

    assert after >= attempted
    assert derive(known(source, tried), Ledger(attempted=after)).not_attempted == set()


def test_a_gap_stops_the_contiguous_run_until_filled() -> None:
    assert derive(known([1, 2, 3], [1, 3]), Ledger()).state == State(1, 3)
    assert derive(known([1, 2, 3], [1, 2, 3]), Ledger()).state == State(3, 3)


def test_a_run_that_appears_late_is_logged_as_never_attempted() -> None:
    derived = derive(known([5, 6, 7], [5, 7]), Ledger(attempted=7))

    assert (derived.log, derived.not_attempted) == ((6,), {6})


def test_an_open_run_is_not_in_the_log() -> None:
    assert derive(known([5, 6, 7], [5, 7], still_open=[6]), Ledger(attempted=7)).log == ()
    assert derive(known([5, 6, 7], [5, 7]), Ledger(attempted=7)).log == (6,)


def test_runs_above_the_attempted_one_are_no_failures() -> None:
    assert derive(known(range(100, 200), [100, 101]), Ledger()).log == ()


def test_only_runs_up_to_the_attempted_one_count() -> None:
    asked = []
    runs = Known(frozenset(range(1000)), frozenset(), frozenset(), lambda run: bool(asked.append(run)))

    derive(runs, Ledger(base=10, attempted=12))

    assert sorted(asked) == [11, 12]


def test_a_failed_run_without_record_stays_logged() -> None:
    assert derive(known([], [], [7]), Ledger()).log == (7,)


def test_the_attempted_run_never_falls_by_itself(site: Site) -> None:
    site.keeper().update(known([5, 9], [5], [9]), attempted=True)

    site.keeper().update(known([5], [5]), attempted=True)

    assert written(site)[0]["last_attempted_run"] == 9


def test_a_named_run_raises_attempted_only_to_untried_runs() -> None:
    assert raised(known([5, 6, 7, 9], [5, 6, 9]), 4, explicit=True) == 6
    assert raised(known([5, 6, 7, 9], [5, 6, 9], still_open=[7]), 4, explicit=True) == 9


def test_a_cycle_raises_attempted_to_its_highest_run() -> None:
    assert raised(known([5, 6, 7, 9], [5, 6, 9]), 4, explicit=False) == 9
