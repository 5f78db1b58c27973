"""boot.txt to boot.fcl. Source: docs/design/run_records.md, Boot file."""

from __future__ import annotations

import re

from rra_state.records import fhicl
from rra_state.records.convert import lines
from rra_state.records.convert.entries import Entries

_SUBSYSTEM = re.compile(r"Subsystem(?:[ \t]+(\w+)|_(id|source|destination|fragmentMode))", re.ASCII)
_PROCESS = re.compile(
    r"(BoardReader|EventBuilder|DataLogger|Dispatcher|RoutingManager|RoutingMaster|Aggregator)"
    r"(?:[ \t]+(\w+)|_(host|label|port|subsystem|allowed_processors|target|prepend))",
    re.ASCII,
)
_SUBSYSTEM_ORDER = ("id", "source", "destination")
_PROCESS_ORDER = ("name", "label", "host", "port", "subsystem")
_TEXT_ATTRIBUTES = ("name", "label", "host")
_REPEATABLE = ("source",)

Block = dict[str, list[str]]
"""The values of each attribute of one process or subsystem, as they stand in the text."""


def to_fhicl(data: bytes) -> bytes:
    """Top-level pairs, then `subsystem_settings` if there are subsystems, then always `artdaq_process_settings`.

    An empty line, a comment line or the end of the file closes a block; so does an attribute that it has already.
    """
    entries = Entries()
    subsystems: list[Block] = []
    processes: list[Block] = []
    subsystem: Block | None = None
    process: Block | None = None
    for number, line in enumerate(lines.split(data), 1):
        text = lines.strip(line)
        if not text or text.startswith("#"):
            subsystem = process = None
            continue
        key, colon, value = text.partition(":")
        key, value = lines.strip(key), lines.without_comment(value)
        if not colon:
            entries.add(f"line_{number}", fhicl.quote(text))
        elif match := _SUBSYSTEM.fullmatch(key):
            subsystem = _put(subsystem, match[1] or match[2], value, subsystems)
        elif match := _PROCESS.fullmatch(key):
            if process and process["name"] != [match[1]]:
                process = None
            process = _put(process, match[2] or match[3], value, processes, name=match[1])
        else:
            entries.add(re.sub(r"[ \t]+", "_", key), lines.literal(value))
    if subsystems:
        entries.comment("")
        entries.add("subsystem_settings", _tables(subsystems, _SUBSYSTEM_ORDER))
    for process in processes:
        process.setdefault("host", ["not set"])
    entries.comment("")
    entries.add("artdaq_process_settings", _tables(processes, _PROCESS_ORDER))
    return entries.text().encode("ascii")


def _put(block: Block | None, attribute: str, value: str, blocks: list[Block], name: str | None = None) -> Block:
    """Add an attribute to the open block, or to a new one if none is open or the open one has it already."""
    if block is None or (attribute in block and attribute not in _REPEATABLE):
        block = {} if name is None else {"name": [name]}
        blocks.append(block)
    block.setdefault(attribute, []).append(value)
    return block


def _tables(blocks: list[Block], order: tuple[str, ...]) -> str:
    tables = []
    for block in blocks:
        attributes = [key for key in order if key in block] + [key for key in block if key not in order]
        entries = Entries()
        for attribute in attributes:
            entries.add(attribute, _value(attribute, block[attribute]))
        tables.append("{\n" + entries.body("  ") + "}")
    return "[\n" + ",\n".join(tables) + ("\n]" if tables else "]")


def _value(attribute: str, values: list[str]) -> str:
    literals = [_text(value) if attribute in _TEXT_ATTRIBUTES else lines.literal(value) for value in values]
    return literals[0] if len(literals) == 1 else f"[{', '.join(literals)}]"


def _text(value: str) -> str:
    inner = lines.unquoted(value)
    return fhicl.quote(value if inner is None else inner)
