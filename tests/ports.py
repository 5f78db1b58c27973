"""Ports of the loopback interface that stay a test's own while its server is started, stopped and started again."""

from __future__ import annotations

import os
import socket
import weakref
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved() -> Iterator[int]:
    """A port on which nothing listens and that the kernel gives to no other program until the block ends.

    A server that sets SO_REUSEADDR, as all do, can listen on it. Until one does, connections are refused.
    """
    with _bound() as held:
        yield held.getsockname()[1]


def kept_for(owner: object) -> int:
    """The same for as long as `owner` lives."""
    held = _bound()
    port: int = held.getsockname()[1]
    weakref.finalize(owner, os.close, held.detach())
    return port


def _bound() -> socket.socket:
    held = socket.socket()
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.bind(("127.0.0.1", 0))
    return held
