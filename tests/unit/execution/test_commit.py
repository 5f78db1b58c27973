"""The driver's part of a chunk: index before markers, markers before success."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rra_state.base import files
from rra_state.base.errors import ArchiverError, IndexDamaged, RecordChanged, RecordError, StoreUnavailable
from rra_state.execution.commit import Committer
from rra_state.records.model import Remark
from rra_state.state.outcome import Facts, Outcome
from rra_state.stores.artdaqdb.base import Location, Staged
from tests.unit.archive_site import Site


class Store:
    """Remembers what was published, and what the tree said then."""

    def __init__(self, site: Site, error: ArchiverError | None = None) -> None:
        self.site = site
        self.error = error
        self.published: list[int] = []
        self.markers_then: set[int] = set()

    def publish(self, staged: Sequence[Staged]) -> None:
        self.markers_then = self.site.tree.archived("import")
        if self.error is not None:
            raise self.error
        self.published += [item.location.run for item in staged]


def imported(run: int, *, changed: bool = True, stop_time: str | None = "then", verified: bool = True) -> Outcome:
    staged = Staged(Location(run, f"{run}/standard", "v0", ()), changed, "2026-11-23T20:20:41.006+0000")
    return Outcome(run, facts=Facts(verified=verified, stop_time=stop_time, config_name="standard"), staged=staged)


def committer(site: Site, store: Store) -> Committer:
    return Committer(site.tree, store)  # type: ignore[arg-type]


def test_imported_runs_are_visible_before_they_have_a_marker(site: Site) -> None:
    store = Store(site)

    final = committer(site, store).commit("import", [imported(1), imported(2)])

    assert store.published == [1, 2]
    assert store.markers_then == set()
    assert site.tree.archived("import") == {1, 2}
    assert all(outcome.archived for outcome in final)


def test_content_that_is_visible_already_is_not_published_again(site: Site) -> None:
    store = Store(site)

    committer(site, store).commit("import", [imported(1, changed=False), Outcome(2, facts=Facts(verified=False))])

    assert store.published == []
    assert site.tree.archived("import") == {1, 2}


def test_a_failed_run_gets_a_failure_and_no_marker(site: Site) -> None:
    outcomes = [imported(1), Outcome(2, error=RecordError("bad", run=2), tries=3)]

    final = committer(site, Store(site)).commit("import", outcomes)

    failure = site.tree.failure("import", 2)
    assert site.tree.archived("import") == {1}
    assert failure is not None
    assert (failure.kind, failure.message, failure.attempts) == ("RecordError", "run 2: bad", 3)
    assert [outcome.archived for outcome in final] == [True, False]


def test_a_run_not_tried_gets_neither_marker_nor_record(site: Site) -> None:
    committer(site, Store(site)).commit("migrate", [Outcome(1, error=StoreUnavailable())])

    assert (site.tree.archived("migrate"), site.tree.failed("migrate")) == (set(), set())


def test_an_unwritable_index_leaves_the_chunk_untried(site: Site) -> None:
    fault = IndexDamaged("cannot be written")

    final = committer(site, Store(site, fault)).commit("import", [imported(1), imported(2)])

    assert [outcome.error for outcome in final] == [fault, fault]
    assert all(outcome.untried for outcome in final)
    assert site.tree.archived("import") == set()


def test_a_full_disk_leaves_all_of_the_chunk_untried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_sync_file_system", full)

    final = committer(site, Store(site)).commit("import", [imported(1), Outcome(2, error=RecordError(run=2))])

    assert all(outcome.untried and outcome.facts is None for outcome in final)
    assert site.tree.failed("import") == set()


def test_a_fault_that_is_no_places_is_not_hidden(site: Site) -> None:
    with pytest.raises(RecordError):
        committer(site, Store(site, RecordError("a bug"))).commit("import", [imported(1)])


def test_an_imported_record_is_watched(site: Site) -> None:
    outcomes = [imported(1), imported(2, stop_time=None), imported(3, stop_time=None, verified=False)]

    committer(site, Store(site)).commit("import", outcomes)

    assert site.tree.watched() == {1, 2}


def test_a_migrations_marker_tells_what_the_import_knew(site: Site) -> None:
    site.archive("import", 7, fingerprint="ab", config_name="standard", remarks=(Remark("a.fcl", 3, "x"),))

    committer(site, Store(site)).commit("migrate", [Outcome(7, facts=Facts(verified=True, size=10))])

    marker = site.tree.marker("migrate", 7)
    assert marker is not None
    assert marker.facts == Facts(
        verified=True, size=10, fingerprint="ab", config_name="standard", remarks=(Remark("a.fcl", 3, "x"),)
    )


def test_a_migration_without_an_import_marker_is_committed(site: Site) -> None:
    committer(site, Store(site)).commit("migrate", [Outcome(7, facts=Facts(verified=True))])

    assert site.tree.archived("migrate") == {7}


def test_a_damaged_failure_record_does_not_stop_the_archive(site: Site) -> None:
    site.tree.failure_path("import", 2).write_text("")

    final = committer(site, Store(site)).commit("import", [imported(1), Outcome(2, error=RecordError("bad", run=2))])

    assert [outcome.untried for outcome in final] == [False, False]
    assert site.tree.failure("import", 2) is not None


def test_a_run_whose_marker_is_durable_is_not_called_untried(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise fsio_full

    fsio_full = OSError(28, "No space left on device")
    write = files.write_batch
    batches = iter(range(9))
    monkeypatch.setattr(files, "write_batch", lambda files: write(files) if next(batches) == 0 else full())

    final = committer(site, Store(site)).commit("import", [imported(1), Outcome(2, error=RecordError(run=2))])

    assert site.tree.archived("import") == {1}
    assert final[0].archived


def test_a_record_that_kept_changing_is_no_failure(site: Site) -> None:
    final = committer(site, Store(site)).commit("import", [imported(1), Outcome(2, error=RecordChanged(run=2))])

    assert [outcome.untried for outcome in final] == [False, True]
    assert site.tree.failed("import") == set()
