"""What one record may cost: too much memory or time fails it, and never its neighbours."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rra_state.base import host_limits
from rra_state.base.errors import ArchiverError, RecordTooLarge, RecordTooSlow
from rra_state.config import loading
from rra_state.stores.artdaqdb.base import Staged
from rra_state.workers import import_stage
from rra_state.workers.import_stage import import_runs
from rra_state.workers.worker import WorkerContext
from scripts.make_run_records import make_records
from tests.waiting import scaled


def test_a_lack_of_memory_fails_the_run_with_remedy() -> None:
    def hungry() -> None:
        raise MemoryError

    with pytest.raises(RecordTooLarge, match=r"run 7: .*more memory than a worker may take .*worker_memory_bytes"):
        host_limits.within_memory(7, hungry)


def test_a_process_has_no_more_memory_than_it_was_given() -> None:
    code = "from rra_state.base import host_limits; host_limits.bound_memory(512 * 2**20); bytearray(600 * 2**20)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)

    assert done.stderr.splitlines()[-1] == "MemoryError"


def test_what_takes_too_long_is_interrupted() -> None:
    with pytest.raises(RecordTooSlow, match=r"run 7: took more than 0\.05 s"), host_limits.within_seconds(7, 0.05):
        time.sleep(10)


def test_an_alarm_of_somebody_else_stays_set() -> None:
    began = time.monotonic()
    before, _ = signal.getitimer(signal.ITIMER_REAL)  # pytest's own timeout

    with host_limits.within_seconds(7, 5):
        pass

    after, _ = signal.getitimer(signal.ITIMER_REAL)
    passed = time.monotonic() - began
    assert before - passed - 1 < after <= before


def test_in_another_thread_nothing_is_interrupted() -> None:
    done: list[bool] = []

    def work() -> None:
        with host_limits.within_seconds(7, 0.01):
            time.sleep(0.1)
        done.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(scaled(10))

    assert done


# ---- a chunk of runs -------------------------------------------------------------------------------------------------


@pytest.fixture
def bench(tmp_path: Path) -> WorkerContext:
    make_records(6, tmp_path / "records", first_run=1)
    file = tmp_path / "config.yaml"
    file.write_text(
        "app: {work_dir: work, retry_delay_seconds: 0}\n"
        "source_files: {run_records_dir: records, quiet_seconds: 0, settle_seconds: 0}\n"
        f"artdaq_db: {{database_uri: 'filesystemdb://{tmp_path}/artdaqdb'}}\n"
        "ucon_db: {server_url: 'http://127.0.0.1:9/x', folder_name: f}\n"
    )
    return WorkerContext(loading.load(file, {}))


def _short_of_memory_once_it_holds(
    bench: WorkerContext, number: int, monkeypatch: pytest.MonkeyPatch
) -> list[list[int]]:
    """Reading fails while so many records wait to be stored; the groups in which they were."""
    stored: list[list[int]] = []
    held: list[int] = []
    real_read, real_stage = import_stage.read, bench.artdaqdb.stage

    def read(run: int, settings: Any) -> Any:
        if len(held) == number:
            raise MemoryError
        held.append(run)
        return real_read(run, settings)

    def stage(records: Any, known: Any) -> Any:
        stored.append([record.run for record in records])
        held.clear()
        return real_stage(records, known)

    monkeypatch.setattr(import_stage, "read", read)
    monkeypatch.setattr(bench.artdaqdb, "stage", stage)
    return stored


def test_a_run_is_not_blamed_for_others_memory(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = _short_of_memory_once_it_holds(bench, 4, monkeypatch)

    outcomes = import_runs([1, 2, 3, 4, 5, 6], bench, {})

    assert all(outcome.archived for outcome in outcomes)
    assert stored == [[1, 2, 3, 4], [5, 6]]


def test_a_run_that_is_too_large_by_itself_fails_alone(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    real = import_stage.read

    def read(run: int, settings: Any) -> Any:
        if run == 3:
            raise MemoryError
        return real(run, settings)

    monkeypatch.setattr(import_stage, "read", read)

    outcomes = import_runs([1, 2, 3, 4, 5, 6], bench, {})

    assert [outcome.run for outcome in outcomes if not outcome.archived] == [3]
    assert isinstance(outcomes[2].error, RecordTooLarge)


def test_runs_too_large_together_are_stored_singly(bench: WorkerContext, monkeypatch: pytest.MonkeyPatch) -> None:
    real = bench.artdaqdb.stage

    def stage(records: Any, known: Any) -> list[Staged | ArchiverError]:
        if len(records) > 1 or records[0].run == 2:
            raise MemoryError
        return real(records, known)

    monkeypatch.setattr(bench.artdaqdb, "stage", stage)

    outcomes = import_runs([1, 2, 3], bench, {})

    assert [outcome.archived for outcome in outcomes] == [True, False, True]
    assert isinstance(outcomes[1].error, RecordTooLarge)


def test_no_more_records_are_held_than_have_so_many_bytes(
    bench: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored = _short_of_memory_once_it_holds(bench, 99, monkeypatch)
    monkeypatch.setattr(import_stage, "HELD_BYTES", 1)

    import_runs([1, 2, 3], bench, {})

    assert [group for group in stored if group] == [[1], [2], [3]]
