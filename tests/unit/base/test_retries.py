"""Trying again after a fault that may pass by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rra_state.base.errors import ArchiverError, RecordChanged, RecordError, StoreUnavailable
from rra_state.base.retries import with_retries


def failing(*errors: BaseException) -> Callable[[], str]:
    """Raises these one after the other, then succeeds."""
    left = iter(errors)

    def action() -> str:
        error = next(left, None)
        if error is not None:
            raise error
        return "done"

    return action


def test_success_at_once_waits_for_nothing() -> None:
    waits: list[float] = []

    assert with_retries(failing(), retries=2, delay=3, sleep=waits.append) == ("done", 1)
    assert waits == []


def test_a_passing_fault_is_tried_again_after_the_delay() -> None:
    waits: list[float] = []

    result = with_retries(failing(RecordChanged(), StoreUnavailable()), retries=2, delay=3, sleep=waits.append)

    assert result == ("done", 3)
    assert waits == [3, 3]


def test_a_lasting_error_ends_after_the_configured_retries() -> None:
    last = RecordChanged("the last")

    with pytest.raises(RecordChanged, match="the last") as caught:
        with_retries(failing(RecordChanged(), RecordChanged(), last), retries=2, delay=0, sleep=lambda _: None)

    assert caught.value is last
    assert caught.value.tries == 3


@pytest.mark.parametrize("error", [RecordError("bad"), ArchiverError("bad")])
def test_a_bad_record_is_tried_once(error: ArchiverError) -> None:
    waits: list[float] = []

    with pytest.raises(ArchiverError, match="bad") as caught:
        with_retries(failing(error), retries=5, delay=3, sleep=waits.append)

    assert (caught.value.tries, waits) == (1, [])


def test_no_retries_means_one_try() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        with_retries(failing(StoreUnavailable()), retries=0, delay=3, sleep=lambda _: None)

    assert caught.value.tries == 1


def test_a_bug_is_not_retried() -> None:
    with pytest.raises(ZeroDivisionError):
        with_retries(failing(ZeroDivisionError()), retries=5, delay=3, sleep=lambda _: pytest.fail("waited"))
