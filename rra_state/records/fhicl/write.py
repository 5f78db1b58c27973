r"""Python values -> FHiCL tokens that every FHiCL parser accepts, and the evaluated tree as text.

What FHiCL cannot hold becomes `\xNN` (one byte) or `\uNNNN` (UTF-16) in the string's value;
`unescape` gives the original bytes back. Source: docs/design/fhicl.md, Writing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from rra_state.base.errors import FhiclError
from rra_state.records.fhicl import scan
from rra_state.records.fhicl.number import canonical_number, python_number
from rra_state.records.fhicl.values import Scalar, SequenceValue, TableValue, Value

MAX_OUTPUT = 256 * 1024 * 1024
"""Characters `render` prints at most: references to references can make a small file endless."""
MAX_VALUE_DEPTH = 200
"""Depth at which `plain` gives up, long before Python's own limit."""

Plain = str | int | float | bool | complex | list["Plain"] | dict[str, "Plain"] | None

# A backslash of the value that would be read as an escape of `quote`, or that would keep the string open.
_LOOKALIKE = r"\\(?=x[0-9A-Fa-f]{2}|u[0-9A-Fa-f]{4}|\Z)"
_LOOKALIKE_AT = re.compile(_LOOKALIKE)
_SPECIAL = re.compile(rf'{_LOOKALIKE}|["\\\n\t]|[^ -~]')
_SIMPLE = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t"}
_OURS = re.compile(
    r"\\u([dD][89aAbB][0-9A-Fa-f]{2})\\u([dD][c-fC-F][0-9A-Fa-f]{2})|\\u([0-9A-Fa-f]{4})|\\x([0-9A-Fa-f]{2})"
)
_NUMBER = re.compile(scan.NUMBER)
_FHICL_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_UNESCAPED = {"n": "\n", "t": "\t"}


def quote(value: str) -> str:
    r"""A FHiCL string literal for any text, in double quotes.

    value: may hold surrogate escapes, the bytes of a file read as UTF-8 with `errors="surrogateescape"`.

    >>> print(quote('say "é" \\d'))
    "say \"\\u00E9\" \\d"
    """
    if value.isascii() and value.isprintable() and '"' not in value and "\\" not in value:
        return f'"{value}"'
    return '"' + _SPECIAL.sub(_escape, value) + '"'


def _escape(match: re.Match[str]) -> str:
    char = match[0]
    if char == "\\":
        # Only the look-alikes and the last one need more than FHiCL's own escape.
        return "\\\\x5C" if _LOOKALIKE_AT.match(match.string, match.start()) else "\\\\"
    if char in _SIMPLE:
        return _SIMPLE[char]
    code = ord(char)
    if code < 0x80:
        return f"\\\\x{code:02X}"
    if 0xDC80 <= code <= 0xDCFF:  # surrogateescape's form of an undecodable byte
        return f"\\\\x{code - 0xDC00:02X}"
    units = char.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\\\u{units[i]:02X}{units[i + 1]:02X}" for i in range(0, len(units), 2))


def unescape(value: str) -> bytes:
    r"""The original bytes from a string's value that `quote` wrote: `unescape(unquote(quote(text)))`.

    value: the string's value, not its literal; text without `\xNN` and `\uNNNN` gives its UTF-8.
    """
    parts: list[bytes] = []
    end = 0
    for match in _OURS.finditer(value):
        parts.append(value[end : match.start()].encode("utf-8", "surrogateescape"))
        high, low, unit, byte = match.groups()
        if byte is not None:
            parts.append(bytes((int(byte, 16),)))
        elif unit is not None:
            parts.append(chr(int(unit, 16)).encode("utf-8", "surrogatepass"))
        else:
            parts.append(bytes.fromhex(high + low).decode("utf-16-be").encode())
        end = match.end()
    parts.append(value[end:].encode("utf-8", "surrogateescape"))
    return b"".join(parts)


def unquote(literal: str) -> str:
    """The value of a FHiCL string in double or single quotes, or of a bare word."""
    if literal[:1] == '"':
        text = literal[1:-1]
        return _FHICL_ESCAPE.sub(lambda match: _UNESCAPED.get(match[1], match[1]), text) if "\\" in text else text
    return literal[1:-1] if literal[:1] == "'" else literal


def name(key: str) -> str:
    """A FHiCL name for any text. Not unique: the caller keeps the original where it matters.

    >>> [name(key) for key in ("artdaq-core.v1", "3a", "", "BEGIN_PROLOG")]
    ['artdaq_core_v1', '_3a', '_', '_BEGIN_PROLOG']
    """
    plain = re.sub(r"[^A-Za-z0-9_]", "_", key)
    # The parser takes everything that begins with these words for a prolog.
    if not plain or plain[0].isdigit() or plain.startswith(("BEGIN_PROLOG", "END_PROLOG")):
        return "_" + plain
    return plain


def atom(value: str) -> str:
    """The token whose value is this text: a number only if it prints as the same text again, else a quoted string.

    >>> [atom(value) for value in ("7", "007", "1.10", "true", "True", "1e6")]
    ['7', '"007"', '"1.10"', 'true', '"True"', '1e6']
    """
    if value in ("true", "false"):
        return value
    if _NUMBER.fullmatch(value) and canonical_number(value) == value:
        return value
    return quote(value)


def sequence(values: Iterable[str]) -> str:
    """A sequence of quoted strings: `["a", "b"]`, `[]`."""
    return "[" + ", ".join(quote(value) for value in values) + "]"


def printed_string(kind: str, raw: str) -> str:
    """A string token as `dump` prints it, always in double quotes and with `'` escaped.

    kind: `word`, `single` or `double`; raw: the token, valid, quotes included.
    """
    if kind == "word":
        return f'"{raw}"'
    text = raw[1:-1]
    if kind == "single":
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    elif "'" in text or '"' in text:
        # A quote with an even number of backslashes before it stands inside, too; the real library prints it escaped.
        text = text.replace("\\\\", "\0").replace("\\'", "'").replace('\\"', '"')
        text = text.replace("'", "\\'").replace('"', '\\"').replace("\0", "\\\\")
    if not text.isprintable():
        text = text.replace("\n", "\\n").replace("\t", "\\t")
    return f'"{text}"'


def render(root: TableValue) -> str:
    """The evaluated document as `fhicl-dump` prints it: keys sorted, three blanks a level, one value a line.

    As in `fhicl-dump`: after an empty table, closing braces are not indented until the next table with content opens.
    """
    out: list[str] = []
    size = 0
    indent_next_brace = True
    stack: list[tuple[Iterable[tuple[str, Value, str]], str]] = [(_members(root), "")]
    while stack:
        members, closing = stack[-1]
        indent = "   " * (len(stack) - 1)
        for label, value, comma in members:
            if isinstance(value, Scalar):
                line = f"{indent}{label}{value.text}{comma}\n"
            elif isinstance(value, TableValue):
                indent_next_brace = bool(value.items)
                line = f"{indent}{label}{{\n" if value.items else f"{indent}{label}{{}}{comma}\n"
            else:
                line = f"{indent}{label}[\n" if value.items else f"{indent}{label}[]{comma}\n"
            out.append(line)
            size += len(line)
            if size > MAX_OUTPUT:
                raise FhiclError(f"evaluated document of more than {MAX_OUTPUT} characters", line=1)
            if not isinstance(value, Scalar) and value.items:
                brace = "}" if isinstance(value, TableValue) else "]"
                stack.append((_members(value), brace + comma))
                break
        else:
            stack.pop()
            if closing:
                bare = closing[0] == "}" and not indent_next_brace
                out.append(("" if bare else "   " * (len(stack) - 1)) + closing + "\n")
    return "".join(out)


def _members(value: TableValue | SequenceValue) -> Iterable[tuple[str, Value, str]]:
    """(what stands before the value, value, what follows it) in the order of printing."""
    if isinstance(value, TableValue):
        return iter([(f"{key}: ", value.items[key], "") for key in sorted(value.items)])
    last = len(value.items) - 1
    return iter([("", item, "" if index == last else ",") for index, item in enumerate(value.items)])


def plain(value: Value, depth: int = 0) -> Plain:
    r"""An evaluated value as Python has it.

    Numbers: int if whole, else float; strings: their value, with `\xNN` of `quote` left as it is (see `unescape`);
    @nil: None; complex: complex.
    """
    if depth > MAX_VALUE_DEPTH:
        raise FhiclError(f"more than {MAX_VALUE_DEPTH} tables and sequences inside one another", line=1)
    if isinstance(value, TableValue):
        return {key: plain(item, depth + 1) for key, item in value.items.items()}
    if isinstance(value, SequenceValue):
        return [plain(item, depth + 1) for item in value.items]
    if value.kind == "string":
        return unquote(value.text)
    if value.kind == "number":
        return python_number(value.text)
    if value.kind == "complex":
        real, imaginary = value.text[1:-1].split(",")
        return complex(float(real), float(imaginary))
    return value.text == "true" if value.kind == "bool" else None
