"""When a version that another program stored in artdaqDB is taken, and what is noted until then."""

from __future__ import annotations

import shutil
import time
from datetime import datetime
from typing import Any

import pytest

from rra_state.base.errors import StillArriving
from rra_state.execution.commit import Committer
from rra_state.state import lost_runs, planner
from rra_state.state.outcome import Facts, Marker, Outcome
from rra_state.state.planner import Selection
from rra_state.state.snapshot import Snapshot
from rra_state.stores.artdaqdb.document import timestamp
from rra_state.workers.import_stage import import_runs
from rra_state.workers.migrate_stage import migrate_runs
from rra_state.workers.worker import WorkerContext
from tests.unit.archive_site import Site
from tests.unit.stores.artdaqdb.artdaqdb_helpers import Artdaq

LONG_AGO = timestamp(datetime.fromtimestamp(time.time() - 4000))
FILES: dict[str, dict[str, Any] | None] = {
    "component01": {"a": "1"}, "boot": None, "metadata": None, "RunHistory": None, "RunHistory2": {"stop_time": "now"},
}  # fmt: skip
"""What the record of run 7 becomes, by name; texts are compared by name alone."""


@pytest.fixture
def artdaq(site: Site) -> Artdaq:
    site.record(7)
    return Artdaq(site.root / "artdaqdb")


def load(artdaq: Artdaq, *names: str, assigned: str | None = None, **changed: dict[str, Any]) -> None:
    for name in names or FILES:
        artdaq.write(7, name, changed.get(name, FILES.get(name)), assigned=assigned or timestamp())


def imported(site: Site) -> Outcome:
    context = WorkerContext(site.settings)
    committer = Committer(site.tree, context.artdaqdb)
    [outcome] = committer.commit("import", import_runs([7], context, context.artdaqdb.locate([7])))
    return outcome


def snapshot(site: Site) -> Snapshot:
    return Snapshot.take(site.settings)


def test_case_a15_a_version_with_every_name_is_taken_at_once(site: Site, artdaq: Artdaq) -> None:
    load(artdaq)

    facts = imported(site).facts

    assert facts is not None
    assert (facts.verified, facts.foreign, facts.version) == (True, True, "7/standard")
    assert facts.fingerprint
    assert snapshot(site).watched == {7}


@pytest.mark.parametrize("other", [{"names": ["boot", "metadata"]}, {"names": [], "component01": {"a": "2"}}])
def test_case_a15_a_version_that_lacks_something_is_open(site: Site, artdaq: Artdaq, other: dict[str, Any]) -> None:
    load(artdaq, *other.pop("names"), **other)

    outcome, after = imported(site), snapshot(site)

    assert isinstance(outcome.error, StillArriving)
    assert after.open == after.arriving == {7}
    assert not after.failed["import"]
    assert planner.windows(after, Selection(mode="incremental"))[0].imports == {7}


def test_case_a15_an_open_run_without_a_record_is_not_lost(site: Site, artdaq: Artdaq) -> None:
    load(artdaq, "boot")
    lost_runs.notice(snapshot(site))
    imported(site)
    shutil.rmtree(site.records / "7")

    assert lost_runs.notice(snapshot(site)) == set()
    assert snapshot(site).lost == set()
    site.record(8)  # an empty directory would be a fault
    assert 7 in planner.windows(snapshot(site), Selection())[0].imports
    assert isinstance(imported(site).error, StillArriving)


def test_case_a15_without_a_record_the_stop_time_is_awaited(site: Site, artdaq: Artdaq) -> None:
    site.record(8)  # without any record the directory would be a fault
    shutil.rmtree(site.records / "7")
    load(artdaq, "boot", "RunHistory2", RunHistory2={"start_time": "now"})
    first = imported(site)
    artdaq.write(7, "RunHistory2", {"stop_time": "now"}, version="7/standardv1", assigned=timestamp())

    second = imported(site)

    assert isinstance(first.error, StillArriving)
    assert second.facts is not None
    assert (second.facts.version, second.facts.verified) == ("7/standardv1", False)
    assert not snapshot(site).arriving


@pytest.mark.parametrize(
    ("names", "changed", "version"),
    [
        (["boot", "metadata"], {}, "7/standardv1"),
        (["boot", "metadata", "stranger"], {}, "7/standard"),
        (["boot", "component01"], {"component01": {"a": "2"}}, "7/standard"),
    ],
)
def test_files_are_added_only_where_nothing_else_differs(
    site: Site, artdaq: Artdaq, names: list[str], changed: dict[str, Any], version: str
) -> None:
    load(artdaq, *names, assigned=LONG_AGO, **changed)

    facts = imported(site).facts

    assert facts is not None
    added = version == "7/standardv1"
    assert (facts.version, facts.verified, facts.foreign) == (version, added, not added)
    assert WorkerContext(site.settings).artdaqdb.locate([7])[7].version == version


def test_case_a15_a_run_that_a_recovery_found_is_awaited_too(site: Site, artdaq: Artdaq) -> None:
    load(artdaq, "boot")
    site.tree.write_markers([Marker.of("import", 7, Facts(verified=False, version="7/standard"))])
    context = WorkerContext(site.settings)

    outcomes = migrate_runs([7], context, context.artdaqdb.locate([7]))
    Committer(site.tree, context.artdaqdb).commit("migrate", outcomes)

    assert isinstance(outcomes[0].error, StillArriving)
    assert snapshot(site).open == {7}
    assert snapshot(site).derived("migrate").log == ()
