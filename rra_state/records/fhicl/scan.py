"""The characters of a FHiCL document: lines, forbidden bytes, and the one set of patterns the parser works with.

Knows how a token looks, not what it means. Source: docs/design/fhicl.md, Lines and characters to Quoted strings.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from itertools import accumulate

from rra_state.base.errors import FhiclError

# White space and comments, wherever they may stand. All repetitions are possessive: nothing is looked at twice.
WS = r"(?:[ \t\n\v\f\r]++|#[^\n]*+\n|//[^\n]*+\n)*+"

# What may follow a token. "Graphic" is 0x21-0x7E, so control characters and blanks always may.
_AFTER_ATOM = r"(?=[\x00-\x20\x7f,\]}]|\Z)"
_AFTER_INFINITY = r"(?=[\x00-\x20\x7f,\]})]|\Z)"
_AFTER_NUMBER = r"(?=[\x00-\x20\x7f#/,\]})]|\Z)"
_AFTER_DIGITS_WORD = r"(?=[\x00-\x20\x7f#/,\]}]|\Z)"
_AFTER_NAME = r"(?=[\x00-\x20\x7f#/,\]}.\[:]|\Z)"

NAME = rf"[A-Za-z_][A-Za-z0-9_]*+{_AFTER_NAME}"
QUALIFIED = rf"{NAME}(?:{WS}(?:\.{WS}{NAME}|\[{WS}[0-9]++{WS}\]))*+"
NUMBER = (
    rf"(?:[+-]?infinity{_AFTER_INFINITY}"
    rf"|(?:0[xX][0-9a-fA-F]++|0[bB][01]++|[+-]?(?:[0-9]++\.?+[0-9]*+|\.[0-9]++)(?:[eE][+-]?+[0-9]++)?+){_AFTER_NUMBER})"
)
# A string in double quotes ends at the first quote that no backslash precedes, whatever precedes that backslash.
_DOUBLE = r'"[^"\\]*+(?:\\"?+[^"\\]*+)*+"'
_SINGLE = r"'[^']*+'"

# The order is the parser's: nil, boolean, number, complex, string, references, sequence, table.
_VALUE = (
    rf"(?:(?P<nil>@nil{_AFTER_ATOM})"
    rf"|(?P<bool>(?:true|false){_AFTER_ATOM})"
    rf"|(?P<number>{NUMBER})"
    rf"|(?P<double>{_DOUBLE}{_AFTER_ATOM})"
    rf"|(?P<word>{NAME}|[0-9][A-Za-z0-9_]*+{_AFTER_DIGITS_WORD})"
    rf"|(?P<single>{_SINGLE}{_AFTER_ATOM})"
    r"|(?P<open>[\[{])"
    rf"|(?P<complex>\({WS}({NUMBER}){WS},{WS}({NUMBER}){WS}\))"
    rf"|(?P<local>@local::{QUALIFIED})"
    rf"|(?P<db>@db::{QUALIFIED})"
    rf"|(?P<id>@id::[0-9a-fA-F]{{40}}+{_AFTER_NUMBER})"
)
_GUARD = r"(?P<guard>@protect_(?:ignore|error))?+:"  # no white space between protection and colon

MEMBER = re.compile(rf"{WS}(?P<name>{NAME}){WS}{_GUARD}{WS}{_VALUE}|(?P<erase>@erase))")
DEFINITION = re.compile(rf"{WS}(?P<name>{QUALIFIED}){WS}{_GUARD}{WS}{_VALUE}|(?P<erase>@erase))")
ITEM = re.compile(rf"{WS}{_VALUE}|(?P<splice>@sequence::{QUALIFIED}))")
SPLICE = re.compile(rf"{WS}@table::(?P<name>{QUALIFIED})")
HEAD = re.compile(rf"(?P<name>{QUALIFIED}){WS}{_GUARD}")
SEPARATOR = re.compile(rf"{WS}([,\]])")
SKIP = re.compile(WS)
NAME_PART = re.compile(r"[A-Za-z_][A-Za-z0-9_]*+|[0-9]++")
QUALIFIED_NAME = re.compile(QUALIFIED)
CLOSED_STRING = re.compile(rf"{_DOUBLE}|{_SINGLE}")
# Strings first, so that a `#` inside quotes is not taken for a comment.
COMMENT = re.compile(rf"{_DOUBLE}|{_SINGLE}|(?P<comment>#[^\n]*+|//[^\n]*+)")
# What is wrong inside a string: an escape FHiCL has not got, or a character that is neither printable, LF nor tab.
BAD_ESCAPE = re.compile(r"(?:[^\\]|\\[\"'\\nt])*+(?=\\)")
BAD_CHARACTER = re.compile(r"[^\n\t -~]")

_DIRECTIVE = re.compile(r"^#include[^\n]*+", re.MULTILINE)
_WELL_FORMED = re.compile(r'#include "[^\n]+"[ \t]*+')
_WORD = re.compile(r"[^\s,\]}#]{1,60}+|.", re.DOTALL)

BYTE_ORDER_MARK = ("\xef\xbb\xbf", "\ufeff")


class Source:
    """A document's text with lines ended by LF, and the line of any offset in it.

    text: LF at the end of every line, the last one included; ASCII. A NUL may stand in a comment only.
    includes: offsets of the `#include` directives.
    Raises FhiclError for a forbidden byte and for a directive that is not well formed.
    """

    __slots__ = ("_starts", "includes", "text")

    def __init__(self, raw: str | bytes) -> None:
        # Latin-1 keeps one character per byte, so that the check below sees every byte as it is.
        text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
        if "\r" in text:  # CR, LF and CRLF all end a line
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        if text and not text.endswith("\n"):
            text += "\n"
        self.text = text
        self._starts: list[int] | None = None
        if not text.isascii():
            raise self._not_ascii()
        self.includes: tuple[int, ...] = ()
        if "#include" in text:
            self._find_directives()

    def line(self, offset: int) -> int:
        """The line of an offset in the text, from 1."""
        if self._starts is None:
            self._starts = list(accumulate((len(line) + 1 for line in self.text.split("\n")), initial=0))
        return max(1, bisect_right(self._starts, min(offset, len(self.text) - 1)))

    def error(self, offset: int, message: str, hint: str | None = None) -> FhiclError:
        """The error that says what is wrong at an offset."""
        return FhiclError(message, line=self.line(offset), hint=hint)

    def word(self, offset: int) -> str:
        """The text at an offset as far as a person would call it one word, for messages."""
        match = _WORD.match(self.text, offset)
        return show(match[0]) if match else ""

    def _not_ascii(self) -> FhiclError:
        offset, char = next((offset, char) for offset, char in enumerate(self.text) if not char.isascii())
        if offset == 0 and self.text.startswith(BYTE_ORDER_MARK):
            return self.error(offset, "byte order mark; FHiCL is ASCII only", "save the file without it")
        kind = f"byte 0x{ord(char):02X}" if ord(char) < 256 else f"U+{ord(char):04X}"
        return self.error(offset, f"{kind}; FHiCL is ASCII only, comments included")

    def _find_directives(self) -> None:
        offsets = []
        for match in _DIRECTIVE.finditer(self.text):
            if not _WELL_FORMED.fullmatch(match[0]):
                raise self.error(match.start(), f'{quoted(match[0])} is not a directive of the form #include "file"')
            offsets.append(match.start())
        self.includes = tuple(offsets)


def show(text: str, limit: int = 80) -> str:
    """Text as a message may carry it: one line, printable, not too long."""
    text = text if len(text) <= limit else text[: limit - 3] + "..."
    return "".join(c if c.isprintable() else f"\\x{ord(c):02X}" for c in text)


def quoted(text: str) -> str:
    """`"text"` for a message."""
    return f'"{show(text)}"'
