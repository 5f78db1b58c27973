"""Parts of a verification: which runs are in which."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from rra_state.base.errors import UsageError
from rra_state.cli.verify import Subset


def test_weekly_parts_get_round_over_the_end_of_a_year() -> None:
    begin = date(2026, 11, 30)

    turns = [Subset.parse("week/8", begin + timedelta(weeks=week)).number for week in range(16)]

    assert sorted(turns[:8]) == [1, 2, 3, 4, 5, 6, 7, 8]
    assert turns[8:] == turns[:8]


def test_a_turn_lasts_from_monday_to_sunday() -> None:
    monday = date(2026, 11, 23)

    days = [Subset.parse("week/8", monday + timedelta(days=day)).number for day in range(8)]

    assert len(set(days[:7])) == 1
    assert days[7] != days[0]


@pytest.mark.parametrize("text", ["week", "week/0", "weeks/8", "8/week", "9/8"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="--subset"):
        Subset.parse(text)
