"""What a verification writes down: findings, and which runs are still unverified."""

from __future__ import annotations

from rra_state.execution.verification import Verified
from rra_state.state.markers import UNVERIFIED
from rra_state.state.outcome import DIFFERS, Facts, Finding, Marker
from rra_state.workers.verify_stage import RunVerification
from tests.unit.archive_site import Site


def finding(run: int) -> Finding:
    return Finding.found(run, DIFFERS, ("UconDB: has no blob of the run",), None)


def test_a_finding_that_a_cycle_wrote_meanwhile_stays(site: Site) -> None:
    done = Verified(before={1: finding(1)})
    done.add(RunVerification(1))
    done.add(RunVerification(2))
    site.tree.write_findings([finding(1), finding(2)], ())

    done.write_findings(site.tree)

    assert site.tree.findings() == {2}


def test_without_the_note_of_unverified_runs_none_is_left_out(site: Site) -> None:
    """A tree of an older version has no such note; the next verification makes it of all markers."""
    site.tree.write_markers([Marker.of("import", 1, Facts(verified=False))])

    assert site.tree.noted_runs(UNVERIFIED) is None


def test_runs_that_were_only_listed_are_added_to_the_note(site: Site) -> None:
    site.tree.write_noted_runs(UNVERIFIED, {7})

    site.tree.write_markers([Marker.of("import", run, Facts(verified=run == 2)) for run in (1, 2)])

    assert site.tree.noted_runs(UNVERIFIED) == {1, 7}
