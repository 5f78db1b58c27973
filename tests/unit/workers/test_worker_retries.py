"""Trying again after a fault that may pass by itself."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace

import pytest

from rra_state.base.errors import ArchiverError, RecordChanged, RecordError, StoreUnavailable
from rra_state.workers.worker import WorkerContext


def failing(*errors: BaseException) -> Callable[[], str]:
    """Raises these one after the other, then succeeds."""
    left = iter(errors)

    def action() -> str:
        error = next(left, None)
        if error is not None:
            raise error
        return "done"

    return action


class Waits:
    """In place of the driver's request to stop, which never comes. seconds: of each wait for it."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def is_set(self) -> bool:
        return False

    def wait(self, timeout: float) -> bool:
        self.seconds.append(timeout)
        return False


def with_retries(action: Callable[[], str], waits: Waits, *, retries: int, delay: float = 3) -> tuple[str, int]:
    app = SimpleNamespace(run_process_retries=retries, retry_delay_seconds=delay)
    return WorkerContext(SimpleNamespace(app=app), waits).with_retries(action)


def test_success_at_once_waits_for_nothing() -> None:
    waits = Waits()

    assert with_retries(failing(), waits, retries=2) == ("done", 1)
    assert waits.seconds == []


def test_a_passing_fault_is_tried_again_after_the_delay() -> None:
    waits = Waits()

    result = with_retries(failing(RecordChanged(), StoreUnavailable()), waits, retries=2)

    assert result == ("done", 3)
    assert waits.seconds == [3, 3]


def test_a_lasting_error_ends_after_the_configured_retries() -> None:
    last = RecordChanged("the last")

    with pytest.raises(RecordChanged, match="the last") as caught:
        with_retries(failing(RecordChanged(), RecordChanged(), last), Waits(), retries=2, delay=0)

    assert caught.value is last
    assert caught.value.tries == 3


@pytest.mark.parametrize("error", [RecordError("bad"), ArchiverError("bad")])
def test_a_bad_record_is_tried_once(error: ArchiverError) -> None:
    waits = Waits()

    with pytest.raises(ArchiverError, match="bad") as caught:
        with_retries(failing(error), waits, retries=5)

    assert (caught.value.tries, waits.seconds) == (1, [])


def test_no_retries_means_one_try() -> None:
    with pytest.raises(StoreUnavailable) as caught:
        with_retries(failing(StoreUnavailable()), Waits(), retries=0)

    assert caught.value.tries == 1


def test_a_bug_is_not_retried() -> None:
    waits = Waits()

    with pytest.raises(ZeroDivisionError):
        with_retries(failing(ZeroDivisionError()), waits, retries=5)

    assert waits.seconds == []
