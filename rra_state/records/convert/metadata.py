"""metadata.txt to metadata.fcl. Source: docs/design/run_records.md, Conversion of metadata.txt."""

from __future__ import annotations

import re

from rra_state.records import fhicl
from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

_COMPONENT = re.compile(r"Component #\d+")
_LOWERED = ("Config name", "DAQInterface start time", "DAQInterface stop time", "Total events")
_ALWAYS_TEXT = ("config_name", "daqinterface_start_time", "daqinterface_stop_time")
_BLOCK = re.compile(r"(\w+(?:[ -]\w+)*) logfiles", re.ASCII)
_WILDCARD = re.compile(r"pmt logfiles?(?:\(s\))?")
_ENDS_BLOCK = re.compile(r"(?:\w+(?: \w+)* logfiles|DAQInterface (?:start|stop) time|Total events):", re.ASCII)


def to_fhicl(data: bytes) -> bytes:
    """All layouts since 2016. A block that is open at the end of the file is kept, and so is a cut-off line in it.

    `pmt logfile(s)`, aggregator, routingmaster and any other `<kind> logfiles` are known; lines without a colon become
    `line_<number>`.
    """
    entries = Entries()
    components: list[str] | None = None
    block: list[str] | None = None
    for number, line in enumerate(lines.split(data), 1):
        text = lines.strip(line)
        if text.startswith("#"):
            entries.comment(line)
        elif not text:
            block = None
        elif block is not None and not _ENDS_BLOCK.match(text):
            block.append(text)
        else:
            key, colon, value = text.partition(":")
            key, value, block = lines.strip(key), lines.strip(value), None
            if not colon:
                entries.add(f"line_{number}", fhicl.quote(text))
            elif _COMPONENT.match(key):
                if components is None:
                    components = []
                    entries.add("components", components)
                components.append(value)
            elif kind := _BLOCK.fullmatch(key):
                block = [value] if value else []
                entries.comment("")
                entries.add(f"{_joined(kind[1])}_logfiles", block)
            else:
                _add(entries, key, value)
    return entries.text().encode("ascii")


def _add(entries: Entries, key: str, value: str) -> None:
    if key.startswith(_LOWERED):
        name = re.sub(r"[ \t]+", "_", key.lower())
        entries.add(name, fhicl.quote(value) if name in _ALWAYS_TEXT else lines.literal(value))
    elif "commit/version" in key:
        # The quotes inside become blanks, which readers of existing archives split at.
        name = _joined(key).replace("commit/version", "commit_or_version")
        entries.add(name, fhicl.quote(value.replace('"', " ")))
    elif _WILDCARD.fullmatch(key):
        entries.add("pmt_logfiles_wildcard", fhicl.quote(value))
    else:
        entries.add(_joined(key), lines.literal(value))


def _joined(key: str) -> str:
    return re.sub(r"[ \t-]+", "_", key)
