"""Worker processes on this machine."""

from __future__ import annotations

from rra_state.config import loading
from rra_state.execution.pool import ProcessPool
from rra_state.workers.import_stage import import_runs
from tests.site import Site


def test_a_closed_pool_lets_workers_end_their_run(site: Site) -> None:
    """A worker that is killed while it returns a result would keep this process from ending."""
    site.make(150)  # too many to be done before it is closed
    pool = ProcessPool(loading.load(site.config), most=1)
    future = pool.submit(import_runs, tuple(range(1, 151)), {})

    pool.close()

    begun = [outcome for outcome in future.result(0) if outcome.staged is not None]
    assert len(begun) < 150
