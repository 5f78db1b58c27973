"""Retries: call something again after an error that may pass. The caller says how often, and how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from rra_state.base.errors import ArchiverError

T = TypeVar("T")


def with_retries(
    action: Callable[[], T], *, retries: int, delay: float, sleep: Callable[[float], object]
) -> tuple[T, int]:
    """Call `action`, and again after a transient error; return its result and the number of calls.

    retries: most further calls. delay: seconds to wait before each, passed to `sleep`. Raises what the last call
    raised, with the number of calls as its attribute `tries`.
    """
    tries = 1
    while True:
        try:
            return action(), tries
        except ArchiverError as error:
            error.tries = tries
            if not error.transient or tries > retries:
                raise
        sleep(delay)
        tries += 1
