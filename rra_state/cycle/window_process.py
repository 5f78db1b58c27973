"""The Snakemake process of one window: start it, and keep the last lines that it prints.

It is isolated (`python -I`): what it imports depends neither on the caller's directory nor on the environment.
"""

from __future__ import annotations

import logging
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.wording import shortened

log = logging.getLogger("rra")

_CLASS_PATH = re.compile(r"\brra_state(\.\w+)+: ")

_USUAL = (
    "Using workflow specific profile ",
    "Building DAG of jobs",
    "Using shell: ",
    "Complete log(s): ",
    "Elapsed time: ",
)
"""Beginnings of lines that Snakemake prints in every window."""

LONGEST_REASON = 400
"""Most characters that are shown of a line that Snakemake printed."""


def start(
    arguments: Sequence[str], directory: Path, environ: Mapping[str, str], keep: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start Snakemake in a process group of its own: a Ctrl-C on the terminal does not reach it. Raises OSError.

    keep: descriptors that it inherits.
    """
    return subprocess.Popen(
        [sys.executable, "-I", "-m", "snakemake", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=dict(environ),
        cwd=directory,
        pass_fds=keep,
        process_group=0,
    )


class Tail:
    """The last lines of a process, shown if it ends unexpectedly."""

    def __init__(self, process: subprocess.Popen[bytes], *, echo: bool) -> None:
        self._lines: deque[str] = deque(maxlen=400)
        self._echo = echo
        self._thread = threading.Thread(target=self._read, args=(process,), daemon=True)
        self._thread.start()

    def text(self) -> str:
        """The last lines."""
        self._thread.join(timeout=5)
        return "\n".join(self._lines)

    def reason(self) -> tuple[str, str]:
        """The last line that names a limit of the host, else the last line that is not empty; and a remedy."""
        # Snakemake's own logger shows some exceptions with everything in one line.
        text = _CLASS_PATH.sub("", self.text().replace("\\n", "\n"))
        lines = [shortened(line.strip(), LONGEST_REASON) for line in reversed(text.splitlines()) if line.strip()]
        limited = ((line, remedy) for line in lines if (remedy := host_limits.remedy(line)))
        return next(limited, (lines[0] if lines else "it printed nothing", "-v shows all that it printed"))

    def _read(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdout is not None  # noqa: S101 - stdout=PIPE
        with process.stdout as lines:
            for line in lines:
                text = line.decode("utf-8", "replace").rstrip()
                self._lines.append(text)
                if self._echo and text and not text.startswith(_USUAL):
                    log.debug("snakemake: %s", text)
