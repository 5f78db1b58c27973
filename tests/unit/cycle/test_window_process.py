"""How the Snakemake process of a window is started: isolated, with streams and a process group of its own."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from rra_state.cycle import window_process
from rra_state.cycle.window_process import Tail
from tests.waiting import wait_until

SNAKEFILE = """
import os, sys
alone = os.getpgid(0) == os.getpid()
print("isolated", sys.flags.isolated, "group", alone, "given", os.environ.get("GIVEN"), flush=True)
print("here", os.getcwd(), "input", repr(sys.stdin.read()), flush=True)
os.write({writer}, b"event")
{last}
"""


@pytest.fixture
def pipe() -> tuple[int, int]:
    return os.pipe()


def _started(directory: Path, pipe: tuple[int, int], last: str) -> subprocess.Popen[bytes]:
    (directory / "Snakefile").write_text(SNAKEFILE.format(writer=pipe[1], last=last))
    environ = {"PATH": os.environ["PATH"], "HOME": str(directory), "GIVEN": "yes"}
    environ["XDG_CACHE_HOME"] = str(directory)
    return window_process.start(["--cores", "1"], directory, environ, (pipe[1],))


def _told(pipe: tuple[int, int]) -> bytes:
    """All that was sent; ends only if no process but this one has the writer."""
    os.close(pipe[1])
    with os.fdopen(pipe[0], "rb") as events:
        return events.read()


def test_snakemake_is_isolated_and_has_its_own_streams(tmp_path: Path, pipe: tuple[int, int]) -> None:
    process = _started(tmp_path, pipe, "rule all:\n    input: []")
    tail = Tail(process, echo=False)

    assert (_told(pipe), process.wait()) == (b"event", 0), tail.text()
    assert "isolated 1 group True given yes" in tail.text()
    assert f"here {tmp_path} input ''" in tail.text()


def test_exit_status_and_last_line_are_snakemakes(tmp_path: Path, pipe: tuple[int, int]) -> None:
    process = _started(tmp_path, pipe, "print('no luck', file=sys.stderr); sys.exit(7)")
    tail = Tail(process, echo=False)

    assert (_told(pipe), process.wait()) == (b"event", 7), tail.text()
    assert tail.reason() == ("no luck", "-v shows all that it printed")


def test_the_reason_of_a_failure_shows_no_class_path(tmp_path: Path, pipe: tuple[int, int]) -> None:
    failing = "raise SystemExit('rra_state.base.errors.WorkersUnusable: no worker can be had')"
    process = _started(tmp_path, pipe, failing)
    tail = Tail(process, echo=False)

    assert (_told(pipe), process.wait()) == (b"event", 1), tail.text()
    assert tail.reason()[0] == "no worker can be had"


def test_verbose_messages_are_not_those_of_every_window(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG", "rra")
    usual = "Building DAG of jobs...\n\nElapsed time: 0:00:02\n"
    process = subprocess.Popen(["printf", "%s", f"{usual}Error in rule import_run\n"], stdout=subprocess.PIPE)

    tail = Tail(process, echo=True)

    assert tail.text().startswith(usual)
    assert caplog.messages == ["snakemake: Error in rule import_run"]
    process.wait()


def test_sigterm_ends_a_process_that_has_not_begun(tmp_path: Path, pipe: tuple[int, int]) -> None:
    process = _started(tmp_path, pipe, "import signal; signal.pause()")
    wait_until(lambda: Path(f"/proc/{process.pid}/cmdline").read_bytes().startswith(sys.executable.encode()))

    process.terminate()

    assert process.wait() == -signal.SIGTERM
    assert process.stdout is not None
    process.stdout.close()
    assert _told(pipe) in (b"", b"event")
