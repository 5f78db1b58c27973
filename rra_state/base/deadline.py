"""Calls that must not keep a cycle waiting: a name server, a mail server, a metrics host that does not answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping


def within(seconds: float, actions: Mapping[str, Callable[[], None]]) -> dict[str, Exception | None]:
    """Do all actions side by side; for each the exception it ended with, None if it went well.

    One that is not done after `seconds` is left to itself and counts as TimeoutError; it ends with the process.
    """
    results: dict[str, Exception | None] = {}

    def act(name: str) -> None:
        try:
            actions[name]()
            results[name] = None
        except Exception as error:
            results[name] = error

    threads = {name: threading.Thread(target=act, args=(name,), name=f"rra-{name}", daemon=True) for name in actions}
    end = time.monotonic() + seconds
    for thread in threads.values():
        thread.start()
    for thread in threads.values():
        thread.join(max(0.0, end - time.monotonic()))
    late = TimeoutError(f"no answer within {seconds:g} s")
    return {name: results.get(name, late) for name in actions}
