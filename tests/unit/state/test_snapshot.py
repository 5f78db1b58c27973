"""One look at records and tree: what it lists, and that nobody lists it again."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from rra_state.base.errors import SourceUnreadable
from rra_state.reporting.assessment import assess
from rra_state.state import planner
from rra_state.state.changed_records import sightings
from rra_state.state.outcome import STAGES
from rra_state.state.planner import Selection
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site, edit_state


def test_a_snapshot_lists_every_directory_once(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.record(*range(1, 6))
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.fail("migrate", 2)
    listed: Counter[str] = Counter()
    for name in ("listdir", "scandir"):
        real = getattr(os, name)

        def spy(path: Any, real: Any = real) -> Any:
            where = str(Path(f"/proc/self/fd/{path}").readlink()) if isinstance(path, int) else str(path)
            listed[where] += 1
            return real(path)

        monkeypatch.setattr(os, name, spy)

    snapshot = Snapshot.take(site.settings)
    planner.windows(snapshot, Selection(mode="incremental"))
    for stage in STAGES:
        site.keeper(stage).update(snapshot.known(stage))
    assess(snapshot)

    work = site.tree.root
    directories = [site.records, work / "watch"]
    directories += [work / kind / stage for kind in ("markers", "failures") for stage in (*STAGES, "refresh")]
    assert {str(path): listed[str(path)] for path in directories} == dict.fromkeys(map(str, directories), 1)


def test_a_snapshot_stays_as_it_was_taken(site: Site) -> None:
    site.record(1)

    snapshot = Snapshot.take(site.settings)
    site.record(2)
    site.archive("import", 1)

    assert (snapshot.records, snapshot.archived["import"]) == ({1}, set())
    assert (snapshot.again().records, snapshot.again().archived["import"]) == ({1, 2}, {1})


def test_a_snapshot_without_the_records_disk_says_so(site: Site) -> None:
    site.archive("import", 1)
    site.records.rmdir()

    snapshot = Snapshot.take(site.settings)

    assert (snapshot.on_disk, snapshot.archived["import"]) == (set(), {1})
    assert isinstance(snapshot.source_error, SourceUnreadable)
    with pytest.raises(SourceUnreadable):
        _ = snapshot.records


def test_a_snapshot_knows_what_a_killed_process_left(site: Site) -> None:
    site.archive("import", 7)
    site.fail("import", 7, 8)
    left = site.tree.root / "watch" / ".7.tmp"
    left.touch()

    snapshot = Snapshot.take(site.settings)

    assert snapshot.failed["import"] == {8}
    assert set(snapshot.leftovers) == {site.tree.failure_path("import", 7), left}


@pytest.mark.parametrize("damaged", ["import_state_file", "import_failure_log"])
def test_a_snapshot_keeps_the_damage_of_state_files(site: Site, damaged: str) -> None:
    site.archive("import", 1, 2)
    path: Path = getattr(site.settings.app, damaged)
    path.write_text("{corrupted")

    snapshot = Snapshot.take(site.settings)

    assert snapshot.written("import").error is not None
    assert snapshot.derived("import").state.last_contiguous_run == 2
    assert snapshot.written("migrate").error is None


def test_a_snapshot_takes_an_operators_numbers(site: Site) -> None:
    edit_state(site, 100, 120)

    assert Snapshot.take(site.settings).derived("import").state.start == 120


def test_case_a12_a_record_changed_in_the_future_waits_by_our_clock(site: Site) -> None:
    site.record(1, ended=False)
    now = time.time() - 1e6

    looks = []
    for seconds in (0, 3599, 3600):
        snapshot = Snapshot.take(site.settings, now + seconds)
        looks.append(snapshot.is_ready(1))
        snapshot.remember()

    assert looks == [False, False, True]
    assert list(sightings(site.tree)) == [1]
    shutil.rmtree(site.records / "1")
    site.record(2)
    Snapshot.take(site.settings).remember()
    assert sightings(site.tree) == {}
