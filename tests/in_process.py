"""The whole command line in this process: `main` as it is, with Snakemake and the worker processes played here.

A cycle takes some ten milliseconds. What plays their part is in reliability/archiver.py.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from rra_state.cli import main
from rra_state.cycle import cycle
from rra_state.execution import verification
from rra_state.workers.worker import WorkerContext
from tests.reliability.archiver import Report, SameProcess, process
from tests.reliability.faults import Course, Fault


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit status, what it printed, and what it logged. killed: it did not end by itself."""

    status: int
    output: str
    log: str
    killed: bool = False


class _Pool:
    """A worker pool that does at once what it is handed."""

    size = 1

    def __init__(self, settings: Any, *, most: int | None = None) -> None:
        self._context = WorkerContext(settings)

    def submit(self, function: Any, *arguments: Any, **options: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(arguments[0], self._context, *arguments[1:], **options))
        return future

    def close(self) -> None:
        pass


def command(config: Path, *options: str, fault: Fault | None = None) -> Ended:
    """Run the command line with these options. fault: what happens to it meanwhile."""
    course, printed, logged = Course(fault), io.StringIO(), io.StringIO()
    with (
        mock.patch.object(cycle, "_WindowRunner", partial(SameProcess, Report(), course)),
        mock.patch.object(verification, "ProcessPool", _Pool),
        _logging_to(logged),
        contextlib.redirect_stdout(printed),
        contextlib.redirect_stderr(logged),
        process(cycle, course),
    ):
        status = main.main([str(config), *options])
        return Ended(status, printed.getvalue(), logged.getvalue())
    return Ended(-9, printed.getvalue(), logged.getvalue(), killed=True)


@contextlib.contextmanager
def _logging_to(stream: io.StringIO) -> Iterator[None]:
    """`log.setup` leaves a logger that has handlers alone."""
    handler, logger = logging.StreamHandler(stream), logging.getLogger("rra")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
