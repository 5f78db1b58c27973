"""State files and failure logs: the State Management Guide's examples, and what operators do to these files."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_state import fsio
from rra_state.errors import StateFileError
from rra_state.state import Derived, Keeper, Known, Ledger, State, derive, raised
from tests.unit.archive_site import Site

FILES = ("importer_state.json", "import_failures.log", "state/import.json")


def known(source: object, archived: object, failed: object = (), still_open: object = ()) -> Known:
    opened = frozenset(still_open)  # type: ignore[call-overload]
    return Known(frozenset(source), frozenset(archived), frozenset(failed), lambda run: run in opened)  # type: ignore[call-overload]


def written(site: Site) -> tuple[dict[str, int], list[int]]:
    """State file and failure log as they stand."""
    app = site.settings.app
    return json.loads(app.import_state_file.read_text()), list(map(int, app.import_failure_log.read_text().split()))


def edit_state(site: Site, contiguous: int, attempted: int) -> None:
    text = json.dumps({"last_contiguous_run": contiguous, "last_attempted_run": attempted})
    site.settings.app.import_state_file.write_text(text)


# ---- the examples of the State Management Guide -------------------------------------------------------------------


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


def test_the_attempted_run_of_the_guides_example_is_the_highest_regardless_of_outcome() -> None:
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
def test_every_run_up_to_the_attempted_one_is_archived_or_logged_or_open(
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


def test_a_gap_stops_the_contiguous_run_and_filling_it_lets_it_go_on() -> None:
    assert derive(known([1, 2, 3], [1, 3]), Ledger()).state == State(1, 3)
    assert derive(known([1, 2, 3], [1, 2, 3]), Ledger()).state == State(3, 3)


def test_a_run_that_appears_late_is_logged_as_never_attempted() -> None:
    derived = derive(known([5, 6, 7], [5, 7]), Ledger(attempted=7))

    assert (derived.log, derived.not_attempted) == ((6,), {6})


def test_a_run_still_being_written_is_not_in_the_log_until_it_is_ready() -> None:
    assert derive(known([5, 6, 7], [5, 7], still_open=[6]), Ledger(attempted=7)).log == ()
    assert derive(known([5, 6, 7], [5, 7]), Ledger(attempted=7)).log == (6,)


def test_runs_above_the_attempted_one_are_no_failures() -> None:
    assert derive(known(range(100, 200), [100, 101]), Ledger()).log == ()


def test_only_runs_at_or_below_the_attempted_one_are_looked_into() -> None:
    asked = []
    runs = Known(frozenset(range(1000)), frozenset(), frozenset(), lambda run: bool(asked.append(run)))

    derive(runs, Ledger(base=10, attempted=12))

    assert sorted(asked) == [11, 12]


def test_a_failed_run_that_is_no_longer_on_disk_stays_in_the_log() -> None:
    assert derive(known([], [], [7]), Ledger()).log == (7,)


def test_the_attempted_run_never_falls_by_itself(site: Site) -> None:
    site.keeper().update(known([5, 9], [5], [9]), attempted=True)

    site.keeper().update(known([5], [5]), attempted=True)

    assert written(site)[0]["last_attempted_run"] == 9


def test_a_named_run_raises_the_attempted_one_only_up_to_the_first_untried_run() -> None:
    assert raised(known([5, 6, 7, 9], [5, 6, 9]), 4, explicit=True) == 6
    assert raised(known([5, 6, 7, 9], [5, 6, 9], still_open=[7]), 4, explicit=True) == 9


def test_a_cycle_raises_the_attempted_run_to_the_highest_one_it_tried() -> None:
    assert raised(known([5, 6, 7, 9], [5, 6, 9]), 4, explicit=False) == 9


# ---- what operators write ------------------------------------------------------------------------------------------


def test_a_reset_state_is_held_until_something_is_attempted(site: Site) -> None:
    before = known(range(11990, 12011), range(11990, 12006))
    site.keeper().update(before, attempted=True)
    edit_state(site, 12000, 12000)

    for _ in range(3):
        held = site.keeper().update(before)

    assert held.state == State(12000, 12000)
    assert held.state.start == 12000
    assert written(site)[0] == {"last_contiguous_run": 12000, "last_attempted_run": 12000}


def test_after_a_reset_the_sequence_is_counted_from_the_operators_number(site: Site) -> None:
    source = [11000, 11001, *range(12001, 12011)]
    site.keeper().update(known(source, [11000], [11001]), attempted=True)
    edit_state(site, 12000, 12000)
    site.keeper().update(known(source, [11000], [11001]))

    site.keeper().update(known(source, [11000, 12001, 12002, 12004], [11001, 12003]), attempted=True)

    assert written(site) == ({"last_contiguous_run": 12002, "last_attempted_run": 12004}, [12003])


def test_nothing_below_a_reset_is_touched(site: Site) -> None:
    edit_state(site, 12000, 12000)

    derived = site.keeper().update(known(range(11000, 12003), [], [11001]), attempted=True)

    assert derived.log == ()


def test_a_state_reset_to_zero_counts_from_the_lowest_run_again(site: Site) -> None:
    site.keeper().update(known([5, 6], [5, 6]), attempted=True)
    edit_state(site, 0, 0)

    held = site.keeper().update(known([5, 6], [5, 6]))
    then = site.keeper().update(known([5, 6, 7], [5, 6, 7]), attempted=True)

    assert (held.state, then.state) == (State(0, 0), State(7, 7))


def test_the_same_numbers_in_other_words_are_an_edit_too(site: Site) -> None:
    site.keeper().update(known([5, 6], [6]), attempted=True)
    site.settings.app.import_state_file.write_text('{"last_attempted_run":6,"last_contiguous_run":6,"note":"by hand"}')

    site.keeper().update(known([5, 6], [6]))

    assert json.loads((site.tree.ledger_path("import")).read_text())["base"] == 6


def test_a_line_an_operator_added_stays_until_its_run_is_archived(site: Site) -> None:
    log = site.settings.app.import_failure_log
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    log.write_text("6\n900\n 4 \n\n")

    for _ in range(2):
        site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    listed = written(site)[1]
    site.keeper().update(known([5, 6, 900], [5, 900], [6]), attempted=True)

    assert listed == [4, 6, 900]
    assert written(site)[1] == [4, 6]


def test_a_line_an_operator_removed_comes_back_as_long_as_the_run_is_missing(site: Site) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    site.settings.app.import_failure_log.write_text("")

    site.keeper().update(known([5, 6], [5], [6]))

    assert written(site)[1] == [6]


def test_the_existing_archivers_files_are_taken_over(site: Site) -> None:
    edit_state(site, 12500, 12550)
    site.settings.app.import_failure_log.write_text("12501\n12510\n")

    derived = site.keeper().update(known(range(12400, 12600), []))

    assert derived.state == State(12500, 12550)
    assert set(derived.log) == set(range(12501, 12551))


def test_a_missing_state_file_is_derived_again(site: Site) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    for name in FILES[:2]:
        (site.settings.app.work_dir / name).unlink()

    site.keeper().update(known([5, 6], [5], [6]))

    assert written(site) == ({"last_contiguous_run": 5, "last_attempted_run": 6}, [6])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{corrupted data",
        b"[]",
        b"12",
        b'{"last_contiguous_run": 5}',
        b'{"last_contiguous_run": "5", "last_attempted_run": 6}',
        b'{"last_contiguous_run": 5.0, "last_attempted_run": 6}',
        b'{"last_contiguous_run": true, "last_attempted_run": 6}',
        b'{"last_contiguous_run": -1, "last_attempted_run": 6}',
        b"\xff\xfe{}",
    ],
)
def test_an_invalid_state_file_is_named_with_its_recovery_and_nothing_is_written(site: Site, text: bytes) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    site.settings.app.import_state_file.write_bytes(text)
    before = {name: (site.settings.app.work_dir / name).read_bytes() for name in FILES}

    with pytest.raises(StateFileError) as caught:
        site.keeper().update(known([5, 6], [5, 6]), attempted=True)

    assert str(site.settings.app.import_state_file) in str(caught.value)
    assert "--recover-import-state" in str(caught.value)
    assert {name: (site.settings.app.work_dir / name).read_bytes() for name in FILES} == before


def test_the_migration_names_its_own_recovery(site: Site) -> None:
    site.settings.app.migrate_state_file.write_text("{")

    with pytest.raises(StateFileError, match=r"migrator_state\.json: .*--recover-migrate-state"):
        site.keeper("migrate").update(known([], []))


def test_a_failure_log_that_holds_no_number_is_named_with_the_line(site: Site) -> None:
    site.settings.app.import_failure_log.write_text("12101\nrun 12103\n")

    with pytest.raises(StateFileError, match=r'import_failures\.log line 2: "run 12103" is no run number'):
        site.keeper().update(known([], []))

    assert site.settings.app.import_failure_log.read_text() == "12101\nrun 12103\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"added": [], "unknown": 1}',
        '{"added": [], "held": 5}',
        "[]",
        '{"added": [], "base": "5"}',
    ],
)
def test_a_damaged_ledger_is_an_error_and_not_a_fresh_start(site: Site, text: str) -> None:
    site.tree.ledger_path("import").write_text(text)

    with pytest.raises(StateFileError, match=r"state/import\.json"):
        site.keeper().update(known([], []))


# ---- writing -------------------------------------------------------------------------------------------------------


def test_nothing_is_written_when_nothing_changed(site: Site) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    before = [(site.settings.app.work_dir / name).stat().st_ino for name in FILES]

    site.keeper().update(known([5, 6], [5], [6]), attempted=True)

    assert [(site.settings.app.work_dir / name).stat().st_ino for name in FILES] == before


def test_files_elsewhere_get_their_directories(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(import_state_file="elsewhere/state.json", import_failure_log="elsewhere/log/failed.txt")

    site.keeper().update(known([5], [], [5]), attempted=True)

    assert (tmp_path / "elsewhere" / "log" / "failed.txt").read_text() == "5\n"


def test_a_state_file_that_cannot_be_written_is_told_as_the_guide_has_it(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(fsio, "write_atomic", refuse)

    with pytest.raises(StateFileError, match="Failed to write state file: Permission denied"):
        site.keeper().update(known([5], [5]), attempted=True)


@pytest.mark.parametrize("survivors", [0, 1, 2, 3])
def test_a_crash_between_two_writes_is_put_right_and_is_not_taken_for_an_edit(
    site: Site, monkeypatch: pytest.MonkeyPatch, survivors: int
) -> None:
    first, second = known([3, 4, 5, 6], [5], [3]), known([3, 4, 5, 6], [5, 6], [3, 4])
    site.keeper().update(first, attempted=True)
    write, count = fsio.write_atomic, iter(range(99))

    def crash(path: Path, data: bytes) -> None:
        if next(count) >= survivors:
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(fsio, "write_atomic", crash)
        with contextlib.suppress(KeyboardInterrupt):
            site.keeper().update(second, attempted=True)
    site.keeper().update(second, attempted=True)

    assert written(site) == ({"last_contiguous_run": 6, "last_attempted_run": 6}, [3, 4])


def test_after_a_kill_the_attempted_run_is_not_below_the_contiguous_one(site: Site) -> None:
    site.keeper().update(known([5, 6, 7], [5]), attempted=True)

    after_kill = site.keeper().update(known([5, 6, 7], [5, 6, 7]))

    assert after_kill.state == State(7, 7)


def test_the_two_stages_keep_their_own_files(site: Site) -> None:
    Keeper(site.settings, "import").update(known([5], [5]), attempted=True)
    Keeper(site.settings, "migrate").update(known([5], [], [5]), attempted=True)

    assert written(site) == ({"last_contiguous_run": 5, "last_attempted_run": 5}, [])
    assert json.loads(site.settings.app.migrate_state_file.read_text())["last_contiguous_run"] == 0
    assert site.settings.app.migrate_failure_log.read_text() == "5\n"
