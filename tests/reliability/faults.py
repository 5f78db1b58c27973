"""Faults a cycle can meet at its n-th step: a store that does not answer, Ctrl-C, a dead worker, `kill -9`."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from unittest import mock

from pymongo.client_session import ClientSession
from pymongo.collection import Collection

from rra_state.base import files
from rra_state.base.errors import StoreUnavailable

Kind = Literal["artdaqdb", "ucondb", "interrupt", "worker", "kill"]

_CALLS = {"artdaqdb": ("locate", "stage", "publish", "export"), "ucondb": ("put",)}
"""Methods of the stores that a cycle uses."""
_STEPS = (
    *((files, name) for name in ("_write", "_sync_file_system", "sync_directory", "rewrite")),
    (os, "replace"),
    *((Path, name) for name in ("unlink", "mkdir")),
    *((Collection, name) for name in ("insert_one", "insert_many", "bulk_write", "delete_many")),
    (ClientSession, "commit_transaction"),
)
"""Everything that is done to the disk, one system call or so each, and to a MongoDB, one command each."""


class Killed(BaseException):
    """The process is gone: nothing catches this, and nothing is done any more."""


@dataclass(frozen=True)
class Fault:
    """What goes wrong.

    at: at which call of a store, run, chunk, or step on the disk, counted from 0. length: how many calls in a row fail.
    too_late: the store did what it was asked, and only its answer is lost.
    """

    kind: Kind
    at: int
    length: int = 1
    too_late: bool = False


class Course:
    """Counts the steps of one cycle and lets its fault come true."""

    def __init__(self, fault: Fault | None) -> None:
        self.fault = fault
        self.dead = False
        self.happened = False
        self._seen = 0

    def due(self, kind: Kind) -> bool:
        """One more step of this kind: whether the fault strikes here."""
        fault = self.fault
        if fault is None or fault.kind != kind:
            return False
        self._seen += 1
        strikes = fault.at < self._seen <= fault.at + fault.length
        self.happened = self.happened or strikes
        return strikes

    def step(self) -> None:
        """One more step that a kill can come before; a dead process takes none."""
        if self.dead or self.due("kill"):
            self.dead = True
            raise Killed

    @contextmanager
    def in_effect(self) -> Iterator[None]:
        """Let every change on the disk be a step."""
        with ExitStack() as stack:
            if self.fault is not None and self.fault.kind == "kill":
                for owner, name in _STEPS:
                    stack.enter_context(mock.patch.object(owner, name, self._stepping(getattr(owner, name))))
            yield

    def _stepping(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def stepping(*arguments: Any, **options: Any) -> Any:
            self.step()
            return function(*arguments, **options)

        return stepping


class Unreliable:
    """A real store that may fail to answer."""

    def __init__(self, store: Any, kind: Literal["artdaqdb", "ucondb"], course: Course) -> None:
        self._store = store
        self._kind: Literal["artdaqdb", "ucondb"] = kind
        self._course = course

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._store, name)
        return self._failing(value) if name in _CALLS[self._kind] else value

    def _failing(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def failing(*arguments: Any, **options: Any) -> Any:
            if self._kind == "ucondb":
                self._course.step()
            if not self._course.due(self._kind):
                return method(*arguments, **options)
            if self._course.fault is not None and self._course.fault.too_late:
                method(*arguments, **options)
            raise StoreUnavailable(f"{self._kind} does not answer")

        return failing


class Signal:
    """The stop flag of the workers; a Ctrl-C comes when it was looked at so and so many times."""

    def __init__(self, course: Course, on_interrupt: Callable[[], None]) -> None:
        self._course = course
        self._on_interrupt = on_interrupt
        self._set = False

    def set(self) -> None:
        self._set = True

    def is_set(self) -> bool:
        """Workers look before each run."""
        if self._course.due("interrupt"):
            self._on_interrupt()
            self._set = True
        return self._set

    def wait(self, timeout: float | None = None) -> bool:
        """Between two tries nobody waits here."""
        return self._set
