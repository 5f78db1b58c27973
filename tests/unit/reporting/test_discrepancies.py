"""The comparison of the archiver's files with the sites, on values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from rra_state.base.errors import StateFileError
from rra_state.reporting.discrepancies import Discrepancy, StageRecords, discrepancies, notes
from rra_state.state.state_files import Known, Ledger, State, Written

NAMES = ("importer_state.json", "import_failures.log")


def records(source: Iterable[int], archived: Iterable[int], **changes: Any) -> StageRecords:
    """Records in which all is as it should be, but for `changes`."""
    archived = frozenset(archived)
    known = Known(frozenset(source), archived, frozenset())
    markers = frozenset(changes.pop("markers", archived))
    ledger = changes.pop("ledger", Ledger(attempted=max(archived, default=0)))
    right = StageRecords("import", known, markers, Written(ledger, None, frozenset(), NAMES))
    expected = right.expected
    written = replace(right.written, **({"state": expected.state, "log": frozenset(expected.log)} | changes))
    return replace(right, written=written)


def test_books_that_are_right_have_no_finding() -> None:
    assert list(discrepancies(records([5, 6, 7, 8], [5, 7]))) == []


def test_a_first_start_with_nothing_anywhere_has_no_finding() -> None:
    assert list(discrepancies(records([5, 6], [], state=None))) == []


@pytest.mark.parametrize(
    ("changes", "text", "remedy"),
    [
        (
            {"state": State(7, 7)},
            "import: importer_state.json says last_contiguous_run 7, artdaqDB says 5",
            "--incremental",
        ),
        (
            {"state": State(5, 6)},
            "import: importer_state.json says last_attempted_run 6, artdaqDB says 7",
            "--incremental",
        ),
        ({"markers": {7}}, "import: runs in artdaqDB without a marker: 5", "--recover-import-state"),
        ({"markers": {5, 6, 7}}, "import: runs with a marker that artdaqDB does not hold: 6", "--recover-import-state"),
        ({"log": {5, 6}}, "import: runs in import_failures.log that are archived: 5", "--incremental"),
        ({"log": set()}, "import: missing runs not in import_failures.log: 6", "--incremental"),
        ({"state": None}, "import: importer_state.json is missing, artdaqDB holds 2 runs", "--recover-import-state"),
    ],
)
def test_each_discrepancy_names_the_runs_and_its_remedy(changes: dict[str, Any], text: str, remedy: str) -> None:
    assert list(discrepancies(records([5, 6, 7], [5, 7], **changes))) == [Discrepancy(text, remedy)]


def test_a_hand_edited_state_is_told_and_is_no_discrepancy() -> None:
    held = State(12000, 12000)
    edited = records(
        [5, 6, 12001],
        [5],
        ledger=Ledger(base=12000, attempted=12000, held=held),
        state=held,
        log=frozenset(),
    )

    assert list(discrepancies(edited)) == []
    assert next(iter(notes(edited))) == (
        "importer_state.json was edited by hand: contiguous to 12000, attempted to 12000;"
        " incremental mode goes on above 12000"
    )


def test_runs_in_the_log_that_are_nowhere_are_told() -> None:
    found = list(notes(records([5, 6, 7], [5, 7], log=frozenset({6, 900}))))

    assert found[1:] == [
        "import_failures.log: 2 runs to retry: 6,900",
        "import_failures.log lists runs that are not on disk: 900",
    ]


def test_new_runs_that_wait_are_no_discrepancy() -> None:
    assert list(discrepancies(records([5, 6, 7, 8, 9], [5, 6]))) == []


def test_the_log_needs_no_run_still_being_written() -> None:
    right = records([5, 6, 7], [5, 7])
    still_open = Known(right.known.source, right.known.archived, frozenset(), is_open=lambda run: run == 6)

    assert list(discrepancies(replace(right, known=still_open, written=replace(right.written, log=frozenset())))) == []


def test_what_another_program_archived_counts_as_attempted() -> None:
    before = Ledger(attempted=12345)
    found = records(
        range(12340, 12350),
        [*range(12340, 12346), 12347, 12349],
        markers=range(12340, 12346),
        ledger=before,
        state=State(12345, 12345),
        log=frozenset(),
    )

    [first, *_] = notes(found)
    assert first.startswith("importer_state.json: contiguous to 12345, attempted to 12345; should be ")
    assert first.endswith("contiguous to 12345, attempted to 12349")
    assert "importer_state.json says last_attempted_run 12345, artdaqDB says 12349" in " ".join(
        each.text for each in discrepancies(found)
    )


def test_an_unreadable_marker_agrees_with_nothing() -> None:
    right = records([5, 6], [5, 6])
    assert list(discrepancies(right)) == []

    text = "markers/import/5.json: cannot be read as JSON (remove it, then type --recover-import-state)"

    assert list(discrepancies(replace(right, damaged=(text,)))) == [Discrepancy(text, "--recover-import-state")]


def test_a_damaged_state_file_comes_first() -> None:
    right = records([5, 6], [5, 6], markers=[5])
    error = StateFileError("the state file cannot be used: it is not JSON")
    damaged = replace(right, written=replace(right.written, state=None, error=error))

    first, second = discrepancies(damaged)

    assert first == Discrepancy(str(error), "--recover-import-state")
    assert second.text == "import: runs in artdaqDB without a marker: 6"
