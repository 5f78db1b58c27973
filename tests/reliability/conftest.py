"""How hard the model-based test tries: HYPOTHESIS_PROFILE is `default` or, in `make test-long`, `long`.

The default profile takes the same examples every time, so that the gate is stable; the long one looks for new ones.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings

from tests.servers import temporary_directory

_COMMON = settings(
    deadline=None,
    print_blob=True,
    report_multiple_bugs=False,
    stateful_step_count=30,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
)

settings.register_profile("rra-default", _COMMON, max_examples=100, derandomize=True, database=None)
settings.register_profile("rra-unshrunk", settings.get_profile("rra-default"), phases=[Phase.generate])
settings.register_profile("rra-long", _COMMON, max_examples=5000)


def reliability_settings() -> settings:
    """The profile of this run."""
    return settings.get_profile(f"rra-{os.environ.get('HYPOTHESIS_PROFILE', 'default')}")


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory that costs no disk, for tests in which the order of things counts and not their speed."""
    with temporary_directory(in_memory=True) as directory:
        yield directory
