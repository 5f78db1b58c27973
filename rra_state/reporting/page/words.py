"""How the page writes numbers and times. Loads next to nothing: a cycle that changes nothing needs only this."""

from __future__ import annotations

from datetime import UTC, datetime


def number(value: int) -> str:
    """`12 345` with narrow spaces: no country reads it as a fraction."""
    return f"{value:,}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def minute(value: datetime | float) -> str:
    """A time in UTC, `2026-11-25 18:05`."""
    return _moment(value).strftime("%Y-%m-%d %H:%M")


def time_element(value: datetime | float) -> str:
    """A time in UTC as an HTML element."""
    return f'<time datetime="{_moment(value).strftime("%Y-%m-%dT%H:%M:%SZ")}">{minute(value)}</time>'


def _moment(value: datetime | float) -> datetime:
    return value if isinstance(value, datetime) else datetime.fromtimestamp(value, UTC)
