"""The whole command line in this process: `main` as it is, with Snakemake and the worker processes played here.

A cycle takes some twenty milliseconds. What plays their part is in reliability/archiver.py.
"""

from __future__ import annotations

import contextlib
import io
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from unittest import mock

import pytest

from rra_state.cli import main
from rra_state.cycle import cycle
from rra_state.execution import pool
from tests.paths import REPOSITORY
from tests.reliability.archiver import InProcessPool, Report, SameProcess, process
from tests.reliability.faults import Course, Fault
from tests.site import Site, environment


@dataclass(frozen=True)
class Ended:
    """What a command left: its exit status, what it printed, and what it logged. killed: it did not end by itself."""

    status: int
    output: str
    log: str
    killed: bool = False


class InProcessSite(Site):
    """A site whose `archive_runs` starts no process. All its other methods are as ever."""

    def archive_runs(self, *options: str, status: int | None = 0) -> subprocess.CompletedProcess[str]:
        ended = command(self.config, *options)
        done = subprocess.CompletedProcess(self.command(*options), ended.status, ended.output, ended.log)
        assert status is None or done.returncode == status, f"{done.returncode}\n{done.stdout}\n{done.stderr}"
        return done


def chosen(request: pytest.FixtureRequest) -> type[Site]:
    """The kind of site that a test asks for."""
    return InProcessSite if request.node.get_closest_marker("in_process") else Site


def command(config: Path | str, *options: str, fault: Fault | None = None) -> Ended:
    """Run the command line with these options. config: or the name of a subcommand. fault: what happens meanwhile."""
    course = Course(fault)
    printed, logged = io.BytesIO(), io.BytesIO()
    arguments = [str(config), *options]
    status = None
    with (
        mock.patch.object(cycle, "_WindowRunner", partial(SameProcess, Report(), course)),
        mock.patch.object(pool, "ProcessPool", InProcessPool),
        _new_process(arguments, printed, logged),
        process(cycle, course),
    ):
        status = _main()
    killed = status is None
    return Ended(-9 if status is None else status, _text(printed), _text(logged), killed=killed)


def _main() -> int:
    """What `python -m rra_state` does."""
    try:
        return main.main()
    except SystemExit as error:  # argparse: --help, or an option that there is not
        return int(error.code or 0)


@contextlib.contextmanager
def _new_process(arguments: list[str], printed: io.BytesIO, logged: io.BytesIO) -> Iterator[None]:
    """Let a command begin as in a process of its own, and leave nothing to the next one."""
    out = io.TextIOWrapper(printed, "utf-8", write_through=True)
    err = io.TextIOWrapper(logged, "utf-8", "backslashreplace", write_through=True)
    logger, handlers = logging.getLogger("rra"), list[logging.Handler]()
    level, signals = logger.level, {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    with (
        mock.patch.object(sys, "argv", ["rra_state", *arguments]),
        mock.patch.dict(os.environ, environment(), clear=True),
        mock.patch.object(logger, "handlers", handlers),
        mock.patch.object(logger, "propagate", True),
        contextlib.chdir(REPOSITORY),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            yield
        finally:
            for handler in handlers:
                handler.close()
            logger.setLevel(level)
            for number, before in signals.items():
                signal.signal(number, before)
            for stream in (out, err):
                stream.detach()


def _text(stream: io.BytesIO) -> str:
    return stream.getvalue().decode().replace("\r\n", "\n")
