"""What the seven texts have in common: lines, trailing comments, quoted values, lists. Pure functions on text."""

from __future__ import annotations

import re

from rra_state.records import fhicl

BLANKS = " \t\v\f"
_BOM = b"\xef\xbb\xbf"
_SPACED_COMMENT = re.compile(r'"[^"]*"|(?P<comment>(?<!\S)#)')
_ANY_COMMENT = re.compile(r""""[^"]*"|(?<![^\s\[,])'[^']*'|(?P<comment>\#)""")
_ITEM = re.compile(r"""[ \t]*(?:(?:"([^"]*)"|'([^']*)')[ \t]*|([^,]*))(?:,|\Z)""")
_BOOLEANS = ("true", "false")


def split(data: bytes) -> list[str]:
    """The lines of a text file, ended by LF, CRLF or CR alone; a byte order mark is no part of the first.

    Bytes that are not UTF-8 come as lone surrogates, from which the FHiCL writer makes an escape.
    """
    return [line.decode("utf-8", "surrogateescape") for line in data.removeprefix(_BOM).splitlines()]


def strip(text: str) -> str:
    """The text without the ASCII blanks around it: other white space is content."""
    return text.strip(BLANKS)


def without_comment(text: str, *, anywhere: bool = False) -> str:
    """Cut a trailing comment, `#` at the start of a word (or anywhere), but not inside quotes; trimmed.

    >>> without_comment('1   # very quiet')
    '1'
    >>> without_comment('"a # b" # c')
    '"a # b"'
    """
    for match in (_ANY_COMMENT if anywhere else _SPACED_COMMENT).finditer(text):
        if match["comment"]:
            return strip(text[: match.start()])
    return strip(text)


def literal(value: str) -> str:
    """A value of a text in FHiCL: lists as lists, numbers bare, others as strings without their outer quotes."""
    if (quoted := unquoted(value)) is not None:
        return fhicl.quote(quoted)
    if value.endswith("]") and (listed := sequence(value)) is not None:
        return listed
    return fhicl.quote(value) if value in _BOOLEANS else fhicl.atom(value)


def unquoted(value: str) -> str | None:
    """What is between the quotes of `"..."`; None for all else, `"a" and "b"` too."""
    inner = value[1:-1]
    return inner if len(value) > 1 and value[0] == value[-1] == '"' and '"' not in inner else None


def sequence(value: str) -> str | None:
    """`[ a, "b, c", 3 ]` as a FHiCL sequence of atoms; the closing bracket may be missing. None: not a flat list.

    >>> sequence('[wt]ib.*') is None
    True
    """
    if not value.startswith("[") or ("]" in value and not value.endswith("]")):
        return None
    body = strip(value[1:].removesuffix("]"))
    items: list[str] = []
    position = 0
    while position < len(body) and (match := _ITEM.match(body, position)):
        word = strip(match[3] or "")
        if not _is_flat(word):
            return None
        quoted = match[1] if match[1] is not None else match[2]
        items.append(fhicl.quote(quoted) if quoted is not None else fhicl.atom(word))
        position = match.end()
    return f"[{', '.join(items)}]"


def _is_flat(item: str) -> bool:
    """Whether an item is a word, maybe a regular expression with brackets of its own, but no nested list or table."""
    depth = 0
    for character in item:
        depth += (character == "[") - (character == "]")
        if depth < 0:
            return False
    return depth == 0 and not item.startswith(("[", "{"))
