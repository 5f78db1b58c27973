"""settings.txt to settings.fcl. Source: docs/design/run_records.md, Settings."""

from __future__ import annotations

import re

from rra_state.records import fhicl
from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

_JOINTS = re.compile(r"[ \t\-()/#.]+")


def to_fhicl(data: bytes) -> bytes:
    """One definition per `key: value`; comment lines and trailing comments go, list items stay as they are."""
    entries = Entries()
    for number, line in enumerate(lines.split(data), 1):
        text = lines.strip(line)
        if not text or text.startswith("#"):
            continue
        key, colon, value = text.partition(":")
        if colon:
            key = lines.strip(key)
            entries.add(_JOINTS.sub("_", key), _value(lines.without_comment(value, anywhere=True)), origin=_origin(key))
        else:
            entries.add(f"line_{number}", fhicl.quote(text))
    return entries.text().encode("ascii")


def _value(value: str) -> str:
    if value.lower() in ("true", "false"):
        return value.lower()
    listed = lines.sequence(value)
    return lines.literal(value) if listed is None else listed


def _origin(key: str) -> str | None:
    """DAQInterface takes blanks and `_` in a key for the same, so only other changes are worth a comment."""
    return key if _JOINTS.sub("_", key) != re.sub(r"[ \t]+", "_", key) else None
