"""A record whose stop time comes after its run was archived: the world before, the refresh, and how it must be then."""

from __future__ import annotations

from rra_state.base.errors import ArchiverError
from rra_state.execution.commit import Committer
from rra_state.execution.single_run import refresh_run
from rra_state.records import blob
from rra_state.state.markers import Tree
from rra_state.state.snapshot import Snapshot
from rra_state.workers.worker import WorkerContext
from tests.reliability.mortal import life
from tests.reliability.scenarios import cycle
from tests.reliability.world import METADATA, World

CHANGED, OTHER = 101, 100


def archived_before_its_stop_time(world: World) -> None:
    """Two runs are archived, and then the record of one changes."""
    world.take(OTHER)
    world.take(CHANGED, ended=False)
    world.settle(CHANGED)
    assert life(cycle(world)) == 0
    world.end(CHANGED)


def refresh(world: World) -> ArchiverError | None:
    """What a cycle and the job of its rule do with changed records; what kept them from it."""
    snapshot = Snapshot.take(world.settings)
    snapshot.changes.remember(snapshot.tree)
    context = WorkerContext(world.settings)
    committer = Committer(snapshot.tree, context.artdaqdb)
    outcomes = [refresh_run(wanted, context, committer) for wanted in snapshot.changes.changed]
    return next((outcome.error for outcome in outcomes if not outcome.archived), None)


def assert_refreshed_once(world: World) -> None:
    """The changed record is in both stores as a second version; the other run is as it was."""
    located = world.archive.locate([OTHER, CHANGED])
    assert located[OTHER].version == located[OTHER].configuration
    assert located[CHANGED].version == f"{located[CHANGED].configuration}v1"
    export = world.archive.export(located[CHANGED])
    assert {each.name: each.data for each in export.sources} == {METADATA: world.records[CHANGED].files[METADATA]}
    assert world.stored() == [0, OTHER, CHANGED]  # 0: the version without a key, which was replaced
    [(content,)] = world.connection.execute(
        f"select d.data from {world.ucondb.folder}_versions v join {world.ucondb.folder}_data d"
        " on d.key = v.data_key::bigint where v.object = %s and v.key = %s",
        (world.object, str(CHANGED)),
    )
    assert blob.unpack(bytes(content)).files == export.files
    tree = Tree(world.work)
    assert {run: len(found) for run, found in tree.refreshed().items()} == {CHANGED: 1}
    assert tree.failed_refreshes() == set()
    assert list(world.root.rglob(".*.tmp")) == []
