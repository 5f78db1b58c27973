"""Worker processes on this machine."""

from __future__ import annotations

import pytest

from rra_state.config import loading
from rra_state.execution import pool as execution
from rra_state.execution.pool import ProcessPool
from rra_state.workers.import_stage import import_runs
from tests.site import Site
from tests.waiting import scaled


def test_a_closed_pool_lets_workers_end_their_run(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that is killed while it returns a result would keep this process from ending."""
    monkeypatch.setattr(execution, "CLOSE_SECONDS", scaled(execution.CLOSE_SECONDS))
    site.make(30)
    pool = ProcessPool(loading.load(site.config), most=1)
    future = pool.submit(import_runs, tuple(range(1, 31)), {})

    pool.close()

    begun = [outcome for outcome in future.result(0) if outcome.staged is not None]
    assert len(begun) < 30
