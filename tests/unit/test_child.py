"""How the process of a window comes to be: as a copy of the command line, or by itself where no copy can be made."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable

import pytest

from tests.unit.archive_site import Site

SCRIPT = """
import os, signal, sys, threading
from pathlib import Path
from rra_state import child

if sys.argv[1] == "threads":
    threading.Thread(target=signal.pause, daemon=True).start()
reader, writer = os.pipe()
os.set_inheritable(writer, True)
where, environ = Path(sys.argv[2]), {"PATH": os.environ["PATH"], "HOME": sys.argv[2], "GIVEN": "yes"}
errand = child.Errand(where / "config.yaml", 1, sys.argv[3:], where, environ, (writer,))
print("before", end=" ")
process = child.start(errand, close=(reader,))
os.close(writer)
print(type(process).__name__, flush=True)
sys.stdout.write(process.stdout.read().decode())
print("status", process.wait(), process.poll(), "group", os.getpgid(0) == process.pid, "pipe", os.read(reader, 9))
"""


@pytest.fixture
def started(make_site: Callable[..., Site]) -> Callable[..., str]:
    site = make_site()

    def run(*arguments: str) -> str:
        command = [sys.executable, "-c", SCRIPT, arguments[0], str(site.root), *arguments[1:]]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    return run


@pytest.mark.parametrize(("threads", "kind"), [("none", "_Copy"), ("threads", "Popen")])
def test_snakemake_is_run_with_its_own_streams_and_nothing_is_printed_twice(
    started: Callable[..., str], threads: str, kind: str
) -> None:
    said = started(threads, "--version").splitlines()

    assert said[0] == f"before {kind}"
    assert said[1].startswith("9.")
    assert said[2:] == ["status 0 0 group False pipe b''"]


@pytest.mark.parametrize("threads", ["none", "threads"])
def test_its_exit_status_is_snakemakes(started: Callable[..., str], threads: str) -> None:
    said = started(threads, "--no-such-option").splitlines()

    assert said[-1] == "status 2 2 group False pipe b''"


def _python(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout


def test_snakemake_is_loaded_without_a_database_and_its_notes_are_what_they_were() -> None:
    said = _python(
        "import sys; from rra_state import child; child._snakemake()\n"
        "names = ('sqlalchemy', 'sqlmodel', 'snakemake.persistence.db')\n"
        "print([name for name in sys.modules if name.startswith(names)])\n"
        "from snakemake.persistence import MetadataRecord\n"
        "values = {'rule': 'import_run', 'input': ['a'], 'starttime': 1.5, 'incomplete': True}\n"
        "note = MetadataRecord.model_validate(values)\n"
        "print(MetadataRecord.model_validate(note.model_dump()) == note, note['rule'], note.input_checksums)\n"
        "import sqlmodel; print(sqlmodel.SQLModel.__module__)\n"
    )

    assert said.splitlines() == ["[]", "True import_run {}", "sqlmodel.main"]


def test_a_snakemake_that_needs_more_of_the_database_gets_it() -> None:
    said = _python(
        "import sys; from types import ModuleType; from rra_state import child\n"
        "child._without_database = lambda: iter([ModuleType('sqlmodel')])\n"
        "child._snakemake(); from snakemake.persistence import MetadataRecord; import sqlmodel\n"
        "print(issubclass(MetadataRecord, sqlmodel.SQLModel))\n"
    )

    assert said == "True\n"
