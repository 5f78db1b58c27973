"""Each step that changes something outside this process, told right before it is taken (and an answer, once it came).

Nobody listens: `announce` does nothing. Tests put a listener in its place, which ends the process at a step of its
choice or notes what was done. There is no switch for it in the product.
"""

from __future__ import annotations


def announce(step: str, *details: object) -> None:
    """`step` with `details` is about to be taken: `create path`, `write path bytes`, `rename from to`, ..."""
