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
        ("Thu Oct 17 10:08:25 CDT 2024", MOMENT + 5 * 3600),
        ("Thu Oct 17 10:08:25 JST 2024", None),
        ("Thu Oct 32 10:08:25 UTC 2024", None),
        ("yesterday", None),
    ],
)
def test_a_date_of_a_known_time_zone_is_a_moment(text: str, expected: int | None) -> None:
    assert dates.timestamp(text) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun Nov 3 01:10:02 CST 2024", "Nov 03 07:10"),
        ("Sun Nov 3 23:10:02 CST 2024", "Nov 04 05:10"),
        ("Thu 17 Oct 2024 10:08:25 PM EDT", "Oct 18 02:08"),
        ("Fri Feb 30 10:08:25 UTC 2024", None),
        ("Thu Oct 17 10:08:25 JST 2024", None),
    ],
)
def test_case_e12_packed_on_is_the_same_moment(text: str, expected: str | None) -> None:
    assert dates.month_day_minute(text) == expected
