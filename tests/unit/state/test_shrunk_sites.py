"""Which losses are those of a site, not of single runs."""

from __future__ import annotations

import pytest

from rra_state.base.errors import SiteShrank
from rra_state.state import index_losses, shrunk_sites
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site


@pytest.mark.parametrize(
    ("marked", "held", "shrank"),
    [
        (range(0), range(0), False),
        (range(1, 13), range(1, 13), False),
        (range(1, 13), range(0), True),
        (range(1, 3), range(0), True),
        (range(1, 3), range(7, 9), False),
        (range(1, 13), range(5, 13), False),
        (range(1, 13), range(6, 13), True),
        (range(1, 101), range(10, 101), False),
        (range(1, 101), range(11, 101), True),
    ],
)
def test_one_in_ten_and_five_runs_are_a_loss(marked: range, held: range, shrank: bool) -> None:
    found = shrunk_sites.store("artdaqDB", "import", set(marked), set(held))

    assert (found is not None) == shrank


def records_error(site: Site) -> str:
    return str(Snapshot.take(site.settings).source_error)


def test_only_an_empty_directory_of_records_is_not_mounted(site: Site) -> None:
    empty_and_new = records_error(site)
    site.archive("import", *range(1, 13))
    empty = records_error(site)
    (site.records / "lost+found").mkdir()
    fresh_file_system = records_error(site)
    (site.records / ".record_directory_info").touch()
    all_removed = records_error(site)
    site.record(12)

    assert "is empty, and 12 runs came from it (is it mounted?" in empty
    assert fresh_file_system == empty
    assert {empty_and_new, all_removed, records_error(site)} == {"None"}


class _Store:
    """Holds these runs, and counts how often it is asked for them."""

    def __init__(self, runs: set[int], stamp: str) -> None:
        self.held, self.value, self.asked = runs, stamp, 0

    def describe(self) -> str:
        return "artdaqDB directory /daq/artdaqdb"

    def stamp(self) -> str:
        return self.value

    def runs(self) -> set[int]:
        self.asked += 1
        return self.held


def test_an_archive_that_did_not_change_is_not_looked_into(site: Site) -> None:
    site.archive("import", *range(1, 13))
    store = _Store(set(range(1, 13)), "5-1")
    index_losses.remember(site.tree, store)  # type: ignore[arg-type]
    asked = store.asked

    unchanged = index_losses.missing(Snapshot.take(site.settings), store)  # type: ignore[arg-type]

    assert (unchanged, store.asked) == (set(), asked)


@pytest.mark.parametrize("remembered", ["", "5-1"])
def test_a_missing_archive_is_never_taken_for_an_unchanged_one(site: Site, remembered: str) -> None:
    index_losses.remember(site.tree, _Store(set(), remembered))  # type: ignore[arg-type]
    site.archive("import", *range(1, 13))

    with pytest.raises(SiteShrank, match=r"has lost 12 of 12 runs .*is it mounted\?.* --accept-loss"):
        index_losses.missing(Snapshot.take(site.settings), _Store(set(), ""))  # type: ignore[arg-type]
