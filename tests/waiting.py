"""Waiting for something to be so, instead of for some time."""

from __future__ import annotations

import time
from collections.abc import Callable


def wait_until(
    condition: Callable[[], object], seconds: float = 60, what: str = "it did not happen", every: float = 0.02
) -> None:
    """Look every few milliseconds until it is so. Raises AssertionError with `what` if it is not so in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what} (within {seconds:.0f} s)"
        time.sleep(every)
