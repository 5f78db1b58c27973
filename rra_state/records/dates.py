"""The two forms in which `date --utc` writes a time, by locale. Pure; no locale of ours takes part.

Source: docs/design/run_records.md, Dates.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CLOCK = r"(?P<hour>\d{1,2}):(?P<minute>\d\d):(?P<second>\d\d)(?: (?P<half>[AP]M))?"
_MONTH = rf"(?P<month>{'|'.join(_MONTHS)})"
_UTC = (None, "UTC", "GMT", "Z")
_FORMS = (
    re.compile(rf"\w{{3}} {_MONTH} +(?P<day>\d{{1,2}}) {_CLOCK}(?: (?P<zone>\w+))? (?P<year>\d{{4}})", re.ASCII),
    re.compile(rf"\w{{3}},? +(?P<day>\d{{1,2}}) {_MONTH} (?P<year>\d{{4}}),? {_CLOCK}(?: (?P<zone>\w+))?", re.ASCII),
)


def month_day_minute(text: str) -> str | None:
    """`Oct 17 10:08` of a date, as the "Packed on" line of a blob has it; None if `text` is no date.

    >>> month_day_minute("Thu Oct 17 10:08:25 UTC 2024")
    'Oct 17 10:08'
    >>> month_day_minute("Thu 17 Oct 2024 10:08:25 PM UTC")
    'Oct 17 22:08'
    """
    for form in _FORMS:
        if match := form.fullmatch(text.strip()):
            hour, minute, day = _hour(match), int(match["minute"]), int(match["day"])
            if hour < 24 and minute < 60 and 1 <= day <= 31:
                return f"{match['month']} {day:02d} {hour:02d}:{minute:02d}"
    return None


def timestamp(text: str) -> int | None:
    """Seconds since 1970 of a date in UTC; None if `text` is no date, or one of another time zone.

    >>> timestamp("Thu Oct 17 10:08:25 UTC 2024")
    1729159705
    >>> timestamp("Thu Oct 17 10:08:25 CDT 2024") is None
    True
    """
    for form in _FORMS:
        if (match := form.fullmatch(text.strip())) and match["zone"] in _UTC:
            year, day, minute, second = map(int, match.group("year", "day", "minute", "second"))
            month = _MONTHS.index(match["month"]) + 1
            try:
                return int(datetime(year, month, day, _hour(match), minute, second, tzinfo=UTC).timestamp())
            except ValueError:
                return None
    return None


def _hour(match: re.Match[str]) -> int:
    hour = int(match["hour"])
    return hour % 12 + (12 if match["half"] == "PM" else 0) if match["half"] else hour
