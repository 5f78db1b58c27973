"""The planner: which runs a cycle takes, in which order."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_state.base.errors import ConfigError, SourceUnreadable, UsageError
from rra_state.records import source
from rra_state.state import planner
from rra_state.state.changed_records import Refresh
from rra_state.state.outcome import STAGES
from rra_state.state.planner import WINDOW_KEY, Selection, Window
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site

FULL, INCREMENTAL, RETRY = Selection(), Selection(mode="incremental"), Selection(mode="retry")


def only(*runs: int) -> Selection:
    return Selection(only=frozenset(runs))


def windows(site: Site, selection: Selection = FULL) -> list[Window]:
    return planner.windows(Snapshot.take(site.settings), selection)


def taken(site: Site, selection: Selection = FULL) -> tuple[set[int], set[int]]:
    """Imports and migrations of the cycle."""
    found = windows(site, selection)
    return {run for w in found for run in w.imports}, {run for w in found for run in w.migrations}


def cycle(site: Site) -> None:
    """What the end of a cycle does."""
    snapshot = Snapshot.take(site.settings)
    for stage in STAGES:
        site.keeper(stage).update(snapshot.known(stage), attempted=True)


def _empty(directory: Path) -> None:
    shutil.rmtree(directory)
    directory.mkdir()


def test_a_full_cycle_takes_every_missing_run_through_both_stages(site: Site) -> None:
    site.record(*range(1, 7))
    site.archive("import", 1, 2, 3)
    site.archive("migrate", 1)

    assert taken(site) == ({4, 5, 6}, {2, 3, 4, 5, 6})


def test_a_full_cycle_takes_failed_runs_again(site: Site) -> None:
    site.record(1, 2)
    site.archive("import", 1)
    site.fail("import", 2)
    site.fail("migrate", 1)
    cycle(site)

    assert taken(site) == ({2}, {1, 2})


def test_nothing_to_do_is_no_window(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    site.archive("migrate", 1)

    assert windows(site) == []


def test_an_imported_run_is_migrated_without_its_record(site: Site) -> None:
    site.archive("import", 5)

    assert taken(site) == (set(), {5})


def test_runs_still_being_written_are_left_for_later(site: Site) -> None:
    site.record(1, 4)
    site.record(2, ended=False)

    assert taken(site) == ({1, 4}, {1, 4})
    later = Snapshot.take(site.settings, time.time() + 3601)
    assert planner.windows(later, FULL)[0].imports == {1, 2, 4}


def test_a_quiet_record_without_metadata_is_taken(site: Site) -> None:
    site.record(1)
    (site.records / "1" / "metadata.txt").unlink()

    later = Snapshot.take(site.settings, site.records.stat().st_mtime + 9999)

    assert [window.imports for window in planner.windows(later, FULL)] == [{1}]


def test_a_stage_alone_leaves_the_other_one_out(site: Site) -> None:
    site.record(1, 2)
    site.archive("import", 1)

    assert taken(site, Selection(stages=("import",))) == ({2}, set())
    assert taken(site, Selection(stages=("migrate",))) == (set(), {1})


def test_incremental_mode_leaves_failed_runs_to_a_retry(site: Site) -> None:
    site.record(*range(1, 8))
    site.archive("import", 1, 2, 4)
    site.archive("migrate", 1, 2)
    site.fail("import", 3)
    site.fail("migrate", 4)
    cycle(site)

    assert taken(site, INCREMENTAL) == ({5, 6, 7}, {5, 6, 7})


def test_incremental_mode_takes_runs_that_came_late(site: Site) -> None:
    site.record(5, 7)
    site.archive("import", 5, 7)
    site.archive("migrate", 5, 7)
    cycle(site)
    site.record(6)

    assert taken(site, INCREMENTAL) == ({6}, {6})


def test_incremental_mode_begins_above_an_operators_reset(site: Site) -> None:
    site.record(11999, 12000, 12001, 12002)
    site.settings.app.import_state_file.write_text('{"last_contiguous_run": 12000, "last_attempted_run": 12000}')

    assert taken(site, INCREMENTAL)[0] == {12001, 12002}


def test_case_b19_numbers_by_hand_are_where_incremental_mode_begins(site: Site) -> None:
    site.record(*range(101, 115))
    site.archive("import", *range(101, 113))
    cycle(site)
    site.settings.app.import_state_file.write_text('{"last_contiguous_run": 112, "last_attempted_run": 200}')

    assert taken(site, INCREMENTAL)[0] == set()
    site.record(201)
    assert taken(site, INCREMENTAL)[0] == {201}


def test_runs_below_numbers_written_by_hand_follow_later(site: Site) -> None:
    site.record(*range(101, 115), 201)
    site.archive("import", *range(101, 113))
    site.settings.app.import_state_file.write_text('{"last_contiguous_run": 112, "last_attempted_run": 200}')
    site.archive("import", 201)
    cycle(site)

    assert taken(site, INCREMENTAL)[0] == {113, 114}


def test_a_retry_takes_the_logged_runs_only(site: Site) -> None:
    site.record(*range(1, 8))
    site.archive("import", 1)
    site.fail("import", 2)
    cycle(site)
    with site.settings.app.import_failure_log.open("a") as log:
        log.write("6\n1\n")

    imports, _ = taken(site, Selection(stages=("import",), mode="retry"))

    assert imports == {2, 6}


def test_a_retry_of_migrations_takes_those_of_its_own_log(site: Site) -> None:
    site.record(1, 2, 3)
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.fail("migrate", 2)
    cycle(site)

    assert taken(site, Selection(stages=("migrate",), mode="retry")) == (set(), {2})


def test_a_retry_migrates_only_runs_in_artdaqdb(site: Site) -> None:
    site.settings.app.migrate_failure_log.write_text("900\n")

    assert taken(site, Selection(stages=("migrate",), mode="retry")) == (set(), set())


def test_named_runs_are_taken_and_no_others(site: Site) -> None:
    site.record(1, 2, 3)
    site.archive("import", 1)

    assert taken(site, only(1, 3)) == ({3}, {1, 3})


def test_named_runs_that_exist_nowhere_are_told(site: Site) -> None:
    site.record(1)
    site.archive("import", 7)

    assert planner.not_found(Snapshot.take(site.settings), only(1, 7, 8)) == {8}


@pytest.mark.parametrize(("mode", "number"), [(INCREMENTAL, 3), (FULL, 30)])
def test_batch_size_counts_tenfold_in_full_mode(make_site: Callable[..., Site], mode: Selection, number: int) -> None:
    site = make_site(batch_size=3)
    site.record(*range(1, 41))
    site.archive("import", *range(101, 141))

    imports, migrations = taken(site, mode)

    assert imports == set(range(1, number + 1))
    assert len(migrations) == number


def test_batch_size_does_not_limit_what_was_named(make_site: Callable[..., Site]) -> None:
    site = make_site(batch_size=1)
    site.record(*range(1, 21))
    site.settings.app.import_failure_log.write_text("1\n2\n3\n")

    assert taken(site, only(*range(1, 21)))[0] == set(range(1, 21))
    assert taken(site, Selection(stages=("import",), mode="retry"))[0] == {1, 2, 3}


def test_runs_not_ready_use_nothing_of_the_limit(make_site: Callable[..., Site]) -> None:
    site = make_site(batch_size=2)
    site.record(1, 2, ended=False)
    site.record(3, 4, 5)

    assert taken(site, INCREMENTAL)[0] == {3, 4}


def test_never_tried_runs_go_before_old_failures(
    make_site: Callable[..., Site],
) -> None:
    site = make_site(batch_size=1)
    site.record(*range(1, 21))
    site.fail("import", *range(1, 11))
    cycle(site)

    assert taken(site)[0] == set(range(11, 21))


def test_the_newest_runs_go_first_if_asked(make_site: Callable[..., Site]) -> None:
    site = make_site(window_size=2)
    site.record(1, 2, 3, 10)

    found = windows(site, Selection(order="newest"))

    assert [window.targets() for window in found] == [
        ["markers/migrate/10.json", "markers/migrate/3.json"],
        ["markers/migrate/2.json", "markers/migrate/1.json"],
    ]


def test_windows_take_each_run_once_and_both_its_stages_together(make_site: Callable[..., Site]) -> None:
    site = make_site(window_size=3)
    site.record(*range(1, 8))
    site.archive("import", 2)

    found = windows(site)

    assert [len(window) for window in found] == [3, 3, 1]
    assert [window.imports for window in found] == [{1, 3}, {4, 5, 6}, {7}]
    assert [window.migrations for window in found] == [{1, 2, 3}, {4, 5, 6}, {7}]


def test_planning_writes_nothing(site: Site) -> None:
    site.record(1, 2)
    before = sorted(path.relative_to(site.root) for path in site.root.rglob("*"))

    windows(site, INCREMENTAL)

    assert sorted(path.relative_to(site.root) for path in site.root.rglob("*")) == before


def test_only_records_about_to_be_planned_are_opened(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.record(*range(1, 21))
    site.archive("import", *range(1, 19))
    site.archive("migrate", *range(1, 19))
    cycle(site)
    opened = []
    readiness = source.readiness

    def spy(files: Any, run: int, *rest: Any) -> object:
        opened.append(run)
        return readiness(files, run, *rest)

    monkeypatch.setattr(source, "readiness", spy)
    taken(site, INCREMENTAL)

    assert sorted(opened) == [19, 20]


def test_unreadable_records_stop_the_plan(site: Site) -> None:
    site.records.rmdir()

    with pytest.raises(SourceUnreadable):
        planner.current(site.settings, {})


@pytest.mark.parametrize("spoil", [shutil.rmtree, _empty])
def test_without_the_records_only_migrations_are_planned(site: Site, spoil: Callable[[Path], object]) -> None:
    site.record(1, 2, 3)
    site.archive("import", 1, 2)
    spoil(site.records)

    [window] = windows(site)

    assert (window.imports, window.migrations, window.refreshes) == (set(), {1, 2}, ())


def test_a_window_without_a_stage_holds_nothing_that_needs_it() -> None:
    window = Window(frozenset({3, 4}), frozenset({1, 2, 3, 4}), (Refresh(9, "abcdef01"),))

    no_imports, no_migrations = window.without({"import"}), window.without({"migrate"})

    assert (no_imports.imports, no_imports.migrations, no_imports.refreshes) == (set(), {1, 2}, ())
    assert (no_migrations.imports, no_migrations.migrations, no_migrations.refreshes) == ({3, 4}, set(), ())
    assert not window.without({"import", "migrate"})


def test_entries_that_are_no_runs_are_told_with_the_reason(site: Site) -> None:
    site.record(1)
    (site.records / "007").mkdir()
    (site.records / "notes").mkdir()

    assert dict(Snapshot.take(site.settings).ignored) == {"007": "is no run number", "notes": "is no run number"}


# ---- windows on their way to the Snakefile -------------------------------------------------------------------------


def test_a_window_survives_the_way_through_snakemakes_config() -> None:
    window = Window(
        frozenset({1, 2, 3, 9}),
        frozenset({2, 5}),
        (Refresh(7, "1f2e3d4c"), Refresh(8, "0a0b0c0d")),
        "newest",
        explicit=True,
    )

    assert Window.from_mapping(window.mapping()) == window
    assert Window.from_mapping(Window().mapping()) == Window()


def test_only_the_last_marker_of_a_run_is_asked_for() -> None:
    window = Window(frozenset({1, 2}), frozenset({2, 3}), (Refresh(7, "1f2e3d4c"),))

    assert window.targets() == [
        "markers/import/1.json",
        "markers/migrate/2.json",
        "markers/migrate/3.json",
        "markers/refresh/7-1f2e3d4c.json",
    ]
    assert window.targets("import") == ["markers/import/1.json", "markers/import/2.json"]
    assert window.targets("migrate") == ["markers/migrate/2.json", "markers/migrate/3.json"]


def test_a_plain_snakemake_does_the_first_full_window(make_site: Callable[..., Site]) -> None:
    site = make_site(window_size=2)
    site.record(1, 2, 3)

    assert planner.current(site.settings, {}).imports == {1, 2}


def test_the_command_lines_window_is_taken_as_it_is(site: Site) -> None:
    window = Window(frozenset({7}), frozenset({7, 8}))

    assert planner.current(site.settings, {WINDOW_KEY: window.mapping()}) == window


@pytest.mark.parametrize("given", ["1-3", {}, {"import": "1"}, 5])
def test_a_window_written_by_hand_is_refused(site: Site, given: object) -> None:
    with pytest.raises(ConfigError, match="command line's own use"):
        planner.current(site.settings, {WINDOW_KEY: given})


def test_a_window_of_something_else_than_runs_is_refused(site: Site) -> None:
    with pytest.raises(UsageError, match='"x" is no run'):
        planner.current(
            site.settings, {WINDOW_KEY: {"import": "x", "migrate": "", "order": "oldest", "explicit": False}}
        )
