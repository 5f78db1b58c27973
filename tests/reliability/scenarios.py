"""What the archiver is about when its process ends: a world before, what is then done, and how it must be at last."""

from __future__ import annotations

from collections.abc import Callable

from rra_state.state.outcome import STAGES
from rra_state.state.planner import Selection
from tests.reliability import archiver
from tests.reliability.faults import Course
from tests.reliability.mortal import life
from tests.reliability.world import World

Action = Callable[[], object]
Scenario = Callable[[World], Action]


def cycle(world: World, selection: Selection | None = None) -> Action:
    """One cycle of the archiver."""
    return lambda: archiver.run(world.settings, selection or Selection(), Course(None), lambda _report: None)


def importing(world: World) -> Action:
    """Runs wait for their import, and for nothing else."""
    return cycle(world, Selection(stages=("import",)))


def migrating(world: World) -> Action:
    """They are imported and wait for their migration."""
    assert life(importing(world)) == 0
    return cycle(world, Selection(stages=("migrate",)))


def both(world: World) -> Action:
    """A cycle does both, with records among them that fail."""
    for run in broken(world):
        world.take(run, good=False)
        for path in (world.directory / str(run)).iterdir():
            path.unlink()
        world.settle(run)
    return cycle(world)


def retrying(world: World) -> Action:
    """Some failed and were repaired."""
    both(world)
    assert life(cycle(world)) == 0
    assert world.failures("import") == set(broken(world))
    for run in broken(world):
        world.mend(run)
    return cycle(world, Selection(stages=("import",), mode="retry"))


def recovering(world: World) -> Action:
    """The work directory was lost."""
    assert life(cycle(world)) == 0
    world.lose_everything()
    return lambda: archiver.recover(world.settings, STAGES, Course(None))


SCENARIOS: tuple[Scenario, ...] = (importing, migrating, both, retrying, recovering)


def broken(world: World) -> list[int]:
    """Every fourth run, in scenarios where records fail."""
    return sorted(world.records)[3::4]


def markers_tell_the_truth(world: World) -> None:
    """Right after the crash: a run with a marker is in its store, and no store has a run twice."""
    stored = world.stored()
    assert len(stored) == len(set(stored))
    assert world.marked("import") <= world.imported()
    assert world.marked("migrate") <= set(stored)


def all_is_well_at_last(world: World) -> None:
    """Records are mended and a full cycle ends the work: every run is in both stores, once, with our bytes."""
    for run, record in world.records.items():
        if not record.good:
            world.mend(run)
    assert life(cycle(world)) == 0

    runs = set(world.records)
    assert world.imported() == runs
    assert world.stored() == sorted(runs)
    world.check_content(runs, runs)
    for stage in STAGES:
        assert world.marked(stage) == runs
        assert world.failures(stage) == set()
        assert world.numbers(stage) == (max(runs), max(runs))
        assert world.log(stage) == []
    assert list(world.root.rglob(".*.tmp")) == []
