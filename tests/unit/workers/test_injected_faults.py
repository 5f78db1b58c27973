"""Deliberate faults: as many as asked for, of the kind that was asked for."""

from __future__ import annotations

import random
from typing import Any

import pytest

from rra_state.base.errors import ArchiverError
from rra_state.config.models import AppFuzz
from rra_state.workers import injected_faults
from rra_state.workers.injected_faults import FailedOnPurpose, SkippedOnPurpose


def outcomes(**keys: Any) -> list[ArchiverError | None]:
    """What became of a thousand tries."""
    section, chance = AppFuzz(**keys), random.Random(7).random
    found: list[ArchiverError | None] = []
    for run in range(1000):
        try:
            injected_faults.inject_fault(section, run, chance)
            found.append(None)
        except ArchiverError as error:
            found.append(error)
    return found


def test_nothing_happens_unless_it_is_asked_for() -> None:
    assert set(outcomes()) == {None}


@pytest.mark.parametrize(
    ("key", "kind", "postponed"),
    [("random_skip_percent", SkippedOnPurpose, True), ("random_error_percent", FailedOnPurpose, False)],
)
def test_as_many_tries_are_spoilt_as_asked_for(key: str, kind: type[ArchiverError], *, postponed: bool) -> None:
    spoilt = [error for error in outcomes(**{key: 20}) if error is not None]

    assert 150 < len(spoilt) < 250
    assert {type(error) for error in spoilt} == {kind}
    assert kind.postpones is postponed
    assert not kind.stops_cycle


@pytest.mark.parametrize("key", ["random_skip", "random_error"])
def test_a_run_is_tried_again_unless_switched_off(key: str) -> None:
    again = outcomes(**{f"{key}_percent": 100})
    final = outcomes(**{f"{key}_percent": 100, f"{key}_retry": True})

    assert {error.transient for error in again if error} == {True}
    assert {error.transient for error in final if error} == {False}
