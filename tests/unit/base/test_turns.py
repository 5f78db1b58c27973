"""Slots: never more held at once than there are, and none is lost with a process that dies."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rra_state.base.concurrency import Slots
from rra_state.base.errors import WorkDirError
from tests.waiting import scaled

_processes = multiprocessing.get_context("spawn")


def hold(directory: Path, number: int) -> None:
    """Take turns for ever, a file per turn in hand saying so."""
    slots = Slots(directory / "state", "ucondb", number)
    while not (directory / "stop").exists():
        with slots.held():
            mine = directory / "held" / f"{os.getpid()}"
            mine.touch()
            time.sleep(0.005)
            mine.unlink()


def test_more_processes_than_turns_never_hold_more_than_there_are(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    workers = [_processes.Process(target=hold, args=(tmp_path, 2)) for _ in range(4)]
    for worker in workers:
        worker.start()

    seen: set[str] = set()
    counts: list[int] = []
    while len(seen) < 4 or len(counts) < 200:
        held = {each.name for each in (tmp_path / "held").iterdir()}
        seen |= held
        counts.append(len(held))
        time.sleep(0.002)
    (tmp_path / "stop").touch()
    for worker in workers:
        worker.join()

    assert max(counts) == 2


def test_threads_of_one_process_take_turns_too(tmp_path: Path) -> None:
    slots, at_once, most = Slots(tmp_path, "x", 3), 0, 0
    guard, all_taken = threading.Lock(), threading.Barrier(3, timeout=scaled(10))

    def work(_: int) -> None:
        nonlocal at_once, most
        with slots.held():
            with guard:
                at_once += 1
                most = max(most, at_once)
            all_taken.wait()
            with guard:
                at_once -= 1

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(work, range(60)))

    assert most == 3


def test_a_killed_process_gives_its_turn_back(tmp_path: Path) -> None:
    (tmp_path / "held").mkdir()
    worker = _processes.Process(target=hold, args=(tmp_path, 1))
    worker.start()
    while not any((tmp_path / "held").iterdir()):
        time.sleep(0.001)
    os.kill(worker.pid, signal.SIGKILL)
    worker.join()

    with Slots(tmp_path / "state", "ucondb", 1).held():
        pass


def test_a_fault_inside_gives_the_turn_back(tmp_path: Path) -> None:
    slots = Slots(tmp_path, "x", 1)

    with pytest.raises(ZeroDivisionError), slots.held():
        raise ZeroDivisionError
    with slots.held():
        pass


def test_a_place_where_nothing_can_be_locked_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(WorkDirError, match="cannot be locked"), Slots(tmp_path / "file", "x", 1).held():
        pass
