"""What is compared of a run that is in artdaqDB only: the record on disk, the documents, the marker."""

from __future__ import annotations

import pytest

from rra_state.execution.commit import Committer
from rra_state.records import blob
from rra_state.state.outcome import DIFFERS, RECORD_DIFFERS, Facts, Finding, Marker
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.base import Export
from rra_state.workers import verify_stage
from rra_state.workers.import_stage import import_runs
from rra_state.workers.verify_stage import RunVerification, verify_runs
from rra_state.workers.worker import WorkerContext
from tests.unit.archive_site import Site
from tests.unit.stores.artdaqdb.artdaqdb_helpers import Artdaq


@pytest.fixture
def artdaq(site: Site) -> Artdaq:
    """The archive, and a record of three files for run 7."""
    site.record(7)
    for name in ("component01", "component02"):
        (site.records / "7" / f"{name}.fcl").write_text("id: 7\n")
    return Artdaq(site.root / "artdaqdb")


def verified(site: Site) -> RunVerification:
    store = artdaqdb.open_store(site.settings.artdaq_db)
    [found] = verify_runs([7], WorkerContext(site.settings), store.locate([7]))
    return found


def import_it(site: Site) -> None:
    context = WorkerContext(site.settings)
    Committer(site.tree, context.artdaqdb).commit("import", import_runs([7], context, {}))


def test_case_a9_files_that_another_program_left_out_are_named(site: Site, artdaq: Artdaq) -> None:
    artdaq.write(7, "component01")
    artdaq.write(7, "metadata", {"another": "reading"})
    site.tree.write_markers([Marker.of("import", 7, Facts(verified=False, version="7/standard"))])

    found = verified(site)

    assert "artdaqDB: component02.fcl is missing, disk has it" in found.differences
    assert not [each for each in found.differences if "component01" in each or "metadata" in each]
    assert (found.kind, found.facts) == (RECORD_DIFFERS, None)


def test_case_a9_a_file_of_another_meaning_is_named(site: Site, artdaq: Artdaq) -> None:
    artdaq.write(7, "component01", {"id": "8"})
    site.tree.write_markers([Marker.of("import", 7, Facts(verified=False, version="7/standard"))])

    assert "disk: component01.fcl is not what artdaqDB has" in verified(site).differences


def test_case_a17_a_file_that_the_real_loader_added_is_named(site: Site, artdaq: Artdaq) -> None:
    import_it(site)
    before = verified(site)
    artdaq.write(7, "stranger")

    found = verified(site)

    assert before.differences == ()
    assert found.differences == ("disk: stranger.fcl is missing, artdaqDB has it",)


def test_a_run_that_artdaqdb_does_not_show_differs(site: Site, artdaq: Artdaq) -> None:
    artdaq.write(8, "component01")

    assert verified(site).differences == ("artdaqDB: does not show the run",)
    assert verified(site).kind == DIFFERS


def test_a_finding_counts_on_and_stays_short() -> None:
    first = Finding.found(7, DIFFERS, [f"UconDB: {number}" for number in range(25)], None)
    second = Finding.found(7, DIFFERS, ["artdaqDB: x"], first)

    assert first.message.endswith("UconDB: 19; and 5 more")
    assert (first.stage, second.stage, second.attempts, second.first) == ("migrate", "import", 2, first.first)
    assert Finding.parse(second.mapping()) == second


@pytest.mark.parametrize(("stored", "differences"), [(b"id :7\n", 0), (b"id: 8\n", 1)])
def test_an_old_blob_is_compared_by_meaning(stored: bytes, differences: int) -> None:
    export = Export(7, "7/standard", {"component01.fcl": b"id: 7\n"}, (), exact=False)

    found = verify_stage._blob_and_archive(7, blob.pack(7, {"component01.fcl": stored}), export)

    assert len(list(found)) == differences
