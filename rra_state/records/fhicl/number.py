"""Canonical printing of FHiCL numbers: the one form `fhicl-dump` prints a number in.

Whole numbers of up to six digits stand as they are, everything else is `d.ddde<n>`; so the text of long numbers is not
preserved. Source: docs/design/fhicl.md, Numbers.
"""

from __future__ import annotations

import re

_DECIMAL = re.compile(r"([+-]?)([0-9]*)(?:\.([0-9]*))?(?:[eE]([+-]?[0-9]+))?")
_PLAIN = re.compile(r"[1-9][0-9]{0,5}|0")
MAX_RADIX_DIGITS = 2_000
"""Longest 0x or 0b number: beyond it the conversion to decimal is neither useful nor quick."""


def canonical_number(text: str) -> str | None:
    """The canonical text of a number token, None if a 0x or 0b number is too long to be converted.

    >>> [canonical_number(text) for text in ("007", ".5", "1000000", "123456.7", "0xFF", "-0", "infinity")]
    ['7', '5e-1', '1e6', '1.234567e5', '255', '0', '+infinity']
    """
    if _PLAIN.fullmatch(text):
        return text
    if text.endswith("infinity"):
        return text if text[0] in "+-" else "+" + text
    if text[:2] in ("0x", "0X", "0b", "0B"):
        if len(text) - 2 > MAX_RADIX_DIGITS:
            return None
        text = str(int(text, 0))
    match = _DECIMAL.fullmatch(text)
    if match is None:
        raise ValueError(text)
    sign, whole, fraction, power = match[1], match[2], match[3] or "", match[4] or "0"
    digits = whole + fraction
    point = _exponent(power) + len(whole)  # digits stand for 0.digits * 10**point
    significant = digits.lstrip("0")
    point -= len(digits) - len(significant)
    significant = significant.rstrip("0")
    if not significant:
        return "0"
    sign = "-" if sign == "-" else ""
    if len(significant) <= point <= 6:
        return sign + significant.ljust(point, "0")
    mantissa = significant[0] + ("." + significant[1:] if len(significant) > 1 else "")
    return f"{sign}{mantissa}e{point - 1}" if point != 1 else sign + mantissa


def python_number(canonical: str) -> int | float:
    """A canonical number as Python has it: int if it is whole and below 10**40, else float."""
    mantissa, _, power = canonical.partition("e")
    if canonical.endswith("infinity"):
        return float(canonical)
    whole, _, fraction = mantissa.partition(".")
    exponent = int(power or 0)
    if len(fraction) <= exponent <= 40:
        return int(whole + fraction + "0" * (exponent - len(fraction)))
    return int(whole) if not fraction and not exponent else float(canonical)


def _exponent(text: str) -> int:
    """An exponent as the real library reads it, with C's atoi: saturated at 64 bits, then cut to 32."""
    number = int(text) if len(text) < 25 else (-(2**63) if text[0] == "-" else 2**63 - 1)
    number = max(-(2**63), min(2**63 - 1, number))
    return (number + 2**31) % 2**32 - 2**31
