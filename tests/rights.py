"""What only root may do. A test that needs it is skipped only where nobody could give it the right."""

from __future__ import annotations

import os
import subprocess

import pytest

from tests.programs import needed
from tests.skips import ALLOWED

_REFUSALS = ("operation not permitted", "permission denied", "must be superuser")


def as_root(purpose: str) -> None:
    """Skip the test if this is not root."""
    if os.geteuid() != 0:
        pytest.skip(f"{ALLOWED}only root {purpose}")


def privileged(*command: object) -> str:
    """What a command of root's printed. Skips the test if the kernel refuses it, as in a container without the right.

    Raises RuntimeError for every other failure: it is one of the test, or of what it tests.
    """
    words = [str(word) for word in command]
    as_root(f"calls {words[0]}")
    needed(words[0])
    done = subprocess.run(words, capture_output=True, check=False, text=True, stdin=subprocess.DEVNULL)
    if done.returncode and any(refusal in done.stderr.lower() for refusal in _REFUSALS):
        pytest.skip(f"{ALLOWED}the kernel refuses even root: {' '.join(words)}: {done.stderr.strip()}")
    if done.returncode:
        raise RuntimeError(f"{' '.join(words)}: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout.strip()
