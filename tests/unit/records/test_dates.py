"""The DAQ's dates as moments."""

from __future__ import annotations

import pytest

from rra_state.records import dates

MOMENT = 1729159705


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Thu Oct 17 10:08:25 UTC 2024", MOMENT),
        ("Thu 17 Oct 2024 10:08:25 AM UTC", MOMENT),
        ("Thu Oct 17 10:08:25 PM UTC 2024", MOMENT + 12 * 3600),
        ("Thu Oct 17 12:08:25 AM UTC 2024", MOMENT - 10 * 3600),
        (" Thu Oct 17 10:08:25 2024 ", MOMENT),
        ("Thu Oct 17 10:08:25 CDT 2024", None),
        ("Thu Oct 32 10:08:25 UTC 2024", None),
        ("yesterday", None),
    ],
)
def test_a_date_in_utc_is_a_moment_and_nothing_else_is(text: str, expected: int | None) -> None:
    assert dates.timestamp(text) == expected
