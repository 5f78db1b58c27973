"""What differs between the records of two runs: a made-up pair, and real ones beside their evaluated FHiCL."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from rra_state.base.errors import FhiclError
from rra_state.records import convert, fhicl
from rra_state.records.comparison import FileChange, RecordComparison, compare, contents
from rra_state.records.model import Record, SourceFile
from tests.records import read_record
from tests.samples import RECORDS, with_real_records

PAIR = Path(__file__).parents[2] / "data" / "record_pair"


def files_of(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


def compared(before: Mapping[str, bytes], after: Mapping[str, bytes]) -> RecordComparison:
    return compare(contents(1, before), contents(2, after))


def by_name(found: RecordComparison) -> dict[str, FileChange]:
    return {each.name: each for each in found.files}


def texts(change: FileChange) -> list[tuple[str, str | None, str | None]]:
    return [
        (each.name, each.before.text if each.before else None, each.after.text if each.after else None)
        for each in change.parameters
    ]


def test_a_made_up_pair_differs_as_a_person_finds_it() -> None:
    found = compared(files_of(PAIR / "before"), files_of(PAIR / "after"))
    changes = by_name(found)

    assert {name: (change.how, change.fhicl) for name, change in changes.items()} == {
        "boot.txt": ("bytes", True),
        "notes.txt": ("changed", False),
        "metadata.txt": ("changed", True),
        "reader01.fcl": ("changed", True),
        "reader02.fcl": ("went", True),
        "reader03.fcl": ("came", True),
    }
    assert texts(changes["reader01.fcl"]) == [
        ("reader01.daq.channels[2]", "3", "30"),
        ("reader01.daq.channels[10]", None, "11"),
        ("reader01.daq.fragment_receiver.generator", '"KestrelA"', '"KestrelB"'),
        ("reader01.daq.fragment_receiver.mask", "255", '"0xFF"'),
        ("reader01.daq.fragment_receiver.table", "{}", "[]"),
        ("reader01.daq.fragment_receiver.tag", "@nil", None),
    ]
    assert texts(changes["reader03.fcl"]) == [("reader03.daq.fragment_receiver.generator", None, '"KestrelC"')]
    assert (found.components_came, found.components_went) == (("reader03",), ("reader02",))


def test_a_record_does_not_differ_from_itself() -> None:
    assert compared(files_of(PAIR / "before"), files_of(PAIR / "before")).equal


def test_a_text_known_by_value_only_is_compared_by_value() -> None:
    files = files_of(PAIR / "before")
    record = Record(1, tuple(SourceFile(*each) for each in files.items()), (), "", None, None)
    stored = {each.name: each.text for each in convert.convert(record).documents}
    by_value = [each.name for each in convert.convert(record).documents if each.source]

    same = compare(contents(1, files), contents(1, stored, by_value))
    other = compare(contents(1, files_of(PAIR / "after")), contents(1, stored, by_value))

    assert same.equal
    assert "boot.txt" not in by_name(other)


def test_what_is_no_fhicl_is_compared_by_its_bytes() -> None:
    assert compared({"a.fcl": b"x: 1\n"}, {"a.fcl": b"x: {\n"}).files == (FileChange("a.fcl", "changed", fhicl=False),)


def leaves(values: fhicl.Plain, name: str) -> dict[str, object]:
    """Full names and values, in another way than the archiver's."""
    if isinstance(values, dict) and values:
        return {k: v for key, each in values.items() for k, v in leaves(each, f"{name}.{key}").items()}
    if isinstance(values, list) and values:
        return {k: v for n, each in enumerate(values) for k, v in leaves(each, f"{name}[{n}]").items()}
    return {name: (type(values), values)}


def by_hand(run: int) -> tuple[dict[str, object], set[str]]:
    """Every parameter of a real record, from the evaluated FHiCL of its documents; and the files that are no FHiCL."""
    found: dict[str, object] = {}
    unreadable = set()
    for document in convert.convert(read_record(RECORDS / str(run), run)).documents:
        if document.is_fcl and document.entity not in ("RunHistory", "RunHistory2"):
            try:
                values = fhicl.values(document.text)
            except FhiclError:
                unreadable.add(document.name)
                continue
            found |= {k: v for key, each in values.items() for k, v in leaves(each, f"{document.entity}.{key}").items()}
    return found, unreadable


@with_real_records
@pytest.mark.parametrize(("before", "after"), [(7053, 7056), (7001, 7026)])
def test_real_records_differ_as_their_evaluated_fhicl_does(before: int, after: int) -> None:
    found = compared(files_of(RECORDS / str(before)), files_of(RECORDS / str(after)))
    (old, bad), (new, bad_too) = by_hand(before), by_hand(after)
    unreadable = bad | bad_too
    compared_by_hand = {
        name: (old.get(name), new.get(name))
        for name in old.keys() | new.keys()
        if old.get(name) != new.get(name) and f"{name.partition('.')[0]}.fcl" not in unreadable
    }

    reported = {each.name: each for file in found.files for each in file.parameters}

    assert reported.keys() == compared_by_hand.keys()
    assert {name for name, each in reported.items() if each.before is None} == reported.keys() - old.keys()
    assert {name for name, each in reported.items() if each.after is None} == reported.keys() - new.keys()
    assert {each.name for each in found.files if not each.fhicl} == unreadable
    there = {run: {path.name for path in (RECORDS / str(run)).iterdir()} for run in (before, after)}
    assert {each.name for each in found.files if each.how == "came"} == there[after] - there[before]
    assert {each.name for each in found.files if each.how == "went"} == there[before] - there[after]
