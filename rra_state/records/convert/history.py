"""RunHistory.fcl, RunHistory2.fcl and the configuration's name, all from metadata.txt.

Source: docs/design/run_records.md, RunHistory documents and Configuration name.
"""

from __future__ import annotations

import re

from rra_state.records import fhicl
from rra_state.records.convert.entries import Entries
from rra_state.records.metadata import Facts

NO_NAME = "standard"
_LONGEST_NAME = 150


def run_history(run: int, facts: Facts) -> bytes:
    """Run number, configuration and components, as far as they are known, each followed by an empty line."""
    parts = [f"run_number: {run}"]
    if facts.config_text is not None:
        parts.append(f"config_name: {fhicl.quote(facts.config_text)}")
    if facts.components:
        parts.append(f"components: {fhicl.sequence(facts.components)}")
    return "".join(f"{part}\n\n" for part in parts).encode("ascii")


def run_history_2(facts: Facts) -> bytes | None:
    """Start and stop time as far as they are there, without a line end after the last; None if there is neither."""
    if not facts.times:
        return None
    entries = Entries()
    for key, value in facts.times:
        entries.add(key.replace(" ", "_"), fhicl.quote(value))
    return entries.text().removesuffix("\n").encode("ascii")


def config_name(text: str | None) -> str:
    """A name that all of artdaq's tools store and export; what they cannot take becomes `_`.

    >>> config_name("subconfigs/push  (new)")
    'subconfigs_push_new_'
    """
    name = re.sub(r"[^A-Za-z0-9_.+-]+", "_", (text or "").strip())[:_LONGEST_NAME]
    return name if name.strip("._") else NO_NAME
