"""Limits of the host are recognised, whichever way Python or a library says them, and come with their remedy."""

from __future__ import annotations

import errno
import os

import pytest

from rra_state.base import host_limits
from rra_state.base.errors import HostLimit


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (OSError(errno.EMFILE, os.strerror(errno.EMFILE), "/records/7"), "ulimit -n"),
        (OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)), "MemoryMax="),
        (MemoryError(), "MemoryMax="),
        (RuntimeError("can't start new thread"), "TasksMax="),
        (BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)), "TasksMax="),
        (ImportError("x.so: failed to map segment from shared object"), "MemoryMax="),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/work"), "df -i"),
        (OSError(errno.EROFS, os.strerror(errno.EROFS), "/work"), "remount"),
    ],
)
def test_a_limit_is_named_with_its_remedy(error: Exception, words: str) -> None:
    refused = host_limits.refusal(error)

    assert isinstance(refused, HostLimit)
    assert words in (refused.hint or "")
    assert refused.path == getattr(error, "filename", None)
    assert refused.stops_cycle


def test_a_limit_is_found_behind_the_error_that_it_caused() -> None:
    error = ConnectionError("no connection")
    error.__cause__ = OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    refused = host_limits.refusal(error)

    assert refused is not None
    assert "too many open files" in refused.message


def test_other_errors_are_none_of_the_hosts() -> None:
    assert host_limits.refusal(ValueError("12")) is None
    assert host_limits.refusal(PermissionError(errno.EACCES, os.strerror(errno.EACCES), "/work")) is None
    assert host_limits.remedy("AttributeError: 'NoneType' object has no attribute 'run'") is None
