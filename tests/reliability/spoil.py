"""Ways to spoil a file of a record, as disks, networks, editors and programs do."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

Spoil = Callable[[bytes, Random], bytes]


def _flip(data: bytes, chance: Random) -> bytes:
    spoilt = bytearray(data or b"\0")
    for _ in range(chance.choice((1, 1, 3, 50))):
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def _cut(data: bytes, chance: Random) -> bytes:
    return data[: chance.randrange(len(data) + 1)]


def _hole(data: bytes, chance: Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + bytes(chance.choice((1, 512, 4096))) + data[start + 4096 :]


def _insert(data: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.randbytes(chance.choice((1, 10, 1000))) + data[place:]


def _syntax(data: bytes, chance: Random) -> bytes:
    place = chance.randrange(len(data) + 1)
    return data[:place] + chance.choice(_TOKENS) + data[place:]


def _lines_doubled(data: bytes, chance: Random) -> bytes:
    lines = data.splitlines(keepends=True) or [b"\n"]
    line = chance.randrange(len(lines))
    return b"".join(lines[: line + 1] * chance.choice((1, 2)) + lines[line:])


def _lines_lost(data: bytes, chance: Random) -> bytes:
    return b"".join(line for line in data.splitlines(keepends=True) if chance.random() < 0.8)


def _line_ends(data: bytes, chance: Random) -> bytes:
    return data.replace(b"\n", chance.choice((b"\r\n", b"\r", b"\n\n", b"\0", b"\x0c")))


def _encoded(data: bytes, chance: Random) -> bytes:
    return chance.choice((b"\xef\xbb\xbf" + data, data.decode("latin-1").encode("utf-16"), b"\xff" * 100 + data))


def _huge_line(data: bytes, chance: Random) -> bytes:
    return data + b"huge: " + chance.choice((b'"', b"[", b"9", b"")) + chance.choice((b"x", b"9", b"\\")) * 200_000


def _deep(data: bytes, chance: Random) -> bytes:
    depth = chance.choice((100, 1000, 10_000))
    opening, closing = chance.choice(((b"a: {", b"}"), (b"[", b"]")))
    return data + b"\ndeep: " + opening * depth + closing * chance.choice((depth, 0)) + b"\n"


def _emptied(_data: bytes, _chance: Random) -> bytes:
    return b""


_TOKENS = (
    b"{", b"}", b"[", b"]", b":", b",", b'"', b"'", b"#", b"//", b"@local::a", b"@table::a", b"@sequence::a", b"@nil",
    b"BEGIN_PROLOG\n", b"END_PROLOG\n", b'#include "x.fcl"\n', b"@erase", b"\\", b"0x", b"1e999999", b"(1,", b"@id::",
    b"Start of Record\n", b"End of Record\n", b"RUN_RECORD\n", b"DAQInterface stop time: \n", b"Component #9: \n",
)  # fmt: skip

WAYS: tuple[Spoil, ...] = (
    _flip,
    _cut,
    _hole,
    _insert,
    _syntax,
    _syntax,
    _lines_doubled,
    _lines_lost,
    _line_ends,
    _encoded,
    _huge_line,
    _deep,
    _emptied,
)
