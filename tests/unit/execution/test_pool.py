"""What is said where worker processes do not start."""

from __future__ import annotations

import pytest

from rra_state.base.errors import HostLimit, WorkersUnusable
from rra_state.execution import pool


@pytest.mark.parametrize(
    ("error", "kind", "words"),
    [
        (TimeoutError(), WorkersUnusable, r"did not start within 60 s \(is the host overloaded\? .*ulimit -u and -v"),
        (OSError("AF_UNIX path too long"), WorkersUnusable, "cannot be started: AF_UNIX path too long .*TMPDIR"),
        (MemoryError(), HostLimit, "no memory is left .*ulimit -v"),
    ],
    ids=["too slow", "long path", "no memory"],
)
def test_why_workers_do_not_start_is_said(error: Exception, kind: type[Exception], words: str) -> None:
    with pytest.raises(kind, match=words), pool._starting():
        raise error
