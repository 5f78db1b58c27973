"""A chunk of runs on its way from a directory archive to a real UconDB: what overlaps, and what that must not cost."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rra_state.base.errors import Interrupted, RecordTooLarge, StoreUnavailable
from rra_state.config import loading
from rra_state.state.outcome import Outcome
from rra_state.workers import migrate_stage
from rra_state.workers.import_stage import import_runs
from rra_state.workers.migrate_stage import migrate_runs
from rra_state.workers.worker import WorkerContext
from scripts.make_run_records import make_records
from tests.servers import Folder
from tests.waiting import scaled

RUNS = (1, 2, 3, 4)


@pytest.fixture
def bench(tmp_path: Path, ucondb: Folder) -> WorkerContext:
    make_records(len(RUNS), tmp_path / "records", first_run=1)
    file = tmp_path / "config.yaml"
    file.write_text(
        "app: {work_dir: work, retry_delay_seconds: 0}\n"
        "source_files: {run_records_dir: records, quiet_seconds: 0, settle_seconds: 0}\n"
        f"artdaq_db: {{database_uri: 'filesystemdb://{tmp_path}/artdaqdb'}}\n"
        f"ucon_db: {{server_url: '{ucondb.url}', folder_name: {ucondb.folder}, writer_user: {ucondb.user},"
        " writer_password: '${PASSWORD}'}\n"
    )
    bench = WorkerContext(loading.load(file, {"PASSWORD": ucondb.password}))
    outcomes = import_runs(list(RUNS), bench, {})
    bench.artdaqdb.publish([outcome.staged for outcome in outcomes if outcome.staged])
    return bench


def migrate(bench: WorkerContext, runs: tuple[int, ...] = RUNS) -> list[Outcome]:
    return migrate_runs(runs, bench, bench.artdaqdb.locate(runs))


def before(
    bench: WorkerContext, store: str, method: str, act: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Have something done right before a store's method is called for a run."""
    place = getattr(bench, store)
    real = getattr(place, method)

    def called(first: Any, *rest: Any, **named: Any) -> Any:
        act(first if isinstance(first, int) else first.run)
        return real(first, *rest, **named)

    monkeypatch.setattr(place, method, called)


def test_every_run_is_stored_whole_and_told_in_order(bench: WorkerContext) -> None:
    outcomes = migrate(bench)

    assert [outcome.run for outcome in outcomes] == list(RUNS)
    assert all(outcome.archived for outcome in outcomes)
    for outcome in outcomes:
        version = bench.ucondb.versions()[outcome.run]
        facts = outcome.facts
        assert (facts.size, facts.adler32, facts.ucondb_id) == (version.size, version.adler32, version.id)
    assert all("already holds" in str(outcome.note) for outcome in migrate(bench))


def test_the_next_run_is_read_during_a_put(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    read = {run: threading.Event() for run in RUNS}
    overlapped = []
    before(bench, "artdaqdb", "export", lambda run: read[run].set(), monkeypatch)
    before(
        bench, "ucondb", "put", lambda run: overlapped.append(run == 4 or read[run + 1].wait(scaled(20))), monkeypatch
    )

    outcomes = migrate(bench)

    assert all(outcome.archived for outcome in outcomes)
    assert overlapped == [True] * 4


def test_beside_a_large_blob_no_other_run_is_read(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[str, int]] = []
    monkeypatch.setattr(migrate_stage, "SMALL", 0)
    before(bench, "artdaqdb", "export", lambda run: told.append(("read", run)), monkeypatch)
    before(bench, "ucondb", "put", lambda run: told.append(("put", run)), monkeypatch)

    migrate(bench)

    assert told == [(deed, run) for run in RUNS for deed in ("read", "put")]


def test_an_outage_leaves_the_run_read_meanwhile_untried(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(run: int) -> None:
        if run == 2:
            raise StoreUnavailable("is away")

    before(bench, "ucondb", "put", away, monkeypatch)

    outcomes = migrate(bench)

    assert [outcome.archived for outcome in outcomes] == [True, False, False, False]
    assert all(outcome.untried for outcome in outcomes[1:])
    assert bench.ucondb.runs() == {1}


def test_a_stop_finishes_the_run_in_hand_only(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    before(bench, "ucondb", "put", lambda run: bench._stop.set(), monkeypatch)

    outcomes = migrate(bench)

    stored = bench.ucondb.runs()
    assert 1 in stored
    assert stored <= {1, 2}
    assert {outcome.run for outcome in outcomes if outcome.archived} == stored
    assert all(isinstance(outcome.error, Interrupted) for outcome in outcomes if outcome.run not in stored)


def test_a_run_without_documents_fails_alone(bench: WorkerContext) -> None:
    located = bench.artdaqdb.locate(RUNS)
    del located[2]

    outcomes = migrate_runs(RUNS, bench, located)

    assert [outcome.archived for outcome in outcomes] == [True, False, True, True]
    assert "artdaqDB does not show it" in str(outcomes[1].error)


def test_a_run_is_not_blamed_for_its_neighbours_memory(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    lacking = {2, 3}

    def short(run: int) -> None:
        if run in lacking:
            lacking.discard(2)
            raise MemoryError

    before(bench, "artdaqdb", "export", short, monkeypatch)

    outcomes = migrate(bench)

    assert [outcome.archived for outcome in outcomes] == [True, True, False, True]
    assert isinstance(outcomes[2].error, RecordTooLarge)


def test_a_run_that_lacked_memory_beside_another_is_stored_alone(
    bench: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    tries: list[int] = []

    def short(run: int) -> None:
        tries.append(run)
        if run == 3 or tries == [1, 2]:
            raise MemoryError

    before(bench, "ucondb", "put", short, monkeypatch)

    outcomes = migrate(bench)

    assert tries == [1, 2, 2, 3, 3, 4]
    assert [outcome.archived for outcome in outcomes] == [True, True, False, True]
    assert isinstance(outcomes[2].error, RecordTooLarge)


def test_without_a_further_thread_runs_are_stored_one_by_one(
    bench: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    monkeypatch.setattr(threading.Thread, "start", refused)

    outcomes = migrate(bench)

    assert [outcome.archived for outcome in outcomes] == [True] * len(RUNS)
