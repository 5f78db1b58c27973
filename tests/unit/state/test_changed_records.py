"""Which archived runs have a record that changed: what is looked at, and what is read."""

from __future__ import annotations

import os
import shutil
import time
from dataclasses import replace
from pathlib import Path
from unittest import mock

from rra_state.base.errors import Conflict
from rra_state.records import source
from rra_state.state import planner
from rra_state.state.changed_records import NOTE, Look, Refresh, look_at
from rra_state.state.outcome import Facts, Failure, Marker, Outcome
from rra_state.state.planner import Selection
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import STOP, Site

LATER = "\nTotal events: 7\n"


def archived(site: Site, *runs: int, identity: int = 1) -> None:
    """Runs that were archived before they had a stop time."""
    _archived(site, *runs, facts=Facts(verified=True, ucondb_id=identity))


def ended(site: Site, *runs: int) -> None:
    """Runs that were archived with their stop time."""
    _archived(site, *runs, facts=Facts(verified=True, stop_time="Thu Oct 17 10:08:25 UTC 2024"))


def _archived(site: Site, *runs: int, facts: Facts) -> None:
    site.record(*runs, ended=facts.stop_time is not None)
    for run in runs:
        facts = replace(facts, fingerprint=fingerprint_of(site, run))
        site.tree.write_markers([Marker.of("import", run, facts)], watch=[run])
        site.tree.write_markers([Marker.of("migrate", run, facts)])


def append(site: Site, run: int, text: str) -> None:
    metadata = site.records / str(run) / "metadata.txt"
    metadata.write_text(metadata.read_text() + text)


def fingerprint_of(site: Site, run: int) -> str:
    return source.read_record(site.settings.source_files, run, even_if_open=True).fingerprint


def look(site: Site, *, hours: float = 2) -> Look:
    """The look of a cycle that begins so many hours from now."""
    return Snapshot.take(site.settings, time.time() + 3600 * hours).changes


def refreshed(site: Site, run: int, *, stop_time: str | None) -> None:
    """The marker of a refresh of the record as it is now."""
    fingerprint = fingerprint_of(site, run)
    facts = Facts(verified=True, fingerprint=fingerprint, ucondb_id=99, stop_time=stop_time)
    site.tree.write_refresh(Marker.of("refresh", run, facts), f"{run}-{fingerprint[:8]}")


def test_a_record_with_a_new_stop_time_is_archived_again(site: Site) -> None:
    archived(site, 1, 2)
    append(site, 2, STOP)

    [changed] = look(site).changed

    assert changed.run == 2
    assert fingerprint_of(site, 2).startswith(changed.fingerprint)


def test_a_record_written_again_waits_until_it_is_quiet(site: Site) -> None:
    archived(site, 1)
    append(site, 1, LATER)

    assert look(site, hours=0.9).changed == ()
    assert [each.run for each in look(site).changed] == [1]


def test_a_record_seen_unchanged_is_not_read_again(site: Site) -> None:
    archived(site, *range(1, 21))
    look(site).remember(site.tree)

    with mock.patch.object(source, "read_record", wraps=source.read_record) as read:
        found = look(site)

    assert found.changed == ()
    assert len(found.unchanged) == 20
    assert read.call_count == 0


def test_only_what_changed_since_the_last_look_is_read(site: Site) -> None:
    archived(site, *range(1, 21))
    look(site).remember(site.tree)
    append(site, 7, STOP)

    with mock.patch.object(source, "read_record", wraps=source.read_record) as read:
        found = look(site)

    assert [each.run for each in found.changed] == [7]
    assert read.call_count == 1


def test_a_run_not_in_both_stores_is_passed_over(site: Site) -> None:
    site.record(1, ended=False)
    site.tree.write_markers([Marker.of("import", 1, Facts(verified=True))], watch=[1])
    append(site, 1, STOP)

    assert look(site) == Look()


def test_a_change_is_archived_once(site: Site) -> None:
    archived(site, 1)
    append(site, 1, STOP)
    refreshed(site, 1, stop_time="Thu Oct 17 10:08:25 UTC 2024")

    assert look(site).changed == ()


def test_a_run_is_watched_for_some_days_after_its_import(site: Site) -> None:
    ended(site, 1, 2)
    look(site).remember(site.tree)
    append(site, 2, LATER)

    assert [each.run for each in look(site, hours=24 * 6).changed] == [2]
    look(site, hours=24 * 8).remember(site.tree)

    assert site.tree.watched() == {2}


def test_without_a_stop_time_a_run_stays_watched(site: Site) -> None:
    archived(site, 1)
    look(site).remember(site.tree)
    look(site, hours=24 * 400).remember(site.tree)
    assert site.tree.watched() == {1}

    append(site, 1, STOP)
    refreshed(site, 1, stop_time="Thu Oct 17 10:08:25 UTC 2024")
    look(site).remember(site.tree)
    look(site, hours=24 * 8).remember(site.tree)

    assert site.tree.watched() == set()


def test_a_refresh_begins_the_watch_anew(site: Site) -> None:
    ended(site, 1)
    long_ago = time.time() - 6 * 86400
    os.utime(site.tree.root / "watch" / "1", (long_ago, long_ago))
    append(site, 1, LATER)

    refreshed(site, 1, stop_time="Thu Oct 17 10:08:25 UTC 2024")

    assert site.tree.watched_since(1) > long_ago + 86400


def test_a_vanished_record_keeps_what_is_archived(site: Site) -> None:
    archived(site, 1, 2, 3)
    for path in (site.records / "2").iterdir():
        path.unlink()
    shutil.rmtree(site.records / "3")

    found = look(site)

    assert (found.changed, found.differing) == ((), {2})
    assert site.tree.watched() == {1, 2, 3}


def test_a_damaged_marker_does_not_hide_that_its_record_changed(site: Site) -> None:
    ended(site, 1)
    look(site).remember(site.tree)
    site.tree.marker_path("migrate", 1).write_text("{")
    append(site, 1, LATER)

    assert look(site).differing == {1}


def test_a_large_file_is_watched_like_any_other(tmp_path: Path) -> None:
    site = Site(tmp_path, source_files={"max_other_file_bytes": 4 * 2**20})
    site.record(1)
    note = site.records / "1" / "hitmap.root"
    note.write_bytes(bytes(2 * 2**20))
    facts = Facts(verified=True, stop_time="Thu Oct 17 10:08:25 UTC 2024", fingerprint=fingerprint_of(site, 1))
    site.tree.write_markers([Marker.of("import", 1, facts)], watch=[1])
    site.tree.write_markers([Marker.of("migrate", 1, facts)])
    look(site).remember(site.tree)
    note.write_bytes(b"x" * 2 * 2**20)

    assert [each.run for each in look(site).changed] == [1]


def test_a_damaged_note_costs_only_time(site: Site) -> None:
    archived(site, 1)
    (site.tree.root / "state" / f"{NOTE}.json").write_text("{corrupted")

    assert look(site).changed == ()


def test_a_failed_refresh_waits_for_a_full_cycle(site: Site) -> None:
    archived(site, 1)
    append(site, 1, STOP)
    [changed] = look(site).changed
    failure = Failure.of("refresh", Outcome(1, error=Conflict(run=1)), None)
    site.tree.write_failed_refresh(failure, str(changed))

    taken = {
        name: [window.refreshes for window in planner.windows(Snapshot.take(site.settings), selection)]
        for name, selection in (
            ("incremental", Selection(mode="incremental")),
            ("full", Selection()),
            ("named", Selection(only=frozenset({1}))),
            ("import only", Selection(stages=("import",))),
        )
    }

    assert taken == {"incremental": [], "full": [(changed,)], "named": [(changed,)], "import only": []}


def test_refresh_finds_named_records_that_changed_although_nobody_watches_them(site: Site) -> None:
    site.record(1, 2, 3, 4)
    for run in (1, 2):
        facts = Facts(verified=True, fingerprint=fingerprint_of(site, run), ucondb_id=run)
        site.archive("import", run)
        site.tree.write_markers([Marker.of("migrate", run, facts)])
    site.archive("import", 3)
    append(site, 1, LATER)

    found = look_at(Snapshot.take(site.settings), [1, 2, 3])

    assert [each.run for each in found.changed] == [1]
    assert found.unchanged == [2]
    assert [str(error) for error in found.refused] == ["run 3: is not in both stores yet (archive it first: --runs 3)"]
    named = Selection((), "refresh", frozenset({1, 2, 3, 4}))
    [window] = planner.windows(Snapshot.take(site.settings), named)
    assert (window.imports, window.migrations, window.refreshes) == (frozenset(), frozenset(), tuple(found.changed))


def test_refresh_of_a_record_that_is_gone_says_so(site: Site) -> None:
    site.archive("import", 1)
    site.archive("migrate", 1)
    site.record(2)

    [error] = look_at(Snapshot.take(site.settings), [1]).refused

    assert "run 1" in str(error)
    assert "the record's directory is gone" in str(error)


def test_the_name_of_a_refresh_is_that_of_its_marker() -> None:
    assert str(Refresh.of("7027-1f2e3d4c")) == "7027-1f2e3d4c"
    assert planner.Window(refreshes=(Refresh(7027, "1f2e3d4c"),)).targets() == ["markers/refresh/7027-1f2e3d4c.json"]
