"""How the product writes counts, ranges of runs, times and names: once for terminal, page, mail and log. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime

from rra_state.base import run_numbers

MOST_RANGES = 10
"""Ranges that a line names before it only counts the rest."""


def count(number: int, noun: str, plural: str | None = None) -> str:
    """A number with its noun.

    >>> count(1, "run"), count(2, "run"), count(0, "discrepancy", "discrepancies")
    ('1 run', '2 runs', '0 discrepancies')
    """
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def ranges(runs: Iterable[int], most: int = MOST_RANGES) -> str:
    """The first ranges of these runs, and how many more there are.

    >>> ranges([1, 2, 3, 7]), ranges(range(1, 9, 2), most=2)
    ('1-3, 7', '1, 3, ... (2 more ranges)')
    """
    found = run_numbers.ranges(runs)
    shown = ", ".join(str(low) if low == high else f"{low}-{high}" for low, high in found[:most])
    return shown if len(found) <= most else f"{shown}, ... ({count(len(found) - most, 'more range')})"


def which_runs(runs: Collection[int]) -> str:
    """The subject of a sentence about runs.

    >>> which_runs([7]), which_runs([7, 8, 10])
    ('run 7', 'runs 7-8, 10')
    """
    return f"{'run' if len(runs) == 1 else 'runs'} {ranges(runs)}"


def minute(when: datetime | float) -> str:
    """A time in UTC to the minute. when: seconds since 1970, or a datetime in UTC.

    >>> minute(0)
    '1970-01-01 00:00 UTC'
    """
    return f"{utc(when):%Y-%m-%d %H:%M} UTC"


def second(when: datetime | float) -> str:
    """A time in UTC to the second, as ISO 8601 has it.

    >>> second(0)
    '1970-01-01T00:00:00Z'
    """
    return f"{utc(when):%Y-%m-%dT%H:%M:%SZ}"


def utc(when: datetime | float) -> datetime:
    """A time in seconds since 1970 as a datetime in UTC."""
    return when if isinstance(when, datetime) else datetime.fromtimestamp(when, UTC)


def seconds(text: object) -> float | None:
    """Seconds since 1970 of a time in ISO 8601; None if it is none.

    >>> seconds("1970-01-01T00:01:00Z"), seconds("yesterday"), seconds(None)
    (60.0, None, None)
    """
    try:
        return datetime.fromisoformat(text).timestamp() if isinstance(text, str) else None
    except ValueError:
        return None


def shortened(text: str, most: int) -> str:
    """The text, or the whole words of its beginning.

    >>> shortened("no space left", 20), shortened("no space left", 10)
    ('no space left', 'no space ...')
    """
    return text if len(text) <= most else f"{text[: most + 1].rpartition(' ')[0] or text[:most]} ..."


def printable(text: str) -> str:
    r"""The text in one line, without characters that move a terminal's cursor or change the direction of its text.

    Names from disk and texts of servers go through this wherever they are shown. JSON escapes them by itself.

    >>> print(printable("a\x1bb"), printable("a\nb"), printable("a\u202eb"))
    a\x1Bb a\x0Ab a\u202Eb
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else _escaped(ord(c)) for c in readable(text))


def _escaped(code: int) -> str:
    return f"\\x{code:02X}" if code < 0x100 else f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"


def readable(text: str) -> str:
    r"""The text without lone surrogates, which no store or terminal accepts: undecodable bytes become `\xNN`.

    >>> print(readable("a\udcffb"))
    a\xffb
    """
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def first_of(entries: Sequence[object]) -> str:
    """Sentences in one line: the first, and how many more there are.

    >>> first_of(["a.fcl line 3: no"]), first_of(["a: is a link", "b: is a link", "c: is a link"])
    ('a.fcl line 3: no', 'a: is a link (and 2 more)')
    """
    return f"{entries[0]}" + (f" (and {len(entries) - 1} more)" if len(entries) > 1 else "")


def by_text(entries: Mapping[int, Sequence[object]]) -> list[tuple[str, list[int]]]:
    """The line that `first_of` makes of each run's sentences, with the runs that have the same.

    >>> by_text({7: ["a: is a link"], 8: ["b: is empty"], 9: ["a: is a link"]})
    [('a: is a link', [7, 9]), ('b: is empty', [8])]
    """
    found: dict[str, list[int]] = {}
    for run, sentences in entries.items():
        found.setdefault(first_of(sentences), []).append(run)
    return list(found.items())
