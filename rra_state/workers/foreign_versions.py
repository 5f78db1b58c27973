"""Versions of a run that another program stored in artdaqDB: whether one is whole, and how it differs from the record.

A loader stores a run file by file, so a cycle may see a part of it. Reads and writes nothing.
Source: docs/design/state.md, Runs of other programs in artdaqDB.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from rra_state.base.errors import StillArriving
from rra_state.base.wording import first_of
from rra_state.records.fhicl import meaning
from rra_state.records.model import RunDocuments, entity_of
from rra_state.stores.artdaqdb import lookup
from rra_state.stores.artdaqdb.base import Export, Location
from rra_state.stores.artdaqdb.document import shown_by_tools

_STOP_TIME = re.compile(rb"stop_time\s*:")
"""In RunHistory2, which is stored at a run's end."""


def judge(location: Location, export: Export, record: RunDocuments | None, settle_seconds: float) -> tuple[bool, bool]:
    """Whether a version has everything that the record has, and whether it only lacks files of it and has no others.

    record: None if it is gone. Raises StillArriving if the version is not whole and more may come to it. A time of
    artdaqDB that is further ahead than `settle_seconds` is not believed.
    """
    if record is None:
        equal = extensible = False
        wrong = (
            [] if _STOP_TIME.search(export.files.get("RunHistory2.fcl", b"")) else ["no RunHistory2 with a stop time"]
        )
    else:
        stored, wanted = {entity_of(name) for name in export.files}, {each.entity for each in record.documents}
        wrong = differences_by_meaning(record, export, ours=False)
        equal, extensible = not wrong, stored < wanted and len(wrong) == len(wanted - stored)
    if wrong and abs(time.time() - lookup.last_assigned(location)) < settle_seconds:
        what = f"another program is still storing version {location.version}: {first_of(wrong)}"
        raise StillArriving(what, run=location.run)
    return equal, extensible


def differences_by_meaning(record: RunDocuments, export: Export, *, ours: bool) -> list[str]:
    """A sentence for each file that differs between the record and documents that artdaq's tools wrote.

    Names are compared, and what the FHiCL means. ours: this archiver imported the run. Another program has files of its
    own, and converts texts by its own rules.
    """
    names = {document.entity: document.name for document in record.documents}
    stored = {names.get(name.removesuffix(".fcl"), name): text for name, text in export.files.items()}
    if not ours:
        stored = {name: text for name, text in stored.items() if name in names.values()}
    same = {each.name for each in record.documents if stored.get(each.name) == each.text}
    same |= set() if ours else {each.name for each in record.documents if each.source}
    fresh = {each.name: shown_by_tools(each) for each in record.documents}
    shown, held = ({name: name in same or meaning(text) for name, text in each.items()} for each in (fresh, stored))
    return differing_files("disk", shown, "artdaqDB", held)


def differing_files(one: str, first: Mapping[str, object], other: str, second: Mapping[str, object]) -> list[str]:
    """A sentence for each file that differs between two stores."""
    lines = [f"{other}: {name} is missing, {one} has it" for name in sorted(first.keys() - second.keys())]
    lines += [f"{one}: {name} is missing, {other} has it" for name in sorted(second.keys() - first.keys())]
    lines += [
        f"{one}: {name} is not what {other} has"
        for name in sorted(first.keys() & second.keys())
        if first[name] != second[name]
    ]
    return lines
