"""Recovery from listings: numbers, markers, failure records, the printed block."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_state.base.errors import Conflict, LockHeld, StoreUnavailable
from rra_state.base.lock import Lock
from rra_state.records.listing import Listing
from rra_state.state import recovery
from rra_state.state.outcome import Facts, Failure, Marker, Outcome
from rra_state.state.recovery import RecoverySites, recover
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Known
from rra_state.stores.artdaqdb.base import Outline
from rra_state.stores.ucondb.values import BlobVersion
from tests.unit.archive_site import Site

RUNS = st.sets(st.integers(1, 40))


def outline(run: int, *, version: str = "", whole: bool = True) -> Outline:
    return Outline(run, f"{run}/standard", version or f"{run}/standard", whole)


def places(
    site: Site, records: Iterable[int], imported: Iterable[int] = (), migrated: Iterable[int] = (), size: int = 9000
) -> RecoverySites:
    """The three places as listings; nothing is asked."""
    (site.records / ".record_directory_info").touch()  # an empty directory would be a disk that is not mounted
    found = RecoverySites(site.settings)
    listed = Listing(frozenset(records), ())
    found.__dict__["snapshot"] = replace(Snapshot.take(site.settings), listing=listed)
    found.__dict__["artdaqdb"] = {run: outline(run) for run in imported}
    found.__dict__["ucondb"] = {run: BlobVersion(run, run, str(run), run * 7, size, 0.0) for run in migrated}
    return found


def recovered(site: Site, found: RecoverySites, *stages: str) -> str:
    said: list[str] = []
    recover(site.settings, stages or ("import",), said.append, found)  # type: ignore[arg-type]
    return "\n".join(said)


def written(site: Site, stage: str = "import") -> tuple[tuple[int, int], list[int]]:
    keeper = site.keeper(stage)
    values = json.loads(keeper.state_file.read_text())
    return tuple(values.values()), [int(line) for line in keeper.log_file.read_text().split()]


@given(st.permutations(range(1, 15)), RUNS, st.data())
def test_cycle_and_recovery_agree_for_any_order(order: list[int], broken: set[int], data: st.DataObject) -> None:
    """But for failures above the highest archived run: no store knows that they were tried."""
    arriving = order[: data.draw(st.integers(1, len(order)))]
    good = [run for run in arriving if run not in broken]
    with tempfile.TemporaryDirectory() as directory:
        site = Site(Path(directory))
        for number, run in enumerate(arriving, 1):
            (site.archive if run in good else site.fail)("import", run)
            source = frozenset(arriving[:number])
            known = Known(source, site.tree.archived("import"), site.tree.failed("import"))
            site.keeper().update(known, attempted=True)
        cycle = written(site)

        recovered(site, places(site, arriving, good))
        after_recovery = written(site)
        known = Known(frozenset(arriving), site.tree.archived("import"), site.tree.failed("import"))
        site.keeper().update(known)

        highest = max(good, default=0)
        assert after_recovery[0] == (cycle[0][0], highest)
        assert after_recovery[1] == [run for run in cycle[1] if run < highest]
        assert written(site) == after_recovery


def test_markers_that_agree_are_left_alone_and_others_made_anew(site: Site) -> None:
    site.archive("import", 5, version="5/standard", fingerprint="kept")
    site.archive("import", 6, version="6/standardv1", fingerprint="outdated")
    site.archive("import", 8, version="8/standard")

    recovered(site, places(site, [5, 6, 7], [5, 6, 7]))

    assert site.tree.archived("import") == {5, 6, 7}
    facts = {run: marker.facts for run, marker in site.tree.markers("import", {5, 6, 7}) if isinstance(marker, Marker)}
    assert facts[5].fingerprint == "kept"
    for run in (6, 7):
        assert facts[run] == Facts(verified=False, configuration="standard", version=f"{run}/standard")


def test_a_migration_recovery_makes_import_markers(site: Site) -> None:
    site.archive("migrate", 5, ucondb_id=99, size=9000, adler32=35)

    recovered(site, places(site, [], [5, 6], [5]), "migrate")

    assert site.tree.archived("import") == {5, 6}
    marker = site.tree.marker("migrate", 5)
    assert marker is not None
    facts = marker.facts
    assert (facts.ucondb_id, facts.ucondb_data_key, facts.size, facts.adler32) == (5, "5", 9000, 35)
    assert (facts.verified, facts.version) == (False, "5/standard")


def test_recovery_leaves_a_conflict_to_a_person(site: Site) -> None:
    failure = Failure.of("migrate", Outcome(5, error=Conflict(run=5)), None)
    site.tree.write_failures([failure])

    recovered(site, places(site, [], [5, 6], [5, 6]), "migrate")

    assert site.tree.archived("migrate") == {6}
    assert site.tree.failure("migrate", 5) == failure
    assert site.settings.app.migrate_failure_log.read_text() == "5\n"


def test_failure_records_stay_only_for_runs_that_are_missing(site: Site) -> None:
    site.fail("import", 5, 6, 9)

    recovered(site, places(site, [5, 6, 7, 9], [5, 7]))

    assert site.tree.failed("import") == {6}
    assert written(site) == ((5, 7), [6])


def test_an_operators_edits_are_kept_as_bak(site: Site) -> None:
    keeper = site.keeper()
    keeper.state_file.write_text('{"last_contiguous_run": 12000, "last_attempted_run": 12000}')
    keeper.log_file.write_text("777\n")

    recovered(site, places(site, [5, 6], [5, 6]))

    assert written(site) == ((6, 6), [])
    assert "12000" in keeper.state_file.with_name("importer_state.json.bak").read_text()
    assert keeper.log_file.with_name("import_failures.log.bak").read_text() == "777\n"


def test_a_directory_as_log_is_moved_aside_twice(site: Site) -> None:
    keeper = site.keeper()
    for _ in range(2):
        keeper.log_file.unlink(missing_ok=True)
        keeper.log_file.mkdir()
        recovered(site, places(site, [5, 6], [6]))

    names = {path.name for path in keeper.log_file.parent.glob("import_failures.log*") if path.is_dir()}
    assert names == {"import_failures.log.bak", "import_failures.log.bak2"}


def test_the_other_stages_invalid_state_does_not_hinder(site: Site) -> None:
    site.keeper("migrate").state_file.write_text("{")

    recovered(site, places(site, [5], [5]))

    assert written(site) == ((5, 5), [])
    assert site.keeper("migrate").state_file.read_text() == "{"


def test_a_run_still_being_written_is_not_missing(site: Site) -> None:
    site.record(5, 7)
    site.record(6, ended=False)

    recovered(site, places(site, [5, 6, 7], [5, 7]))

    assert written(site) == ((5, 7), [])


def test_the_other_place_unreachable_changes_nothing(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise StoreUnavailable("UconDB: connection refused")

    found = places(site, [5], [5])
    del found.__dict__["ucondb"]
    monkeypatch.setattr(recovery.UconDB, "versions", refuse)
    said: list[str] = []

    with pytest.raises(StoreUnavailable):
        recover(site.settings, ("import", "migrate"), said.append, found)

    assert said[-1] == "Nothing was changed."
    assert site.tree.archived("import") == set()
    assert not site.keeper().state_file.exists()


def test_recovery_waits_for_nobody_and_disturbs_no_cycle(site: Site) -> None:
    app = site.settings.app
    held = Lock(app.work_dir, app.lock_file).acquire()

    with pytest.raises(LockHeld):
        recovered(site, places(site, [5], [5]))

    held.release()
    assert not site.keeper().state_file.exists()


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        ([], []),
        ([5], ["  Missing runs (preview): [5]"]),
        (range(1, 11), ["  Missing runs (preview): [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]"]),
        (range(1, 12), ["  Missing runs (preview): [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, ...]"]),
    ],
)
def test_the_preview_shows_ten_runs_at_most(missing: Iterable[int], line: list[str]) -> None:
    assert list(recovery.preview(list(missing))) == line


def test_runs_that_look_incomplete_are_named_after_the_block(site: Site) -> None:
    found = places(site, [5, 6, 7], [5, 6, 7])
    found.artdaqdb.update({6: outline(6, whole=False), 7: None})  # type: ignore[attr-defined]

    block, _, after = recovered(site, found).rpartition("=" * 70 + "\n")

    assert block.endswith("Missing runs: 0\n")
    assert after == "Runs in artdaqDB that look incomplete (no metadata or RunHistory document): 6-7"


def test_a_small_blob_looks_incomplete(site: Site) -> None:
    text = recovered(site, places(site, [], [5, 6], [5, 6], size=4000), "migrate")

    assert text.endswith("Runs in UconDB that look incomplete (blob under 8192 bytes): 5-6")
