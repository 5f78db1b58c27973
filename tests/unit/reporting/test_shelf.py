"""The copy of the markers that reports read: faster, and never another content than the markers'."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_state.reporting import shelf
from rra_state.reporting.shelf import Shelf
from rra_state.state.markers import Tree
from tests.unit.archive_site import Site


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shelf, "BLOCK", 10)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """The runs whose marker files were read."""
    seen: set[int] = set()
    before = Tree.markers

    def markers(self: Tree, stage: Any, chosen: Any) -> Any:
        seen.update(chosen)
        return before(self, stage, chosen)

    monkeypatch.setattr(Tree, "markers", markers)
    return seen


def read(site: Site, *, renew: bool = False) -> Shelf:
    return shelf.read(site.tree, "migrate", site.tree.archived("migrate"), renew=renew)


def sizes(found: Shelf) -> dict[int, int | None]:
    return found.by_run("size")


def filled(site: Site) -> None:
    for run in range(1, 36):
        site.archive("migrate", run, size=run * 100)


def test_the_copy_says_what_the_markers_say(site: Site, opened: set[int]) -> None:
    filled(site)
    first = read(site, renew=True)
    opened.clear()

    second = read(site)

    assert second == first
    assert sizes(second) == {run: run * 100 for run in range(1, 36)}
    assert opened == set()


def test_looking_writes_nothing(site: Site) -> None:
    filled(site)

    read(site)

    assert not (site.tree.root / "state" / "catalog").exists()


def test_a_replaced_marker_is_read_anew_with_its_block_only(site: Site, opened: set[int]) -> None:
    filled(site)
    read(site, renew=True)
    opened.clear()
    site.archive("migrate", 15, size=7)

    found = read(site, renew=True)

    assert sizes(found)[15] == 7
    assert opened == set(range(10, 20))
    opened.clear()
    assert sizes(read(site))[15] == 7
    assert opened == set()


@pytest.mark.parametrize(
    "change",
    [
        lambda site: site.archive("migrate", 99, size=5),
        lambda site: site.tree.remove_markers("migrate", {12}),
        lambda site: site.tree.remove_markers("migrate", range(10, 20)),
    ],
    ids=["a run more", "a run less", "a block less"],
)
def test_runs_that_come_and_go_come_and_go(site: Site, change: Callable[[Site], None]) -> None:
    filled(site)
    read(site, renew=True)
    change(site)

    for renew in (False, True, False):
        found = read(site, renew=renew)
        assert found.runs == sorted(site.tree.archived("migrate"))
        assert sizes(found)[35] == 3500


def test_a_marker_edited_in_place_is_seen_once_anything_else_changes(site: Site) -> None:
    filled(site)
    read(site, renew=True)
    path = site.tree.marker_path("migrate", 3)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"size": 1}))
    site.archive("migrate", 50)

    assert sizes(read(site))[3] == 1


def test_a_damaged_marker_is_told_every_time(site: Site) -> None:
    filled(site)
    site.tree.marker_path("migrate", 3).write_text("{")

    for _ in range(3):
        found = read(site, renew=True)
        assert [line.partition(": ")[0] for line in found.damaged] == [str(site.tree.marker_path("migrate", 3))]
        assert sizes(found)[3] is None
        assert sizes(found)[4] == 400


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"digest": 1}', "null"])
@pytest.mark.parametrize("name", ["migrate.json", "migrate-1.json"])
def test_a_damaged_copy_counts_as_none(site: Site, name: str, text: str) -> None:
    filled(site)
    expected = read(site, renew=True)
    (site.tree.root / "state" / "catalog" / name).write_text(text)

    assert read(site) == expected
    assert read(site, renew=True) == expected


def test_a_block_of_another_shape_counts_as_none(site: Site) -> None:
    filled(site)
    expected = read(site, renew=True)
    path = site.tree.root / "state" / "catalog" / "migrate-1.json"
    values = json.loads(path.read_text())
    values["columns"]["size"].pop()
    path.write_text(json.dumps(values))

    assert read(site) == expected


def test_a_directory_that_changed_within_a_tick_of_the_clock_is_not_trusted(
    site: Site, monkeypatch: pytest.MonkeyPatch, opened: set[int]
) -> None:
    filled(site)
    directory = site.tree.marker_path("migrate", 1).parent
    slept: list[float] = []
    monkeypatch.setattr(shelf.time, "sleep", slept.append)
    os.utime(directory)

    read(site, renew=True)

    assert 0 < slept[0] <= shelf.SETTLED_SECONDS


def test_a_copy_that_cannot_be_written_costs_nothing_but_time(site: Site) -> None:
    filled(site)
    (site.tree.root / "state" / "catalog").write_text("in the way")

    assert sizes(read(site, renew=True))[35] == 3500


def test_an_empty_stage_has_an_empty_shelf(site: Site, tmp_path: Path) -> None:
    assert read(site, renew=True).runs == []
    assert shelf.read(Tree(tmp_path / "none"), "import", set(), renew=False).runs == []
