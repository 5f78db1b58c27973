"""What an archiver does over the network, each for itself: so that a fault can strike at every step of it.

A deed gives the error that kept it from being done, and None only if it was done. What it says has to be so, whatever
the network did: that is checked here, right after it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rra_state.base.errors import ArchiverError
from rra_state.state import recovery
from rra_state.state.outcome import STAGES
from rra_state.state.planner import Selection
from rra_state.stores import artdaqdb
from rra_state.workers.verify_stage import verify_runs
from rra_state.workers.worker import WorkerContext
from tests.reliability import archiver, refreshing
from tests.reliability.faults import Course
from tests.reliability.mortal import life
from tests.reliability.scenarios import all_is_well_at_last, cycle, markers_tell_the_truth
from tests.reliability.world import World

RUNS = range(1, 4)


@dataclass(frozen=True)
class Deed:
    """prepare: how the world is before. do: the deed itself. check: how it must be once nothing is in the way."""

    name: str
    prepare: Callable[[World], None]
    do: Callable[[World], ArchiverError | None]
    check: Callable[[World], None]


def take_runs(world: World) -> None:
    """Runs wait to be archived."""
    for run in RUNS:
        world.take(run)


def archive(world: World) -> ArchiverError | None:
    """A cycle of both stages: every run is told right, and none is to blame."""
    report = archiver.run(world.settings, Selection(), Course(None), lambda _report: None)
    world.archive = artdaqdb.open_store(world.settings.artdaq_db)
    for stage in STAGES:
        assert report.archived[stage] == world.marked(stage)
        assert report.failed[stage] == world.failures(stage) == set()
        if not world.state_file(stage).exists():
            assert report.stopped is not None  # before anything was begun
            assert world.marked(stage) == set()
            continue
        _, attempted = world.numbers(stage)
        due = set(RUNS) if stage == "import" else world.marked("import")
        assert world.log(stage) == sorted(run for run in due - world.marked(stage) if run <= attempted)
    if report.stopped is None:
        assert report.archived["import"] == report.archived["migrate"] == set(RUNS)
    return report.stopped


def archive_then_lose_the_work_directory(world: World) -> None:
    """What the archiver knew is gone."""
    archive_runs(world)
    world.lose_everything()


def recover(world: World) -> ArchiverError | None:
    """Recovery of both stages; or nothing is changed."""
    said: list[str] = []
    try:
        recovery.recover(world.settings, STAGES, said.append)
    except ArchiverError as error:
        assert said[-1] == "Nothing was changed."
        assert not any(world.marked(stage) or world.state_file(stage).exists() for stage in STAGES)
        return error
    for stage in STAGES:
        assert world.marked(stage) == set(RUNS)
        assert world.numbers(stage) == (max(RUNS), max(RUNS))
        assert world.log(stage) == []
    return None


def archive_runs(world: World) -> None:
    """Runs are archived."""
    take_runs(world)
    assert life(cycle(world)) == 0


def verify(world: World) -> ArchiverError | None:
    """All that is archived is read back: a fault on the way is no difference."""
    bench = WorkerContext(world.settings)
    try:
        findings = verify_runs(RUNS, bench, bench.artdaqdb.locate(RUNS))
    except ArchiverError as error:
        return error
    error = next((finding.error for finding in findings if finding.error), None)
    assert [finding.differences for finding in findings if finding.differences] == []
    assert error is not None or len(findings) == len(RUNS)
    return error


def refresh(world: World) -> ArchiverError | None:
    """A changed record is archived again; a fault of the place is not its own."""
    error = refreshing.refresh(world)
    assert not list((world.work / "failures" / "refresh").iterdir())
    return error


def _well(world: World) -> None:
    markers_tell_the_truth(world)
    all_is_well_at_last(world)


def _refreshed(world: World) -> None:
    assert refreshing.refresh(world) is None
    refreshing.assert_refreshed_once(world)


DEEDS = (
    Deed("cycle", take_runs, archive, _well),
    Deed("recovery", archive_then_lose_the_work_directory, recover, _well),
    Deed("verification", archive_runs, verify, _well),
    Deed("refresh", refreshing.archived_before_its_stop_time, refresh, _refreshed),
)
