"""Runs that are nowhere any more: seen or tried once, noticed, given up, and back again."""

from __future__ import annotations

import shutil

from rra_state.execution.commit import Committer
from rra_state.state import lost_runs
from rra_state.state.snapshot import Snapshot
from rra_state.workers.import_stage import import_runs
from rra_state.workers.worker import WorkerContext
from tests.unit.archive_site import Site


def look(site: Site) -> Snapshot:
    return Snapshot.take(site.settings)


def vanish(site: Site, run: int) -> None:
    shutil.rmtree(site.records / str(run))


def test_case_a8_a_record_that_vanishes_before_it_is_read_is_lost(site: Site) -> None:
    site.record(1, 2)
    site.archive("import", 1)
    vanish(site, 2)  # it was planned
    context = WorkerContext(site.settings)

    Committer(site.tree, context.artdaqdb).commit("import", import_runs([2], context, {}))

    assert look(site).lost == {2}


def test_a_run_only_seen_is_missed_when_it_vanishes(site: Site) -> None:
    site.record(1, 2)
    assert lost_runs.notice(look(site)) == set()
    vanish(site, 2)

    assert lost_runs.notice(look(site)) == {2}
    assert lost_runs.notice(look(site)) == set()
    assert look(site).lost == {2}


def test_a_run_that_is_given_up_leaves_records_and_logs(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    site.fail("import", 2)
    site.settings.app.import_failure_log.write_text("2\n9\n")
    assert look(site).lost == {2, 9}

    lost_runs.give_up(look(site), frozenset({2, 9}))

    after = look(site)
    assert (after.lost, after.forgotten, after.failed["import"]) == (frozenset(), {2, 9}, frozenset())
    assert site.settings.app.import_failure_log.read_text() == ""


def test_a_forgotten_run_whose_record_returns_counts_again(site: Site) -> None:
    site.record(1)
    site.fail("import", 2)
    lost_runs.give_up(look(site), frozenset({2}))
    site.record(2)

    lost_runs.notice(look(site))

    assert look(site).forgotten == frozenset()


def test_nothing_is_lost_while_the_disk_cannot_be_read(site: Site) -> None:
    site.fail("import", 2)
    site.records.rmdir()

    assert look(site).lost == frozenset()


def test_an_archived_run_without_record_is_not_lost(site: Site) -> None:
    site.archive("import", 1)
    site.archive("migrate", 2)

    assert look(site).lost == frozenset()
