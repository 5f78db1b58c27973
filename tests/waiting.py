"""Waiting for a condition instead of for some time, with deadlines that scale with the speed of the machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from functools import cache

USUAL_SECONDS = 0.15
"""What a unit of work takes on a quiet machine of two cores: the start of a Python that loads some of its library."""


@cache
def slowness() -> float:
    """How many times slower than a quiet machine this one is, at least 1. Measured once, when it is first asked."""
    units = []
    for _ in range(3):
        began = time.monotonic()
        subprocess.run([sys.executable, "-I", "-c", "import asyncio, json, urllib.request"], check=True)
        units.append(time.monotonic() - began)
    return max(1.0, sorted(units)[1] / USUAL_SECONDS)


def scaled(seconds: float) -> float:
    """The longest wait for what takes less than `seconds` on a quiet machine.

    Five times longer at least: other tests come and go while this one runs.
    """
    return 5 * seconds * slowness()


def wait_until(
    condition: Callable[[], object], seconds: float = 60, what: str = "it did not happen", every: float = 0.02
) -> None:
    """Look every few milliseconds until it is so.

    Raises AssertionError with `what` if it is not so within scaled(seconds).
    """
    longest = scaled(seconds)
    deadline = time.monotonic() + longest
    while not condition():
        assert time.monotonic() < deadline, f"{what} (within {longest:.0f} s)"
        time.sleep(every)
