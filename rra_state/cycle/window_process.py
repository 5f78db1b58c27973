"""The process that does a window: how the command line starts it, and what it does before Snakemake.

It begins as a copy of the command line, which has loaded all that it needs of the archiver: 0.3 s of a core less than
a Python of its own. Where threads run (a progress bar on a terminal) no copy can be made; then it is one.
"""

from __future__ import annotations

import atexit
import importlib
import logging
import os
import pkgutil
import signal
import subprocess
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import IO, Any, Protocol

from rra_state.base import bounds, lock
from rra_state.base.errors import ArchiverError
from rra_state.config import loading
from rra_state.execution import events, pool

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


@dataclass(frozen=True, slots=True)
class Errand:
    """What the process has to do. arguments: of Snakemake. runs: how many. keep: descriptors that it is handed."""

    config: Path
    runs: int
    arguments: Sequence[str]
    directory: Path
    environ: dict[str, str]
    keep: Sequence[int]


class Process(Protocol):
    """What `subprocess.Popen` offers of a process, as far as a cycle needs it."""

    pid: int

    @property
    def stdout(self) -> IO[bytes] | None:
        """All that it prints."""

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it lives."""

    def wait(self) -> int:
        """The same, once it has ended."""

    def terminate(self) -> None:
        """Send it SIGTERM."""


def start(errand: Errand, close: Sequence[int]) -> Process:
    """Start the process, in a process group of its own. close: descriptors of this process that it must not have."""
    if threading.active_count() == 1:
        return _Copy(errand, close)
    command = [
        sys.executable,
        "-m",
        "rra_state.cycle.window_process",
        str(errand.config),
        str(errand.runs),
        *errand.arguments,
    ]
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=errand.environ,
        cwd=errand.directory,
        pass_fds=errand.keep,
        process_group=0,
    )


class _Copy:
    """A copy of this process that goes on with the errand and never comes back here."""

    def __init__(self, errand: Errand, close: Sequence[int]) -> None:
        for stream in (sys.stdout, sys.stderr):
            stream.flush()  # or both would print what is left
        reader, writer = os.pipe()
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # handlers of this process must not run in the copy
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _go_on(errand, writer, (reader, *close))
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        os.close(writer)
        self.stdout: IO[bytes] = os.fdopen(reader, "rb")
        self._status: int | None = None

    def poll(self) -> int | None:
        """See Process."""
        return self._status if self._status is not None else self._waited(os.WNOHANG)

    def wait(self) -> int:
        """See Process."""
        status = self.poll()
        return self._waited(0) or 0 if status is None else status

    def terminate(self) -> None:
        """See Process."""
        if self.poll() is None:
            os.kill(self.pid, signal.SIGTERM)

    def _waited(self, options: int) -> int | None:
        try:
            pid, status = os.waitpid(self.pid, options)
        except ChildProcessError:
            return self._status  # a signal handler asked while we waited, and got the answer
        if pid:
            self._status = os.waitstatus_to_exitcode(status)
        return self._status


def _go_on(errand: Errand, output: int, close: Sequence[int]) -> None:
    """What a fresh process would have: its own streams, directory, environment and signals; then the errand."""
    status = 1
    try:
        os.setpgid(0, 0)
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_DFL if number == signal.SIGTERM else signal.default_int_handler)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, _SIGNALS)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        for descriptor in (*close, output):
            os.close(descriptor)
        logging.getLogger("rra").handlers.clear()
        os.chdir(errand.directory)
        os.environ.clear()
        os.environ.update(errand.environ)
        status = main([str(errand.config), str(errand.runs), *errand.arguments])
    except BaseException:
        traceback.print_exc()
    finally:
        atexit._run_exitfuncs()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)


def main(arguments: Sequence[str]) -> int:
    """Start the workers while there is no thread and little memory to copy, then let Snakemake do the window.

    arguments: the configuration, the number of runs, and what Snakemake is to be called with.
    """
    from rra_state.stages import import_stage, migrate_stage  # noqa: F401, PLC0415 - the workers find them loaded

    path, runs, *rest = arguments
    bounds.collect_rarely()
    mine = [int(os.environ[name]) for name in (lock.VARIABLE, events.VARIABLE) if name in os.environ]
    try:
        pool.prepare(loading.load(path), int(runs), not_theirs=mine)
    except ArchiverError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the command line reads it
        return 1
    sys.argv[1:] = rest  # what the Snakefile looks at
    try:
        with _modules_listed_once():
            _snakemake().main(rest)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    finally:
        pool.end_prepared()
    return 0


@contextmanager
def _modules_listed_once() -> Iterator[None]:
    """Snakemake lists all modules that can be loaded for each of its kinds of plugins: here once for all."""
    listed = pkgutil.iter_modules
    everything = [*listed()]
    pkgutil.iter_modules = lambda *given, **named: listed(*given, **named) if given or named else iter(everything)
    try:
        yield
    finally:
        pkgutil.iter_modules = listed


def _snakemake() -> ModuleType:
    """Snakemake's command line, without what no window uses and half of the time to load it would go into.

    Its report plugin, notebooks, and its notes on jobs in a database (with `drop-metadata` there are none); and numpy,
    of which YTE looks for numbers in a profile.
    """
    sys.modules["snakemake.report"] = None  # type: ignore[assignment]
    sys.modules.setdefault("nbformat", ModuleType("nbformat"))
    if "numpy" not in sys.modules:
        sys.modules["numpy"] = None  # type: ignore[assignment]
        importlib.import_module("yte")
        del sys.modules["numpy"]  # others ask whether it is there
    before = set(sys.modules)
    try:
        with _standing_in(_without_database()):
            return importlib.import_module("snakemake.cli")
    except (ImportError, AttributeError, TypeError):
        # A Snakemake that takes more from them gets them.
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == "snakemake":
                del sys.modules[name]
        return importlib.import_module("snakemake.cli")


def _without_database() -> Iterator[ModuleType]:
    """What `snakemake.persistence` takes from SQLAlchemy and SQLModel to describe a note, without the two.

    A note is a pydantic model either way, and kept in a file.
    """
    import pydantic  # noqa: PLC0415 - loaded anyway, by the configuration

    def field(*, sa_column: object, **options: Any) -> Any:  # noqa: ARG001 - of a table, which there is not
        return pydantic.Field(**options)

    yield _module("sqlalchemy", Column=lambda *_: None, JSON=None)
    yield _module("sqlmodel", SQLModel=pydantic.BaseModel, Field=field)
    yield _module("snakemake.persistence.db", DbPersistence=None)


@contextmanager
def _standing_in(modules: Iterable[ModuleType]) -> Iterator[None]:
    """Put these modules in the place of others that are not loaded, as long as something is being imported."""
    mine = {module.__name__: module for module in modules if module.__name__ not in sys.modules}
    sys.modules.update(mine)
    try:
        yield
    finally:
        for name in mine:
            del sys.modules[name]


def _module(name: str, **contents: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(contents)
    return module


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
