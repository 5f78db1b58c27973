"""Read times as `date` writes them, in either of two forms. Independent of this process's locale.

Source: docs/design/run_records.md, Dates.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?: (?P<half>[AP]M))?"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_FORMS = (
    re.compile(rf"\w{{3}} {_MONTH} +(?P<day>\d{{1,2}}) {_CLOCK}(?: (?P<zone>\w+))? (?P<year>\d{{4}})", re.ASCII),
    re.compile(rf"\w{{3}},? +(?P<day>\d{{1,2}}) {_MONTH} (?P<year>\d{{4}}),? {_CLOCK}(?: (?P<zone>\w+))?", re.ASCII),
)
_ZONES = {None: 0, "UTC": 0, "GMT": 0, "Z": 0}
_ZONES |= {"EST": -5, "EDT": -4, "CST": -6, "CDT": -5, "MST": -7, "MDT": -6, "PST": -8, "PDT": -7}
"""Hours ahead of UTC. Other abbreviations are ambiguous. Source: RFC 5322, section 4.3."""


def moment(text: str) -> datetime | None:
    """The time in UTC; None if `text` is no date, or has an unknown time zone.

    >>> moment("Thu Oct 17 10:08:25 UTC 2024")
    datetime.datetime(2024, 10, 17, 10, 8, 25, tzinfo=datetime.timezone.utc)
    >>> moment("Thu Oct 17 10:08:25 JST 2024") is None
    True
    """
    match = whole(text)
    if match is None or match["zone"] not in _ZONES:
        return None
    hour, minute, second, day, year = map(int, match.group("hour", "minute", "second", "day", "year"))
    if match["half"]:
        hour = hour % 12 + (12 if match["half"] == "PM" else 0)
    try:
        local = datetime(year, _MONTHS.index(match["month"]) + 1, day, hour, minute, second, tzinfo=UTC)
        return local - timedelta(hours=_ZONES[match["zone"]])
    except (ValueError, OverflowError):
        return None


def month_day_minute(text: str) -> str | None:
    """`Oct 17 10:08` in UTC, for the "Packed on" line of a blob; None if `moment` finds no date.

    >>> month_day_minute("Thu 17 Oct 2024 10:08:25 PM UTC")
    'Oct 17 22:08'
    """
    time = moment(text)
    return None if time is None else f"{_MONTHS[time.month - 1]} {time:%d %H:%M}"


def timestamp(text: str) -> int | None:
    """Seconds since 1970; None if `moment` finds no date.

    >>> timestamp("Thu Oct 17 10:08:25 UTC 2024")
    1729159705
    """
    time = moment(text)
    return None if time is None else int(time.timestamp())


def whole(text: str) -> re.Match[str] | None:
    """The parts of a date, whatever the time zone; None unless `text` has all of them."""
    return next((match for form in _FORMS if (match := form.fullmatch(text.strip()))), None)
