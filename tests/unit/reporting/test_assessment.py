"""The assessment against a second, naive one, over small sets of runs."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rra_state.base.errors import Conflict
from rra_state.reporting.assessment import Assessment, assess
from rra_state.reporting.verdict import Listings
from rra_state.state.outcome import Facts, Failure, Marker, Outcome
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site

RUNS = st.sets(st.integers(1, 7), max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(ended=RUNS, writing=RUNS, imported=RUNS, migrated=RUNS, failing=RUNS, unsure=RUNS, artdaqdb=RUNS, ucondb=RUNS)
def test_assessment_agrees_with_a_naive_one(  # noqa: PLR0917
    ended: set[int],
    writing: set[int],
    imported: set[int],
    migrated: set[int],
    failing: set[int],
    unsure: set[int],
    artdaqdb: set[int],
    ucondb: set[int],
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        site = Site(Path(directory))
        (site.records / ".record_directory_info").touch()  # an empty directory would be a disk that is not mounted
        site.record(*ended)
        site.record(*writing - ended, ended=False)
        site.archive("import", *imported)
        site.tree.write_markers(Marker.of("migrate", run, Facts(verified=run not in unsure)) for run in migrated)
        site.fail("import", *failing - imported)

        found = assess(Snapshot.take(site.settings), Listings(frozenset(artdaqdb), frozenset(ucondb)))

    opened = writing - ended - imported - failing
    disk = ended | writing
    lost = (imported | migrated | failing) - disk - artdaqdb - ucondb
    assert found.lost == lost
    assert found.verdict.word == (
        "NOT SAFE"
        if lost
        else naive_word(
            disk - (opened - artdaqdb - ucondb),
            disk,
            artdaqdb,
            ucondb,
            imported & migrated,
            failing - imported,
            unsure & migrated,
        )
    )
    for run in range(1, 8):
        assert [state for state, runs in found.counts.runs.items() if run in runs] == naive_state(
            run, disk | imported | migrated | failing, opened, migrated, failing - imported, lost
        )
    missing = {
        (gap.place, run) for gap in found.gaps if gap.place != "filesystem" for run in range(gap.first, gap.last + 1)
    }
    assert missing == {("artdaqDB", run) for run in disk - opened - artdaqdb} | {
        ("UconDB", run) for run in artdaqdb - ucondb
    }
    assert_steps_help(found)


def naive_word(  # noqa: PLR0917
    complete: set[int],
    disk: set[int],
    artdaqdb: set[int],
    ucondb: set[int],
    both: set[int],
    failed: set[int],
    unsure: set[int],
) -> str:
    """What a person would say who looks at each run."""
    words = {
        "NOT SAFE" if run not in ucondb or run in failed else "SAFE" if run in both and run in artdaqdb else "NOT SURE"
        for run in complete
    }
    words |= {"NOT SAFE" for run in artdaqdb - disk - ucondb}
    words |= {"NOT SAFE" for run in failed & ucondb}
    words |= {"NOT SURE" for _ in unsure}
    for word in ("NOT SAFE", "NOT SURE"):
        if word in words:
            return word
    return "SAFE" if disk else "NO RUN ON DISK"


def naive_state(  # noqa: PLR0917
    run: int, known: set[int], opened: set[int], migrated: set[int], failed: set[int], lost: set[int]
) -> list[str]:
    if run not in known:
        return []
    if run in migrated:
        return ["archived"]
    if run in failed & lost:
        return ["lost"]
    return ["failed"] if run in failed else ["open"] if run in opened else ["waiting"]


def assert_steps_help(found: Assessment) -> None:
    """Whatever is not safe has something to type."""
    assert found.verdict.level in ("safe", "empty") or found.steps


def test_case_a5b_no_advice_turns_a_conflict_into_archived(site: Site) -> None:
    site.record(5, 6)
    site.archive("import", 5, 6)
    site.tree.write_failures(Failure.of("migrate", Outcome(run, error=Conflict(run=run)), None) for run in (5, 6))
    both = frozenset({5, 6})

    found = assess(Snapshot.take(site.settings), Listings(both, both))

    advice = [*(step.options for step in found.steps), *(each.remedy for each in found.discrepancies)]
    assert found.verdict.level == "unsafe"
    assert not [option for option in advice if "--recover-migrate-state" in option]
