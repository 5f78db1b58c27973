"""Retries: call something again after an error that may pass. The caller says how often, and how long to wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar, cast

import tenacity

from rra_state.base.errors import ArchiverError

T = TypeVar("T")


def is_transient(error: BaseException) -> bool:
    """True if another try may help. A bad record stays bad; a lost connection may come back."""
    return isinstance(error, ArchiverError) and error.transient


def with_retries(
    action: Callable[[], T], *, retries: int, delay: float, sleep: Callable[[float], object]
) -> tuple[T, int]:
    """Call `action`, and again while its error may pass; return its result and the number of calls.

    retries: most further calls. delay: seconds to wait before each, passed to `sleep`. Raises what the last call
    raised, with the number of calls as its attribute `tries`.
    """
    policy = tenacity.Retrying(
        stop=tenacity.stop_after_attempt(retries + 1),
        wait=tenacity.wait_fixed(delay),
        retry=tenacity.retry_if_exception(is_transient),
        sleep=cast("Callable[[float], None]", sleep),
        reraise=True,
    )
    try:
        result = policy(action)
    except ArchiverError as error:
        error.tries = policy.statistics.get("attempt_number", 1)
        raise
    return result, policy.statistics.get("attempt_number", 1)
