"""The comparison of the archiver's books with the places, on values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rra_state.reporting.compare import Books, Comparison, Finding, examine, tell
from rra_state.state.state_files import Known, Ledger, State


def books(source: Iterable[int], archived: Iterable[int], **changes: Any) -> Books:
    """Books in which all is as it should be, but for `changes`."""
    archived = frozenset(archived)
    known = Known(frozenset(source), archived, frozenset())
    ledger = Ledger(attempted=max(archived, default=0))
    found = Books("import", known, archived, ledger, None, set(), ("importer_state.json", "import_failures.log"))
    expected = found.expected
    numbers = {
        "last_contiguous_run": expected.state.last_contiguous_run,
        "last_attempted_run": expected.state.last_attempted_run,
    }
    return replace(found, **({"state": numbers, "log": set(expected.log)} | changes))


def test_books_that_are_right_have_no_finding() -> None:
    assert list(examine(books([5, 6, 7, 8], [5, 7]))) == []


def test_a_first_start_with_nothing_anywhere_has_no_finding() -> None:
    assert list(examine(books([5, 6], [], state=None))) == []


@pytest.mark.parametrize(
    ("changes", "text", "mend"),
    [
        (
            {"state": {"last_contiguous_run": 7, "last_attempted_run": 7}},
            "import: importer_state.json says last_contiguous_run 7, artdaqDB says 5",
            "--incremental",
        ),
        (
            {"state": {"last_contiguous_run": 5, "last_attempted_run": 6}},
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
def test_each_discrepancy_names_the_runs_and_what_mends_it(changes: dict[str, Any], text: str, mend: str) -> None:
    assert list(examine(books([5, 6, 7], [5, 7], **changes))) == [Finding(text, mend)]


def test_a_hand_edited_state_is_told_and_is_no_discrepancy() -> None:
    held = State(12000, 12000)
    edited = books(
        [5, 6, 12001],
        [5],
        ledger=Ledger(base=12000, attempted=12000, held=held),
        state={"last_contiguous_run": 12000, "last_attempted_run": 12000},
        log=set(),
    )

    assert list(examine(edited)) == []
    assert next(iter(tell(edited))) == (
        "importer_state.json was edited by hand: contiguous to 12000, attempted to 12000;"
        " incremental mode goes on above 12000"
    )


def test_runs_in_the_log_that_are_nowhere_are_told() -> None:
    notes = list(tell(books([5, 6, 7], [5, 7], log={6, 900})))

    assert notes[1:] == [
        "import_failures.log: 2 runs to retry: 6,900",
        "import_failures.log lists runs that are not on disk: 900",
    ]


def test_new_runs_that_wait_are_no_discrepancy() -> None:
    assert list(examine(books([5, 6, 7, 8, 9], [5, 6]))) == []


def test_a_run_still_being_written_is_not_missed_in_the_log() -> None:
    right = books([5, 6, 7], [5, 7])
    still_open = Known(right.known.source, right.known.archived, frozenset(), is_open=lambda run: run == 6)

    assert list(examine(replace(right, known=still_open, log=set()))) == []


def test_the_text_gives_the_whole_command_for_the_shell() -> None:
    class Settings:
        path = Path("/daq/my config.yaml")

    text = Comparison(Settings(), (), (Finding("import: x", "--incremental"),)).text()  # type: ignore[arg-type]

    assert "import: x; mend with: ./run_archiver.sh '/daq/my config.yaml' --incremental\n" in text
    assert "INCONSISTENT: 1 discrepancy" in text
