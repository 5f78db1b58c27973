"""Fault injection by the section `app_fuzz` of the configuration, for tests of a site. Never on in production.

Decided for each try of a run. Nothing is damaged; the run is only not archived this time.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from rra_state.base.errors import ArchiverError
from rra_state.config.models import AppFuzz


class SkippedOnPurpose(ArchiverError):
    """skipped on purpose, because app_fuzz.random_skip_percent is set"""

    postpones = True


class FailedOnPurpose(ArchiverError):
    """failed on purpose, because app_fuzz.random_error_percent is set"""


def inject_fault(section: AppFuzz, run: int, chance: Callable[[], float] = random.random) -> None:
    """Raise SkippedOnPurpose or FailedOnPurpose for the configured percentage of tries.

    With random_..._retry the run is not tried again in this execution, otherwise as after any transient error.
    chance: returns numbers from 0 to below 1.
    """
    for kind, percent, final in (
        (SkippedOnPurpose, section.random_skip_percent, section.random_skip_retry),
        (FailedOnPurpose, section.random_error_percent, section.random_error_retry),
    ):
        if percent and chance() * 100 < percent:
            error = kind(run=run)
            error.transient = not final
            raise error
