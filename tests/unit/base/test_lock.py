"""One instance at a time, tried with real processes."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rra_state.base import lock
from rra_state.base.concurrency import Slots
from rra_state.base.errors import LockHeld, WorkDirError
from rra_state.base.lock import VARIABLE, Lock

HOLD = """
import sys
from pathlib import Path
from rra_state.base.lock import Lock
held = Lock(Path(sys.argv[1]), Path(sys.argv[2])).acquire()
print("held", flush=True)
sys.stdin.read()
"""
INHERIT = """
import os, sys
from pathlib import Path
from rra_state.base.lock import Lock
print(Lock(Path(sys.argv[1]), Path(sys.argv[2])).inherit(os.environ))
"""


@pytest.fixture
def places(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "work", tmp_path / "work" / ".archiver.lock"


@contextmanager
def another_process(places: tuple[Path, Path]) -> Iterator[subprocess.Popen[str]]:
    """A process that holds the lock until the block ends."""
    command = [sys.executable, "-c", HOLD, *map(str, places)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        try:
            yield process
        finally:
            process.kill()


def test_a_second_instance_learns_who_holds_the_lock(places: tuple[Path, Path]) -> None:
    with another_process(places) as holder, pytest.raises(LockHeld) as caught:
        Lock(*places).acquire()

    assert f"the archiver is already running: process {holder.pid} holds " in str(caught.value)


def test_removing_the_lock_file_lets_no_second_instance_in(places: tuple[Path, Path]) -> None:
    with another_process(places):
        places[1].unlink()

        with pytest.raises(LockHeld):
            Lock(*places).acquire()


def test_the_lock_file_alone_keeps_another_instance_out(places: tuple[Path, Path], tmp_path: Path) -> None:
    with another_process(places), pytest.raises(LockHeld, match=r"\.archiver\.lock"):
        Lock(tmp_path / "other", places[1]).acquire()


def test_a_refused_instance_leaves_the_holders_id_in_the_file(places: tuple[Path, Path]) -> None:
    with another_process(places) as holder:
        with pytest.raises(LockHeld):
            Lock(*places).acquire()

        assert places[1].read_text() == f"{holder.pid}\n"


def test_a_dead_holder_does_not_block(places: tuple[Path, Path]) -> None:
    with another_process(places) as holder:
        holder.kill()
        holder.wait()

        Lock(*places).acquire().release()

    assert places[1].read_text() == f"{os.getpid()}\n"


def test_a_killed_holders_child_is_waited_for(places: tuple[Path, Path]) -> None:
    with another_process(places) as orphan:
        for path in (places[0] / "markers" / ".lock", places[1]):
            path.write_text(f"{_ended_process()}\n")
        assert orphan.stdin is not None
        orphan.stdin.close()  # it ends a moment from now

        Lock(*places).acquire().release()


def test_a_killed_holders_child_is_not_waited_for_for_ever(
    places: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lock, "ORPHAN_SECONDS", 0.0)
    with another_process(places):
        ended = _ended_process()
        (places[0] / "markers" / ".lock").write_text(f"{ended}\n")

        with pytest.raises(LockHeld, match=f"a child of process {ended}, which was killed, holds "):
            Lock(*places).acquire()


def _ended_process() -> int:
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_a_released_lock_can_be_taken_again(places: tuple[Path, Path]) -> None:
    first = Lock(*places).acquire()

    first.release()
    Lock(*places).acquire().release()

    assert places[1].exists()


@pytest.mark.parametrize("left", [f"{2**62}\n", "\n \n", "\0" * 100], ids=["another id", "blanks", "a power cut"])
def test_what_a_lock_file_may_hold_is_replaced_whole(places: tuple[Path, Path], left: str) -> None:
    places[0].mkdir()
    places[1].write_text(left)

    Lock(*places).acquire().release()

    assert places[1].read_text() == f"{os.getpid()}\n"


def test_a_child_works_under_the_lock_it_was_handed(places: tuple[Path, Path]) -> None:
    held = Lock(*places).acquire()
    try:
        answer = subprocess.run(
            [sys.executable, "-c", INHERIT, *map(str, places)],
            env=os.environ | {VARIABLE: str(held.inheritable)},
            pass_fds=(held.inheritable,),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    finally:
        held.release()

    assert answer.stdout == "True\n"


@pytest.mark.parametrize("value", ["", "nonsense", "-1", "999"])
def test_what_is_no_handed_lock_is_not_adopted(places: tuple[Path, Path], value: str) -> None:
    Lock(*places).acquire().release()

    assert not Lock(*places).inherit({VARIABLE: value})


def test_the_lock_of_another_work_directory_is_not_adopted(places: tuple[Path, Path], tmp_path: Path) -> None:
    other = Lock(tmp_path / "other", tmp_path / "other.lock").acquire()
    Lock(*places).acquire().release()

    try:
        assert not Lock(*places).inherit({VARIABLE: str(other.inheritable)})
    finally:
        other.release()


def test_a_lock_that_cannot_be_written_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("a file where the directory should be")

    with pytest.raises(WorkDirError, match="lock cannot be written") as caught:
        Lock(tmp_path / "work", tmp_path / "l").acquire()

    assert str(tmp_path / "work") in str(caught.value)


@pytest.mark.parametrize(
    ("number", "words"), [(errno.ENOLCK, "the file system gives no locks"), (errno.EROFS, "mounted read only")]
)
def test_case_b11_the_cause_and_its_remedy_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, words: str
) -> None:
    def refused(*_: object) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refused)

    with pytest.raises(WorkDirError) as caught:
        Lock(tmp_path, tmp_path / "x.lock").acquire()
    with pytest.raises(WorkDirError) as of_slots, Slots(tmp_path, "x", 1).held():
        pass

    for said in (str(caught.value), str(of_slots.value)):
        assert words in said
        assert "owner and mode" not in said


def test_a_link_as_lock_file_is_not_followed(places: tuple[Path, Path], tmp_path: Path) -> None:
    places[0].mkdir()
    (tmp_path / "precious").write_text("keep")
    places[1].symlink_to(tmp_path / "precious")

    with pytest.raises(WorkDirError):
        Lock(*places).acquire()

    assert (tmp_path / "precious").read_text() == "keep"


@pytest.mark.parametrize("content", ["debug level: 1\n", "7001\n7002\n", "\n" * 5000 + "a: 1\n", "1" * 5000])
def test_a_file_of_another_purpose_is_left_alone(places: tuple[Path, Path], content: str) -> None:
    places[0].mkdir()
    places[1].write_text(content)

    with pytest.raises(WorkDirError, match=r"is not a lock file: it holds something else \(correct app\.lock_file\)"):
        Lock(*places).acquire()

    assert places[1].read_text() == content
    Lock(places[0], places[1].with_name("right.lock")).acquire().release()  # nothing is held any more
