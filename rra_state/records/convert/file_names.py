"""Names of files in the stores, and the FHiCL by which artdaq's tools show a file that is not FHiCL.

Source: docs/design/run_records.md, Names of files.
"""

from __future__ import annotations

import re

from rra_state.records import fhicl

_ALLOWED = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\/')
_LONGEST = 240


def escaped(name: str) -> str:
    r"""The name in both stores: each byte that artdaqDB or a blob cannot hold becomes `%XX`.

    name: bytes that are not UTF-8 are lone surrogates. Two names may become one; the caller keeps them apart.

    >>> escaped("reader 1.fcl"), escaped("d\xe9tecteur.fcl"), escaped("Z\udce4hlung.fcl"), escaped(".fcl")
    ('reader 1.fcl', 'd%C3%A9tecteur.fcl', 'Z%E4hlung.fcl', '%2Efcl')
    """
    raw = name.encode("utf-8", "surrogateescape")
    is_temporary = raw == b".fcl" or (raw.startswith(b".") and raw.endswith(b".tmp"))
    text = "".join(
        chr(byte) if byte in _ALLOWED and not (is_temporary and at == 0) else f"%{byte:02X}"
        for at, byte in enumerate(raw)
    )
    if text == name or len(text) <= _LONGEST:
        return text
    suffix = ".fcl" if text.endswith(".fcl") else ""
    return text[: _LONGEST - len(suffix)] + suffix


def unescaped(name: str) -> str:
    r"""The inverse of `escaped`, unless the name was cut, or had such a `%XX` itself. Never adds a slash or NUL.

    >>> unescaped("Z%E4hlung.fcl"), unescaped("%2Efcl"), unescaped("100%41.fcl")
    ('Z\udce4hlung.fcl', '.fcl', '100%41.fcl')
    """
    if "%" not in name:
        return name

    def byte(match: re.Match[bytes]) -> bytes:
        value = int(match[1], 16)
        first_dot = value == ord(".") and match.start() == 0
        return match[0] if value in b"/\0" or (value in _ALLOWED and not first_dot) else bytes([value])

    return re.sub(rb"%([0-9A-F]{2})", byte, name.encode("utf-8", "surrogateescape")).decode("utf-8", "surrogateescape")


def as_fhicl(name: str, data: bytes) -> bytes:
    """A FHiCL document that holds name and bytes of a file; `fhicl.unescape` of a value gives them back."""
    pairs = (("file_name", name), ("text", data.decode("utf-8", "surrogateescape")))
    return "".join(f"{key}: {fhicl.quote(value)}\n" for key, value in pairs).encode("ascii")
