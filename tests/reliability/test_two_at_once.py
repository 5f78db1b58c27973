"""Two archivers started at the same moment: one works, the other says so and touches nothing."""

from __future__ import annotations

from tests.site import Site
from tests.waiting import scaled, wait_until


def test_of_two_archivers_started_at_once_one_works(site: Site) -> None:
    site.configure(ucon_db={"timeout_seconds": scaled(60)})
    site.make(60)

    with site.ucondb.frozen():  # so that none is done before the last one begins
        cycles = [site.start(site.command()) for _ in range(3)]
        wait_until(lambda: sum(cycle.poll() is not None for cycle in cycles) >= 2, what="two still run")
    said = [cycle.communicate(timeout=scaled(100))[0] for cycle in cycles]

    statuses = sorted(cycle.returncode for cycle in cycles)
    assert statuses == [0, 1, 1], said
    assert sum("the archiver is already running" in text for text in said) == 2
    site.assert_archived_once(range(1, 61))
