from __future__ import annotations

import itertools
import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rra_state.base.errors import IndexDamaged, StoreUnavailable
from rra_state.stores.artdaqdb import index as indexes
from rra_state.stores.artdaqdb.index import Additions, Index
from tests.unit.stores.artdaqdb.artdaqdb_helpers import age, slow_writer

SECTIONS = (indexes.VERSION, indexes.CONFIGURATION, indexes.ENTITY, indexes.ALIAS, indexes.RUN)


def additions(*documents: tuple[str, str, str, str]) -> Additions:
    """From (oid, run, entity, time)."""
    made = Additions()
    for oid, run, entity, time in documents:
        made.document(oid, f"{run}/standard", [(f"{run}/standard", time)])
        made.name(indexes.ENTITY, entity, oid)
        made.name(indexes.RUN, run, oid)
    return made


def test_added_documents_are_listed_in_every_section() -> None:
    index = Index.empty()

    index.add(additions(("b1", "300", "boot", "T1"), ("a2", "300", "setup", "T1")))

    assert json.loads(index.serialise()) == {
        "ouid": ["a2", "b1"],
        "version": {"300/standard": ["a2", "b1"]},
        "configurations.name": {"300/standard": ["a2", "b1"]},
        "entities.name": {"boot": ["b1"], "setup": ["a2"]},
        "aliases.active.name": {},
        "runs.name": {"300": ["a2", "b1"]},
        "configurations.assigned": {"300/standard": ["T1"]},
    }


def test_what_a_foreign_program_added_survives() -> None:
    foreign = json.loads(indexes.EMPTY) | {"notes": {"a": [1, True, "\u00e9"]}, "version": {"a b/\u00e9\\": ["x"]}}
    index = Index.parse(json.dumps(foreign).encode())

    index.add(additions(("b1", "300", "boot", "T1")))

    tree = json.loads(index.serialise())
    assert tree["notes"] == foreign["notes"]
    assert tree["version"] == {"a b/\u00e9\\": ["x"], "300/standard": ["b1"]}


Entries = list[tuple[str, str, str, str]]
documents = st.lists(
    st.tuples(
        st.text("0123456789abcdef", min_size=1, max_size=3),
        st.sampled_from(["1", "2", "30"]),
        st.sampled_from(["boot", "setup"]),
        st.sampled_from(["T1", "T2"]),
    ),
    max_size=12,
)


@given(documents, documents)
def test_lists_stay_sorted_and_unique(first: Entries, second: Entries) -> None:
    index = Index.empty()

    index.add(additions(*first))
    index.add(additions(*second))
    again = index.add(additions(*first))

    tree = json.loads(index.serialise())
    assert not again
    assert tree["ouid"] == sorted({oid for oid, *_ in first + second})
    for section in SECTIONS:
        assert all(items == sorted(set(items)) for items in tree[section].values())
    assert tree["runs.name"] == {
        run: sorted({oid for oid, each, *_ in first + second if each == run}) for _, run, *_ in first + second
    }


@given(documents)
def test_a_written_index_is_read_as_it_was(entries: Entries) -> None:
    index = Index.empty()
    index.add(additions(*entries))

    again = Index.parse(index.serialise())

    assert again.serialise() == index.serialise()


def test_runs_are_found_by_configuration_or_run_name() -> None:
    tree = json.loads(indexes.EMPTY)
    names = ("300/standard", "0301/x", "302", "tmp/x", "303/a b/c", "\u0663/x", "99999999999999999999/x", "304/empty")
    tree["configurations.name"] = {name: ["a"] for name in names} | {"304/empty": []}
    tree["runs.name"] = {"305": ["b"], "notprovided": ["c"], "306": []}

    assert Index.parse(json.dumps(tree).encode()).runs() == {300, 303, 305}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        '{"ouid":[], "version":{}, "configurations.name":{}}',
        '{"ouid":[], "version":[], "configurations.name":{}, "entities.name":{}}',
        '{"ouid":[], "version":{"a":"b"}, "configurations.name":{}, "entities.name":{}}',
        '{"ouid":[1], "version":{}, "configurations.name":{}, "entities.name":{}}',
        '{"ouid":[], "version":{"\\ud800":[]}, "configurations.name":{}, "entities.name":{}}',
        "[" * 100_000,
    ],
)
def test_a_damaged_index_is_never_taken_for_an_empty_one(tmp_path: Path, text: str) -> None:
    path = tmp_path / "index.json"
    path.write_text(text)
    age(path)

    with pytest.raises(IndexDamaged) as caught:
        indexes.read(path)

    assert caught.value.path == str(path)
    assert "rebuild" in str(caught.value)


def test_an_index_that_is_no_text_is_damaged(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(b'{"ouid":["\xff"]}')
    age(path)

    with pytest.raises(IndexDamaged):
        indexes.read(path)


def test_sections_that_reading_does_not_need_may_be_missing() -> None:
    index = Index.parse(b'{"ouid":[], "version":{}, "configurations.name":{"300/a":["x"]}, "entities.name":{}}')

    assert index.runs() == {300}


def test_an_index_that_changes_while_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(indexes.EMPTY)
    later = Index.empty()
    later.add(additions(("b1", "300", "boot", "T1")))
    parse, once = Index.parse, iter([later.serialise()])

    def changed_meanwhile(raw: bytes) -> Index:
        for data in once:
            path.write_bytes(data)
        return parse(raw)

    monkeypatch.setattr(Index, "parse", changed_meanwhile)

    assert indexes.read(path)[0].runs() == {300}


def test_an_index_that_never_stops_changing_is_not_called_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(indexes.EMPTY)
    parse = Index.parse
    times = itertools.count(1)

    def changed_meanwhile(raw: bytes) -> Index:
        os.utime(path, (0, next(times)))
        return parse(raw)

    monkeypatch.setattr(indexes, "WAIT_SECONDS", 0.3)
    monkeypatch.setattr(Index, "parse", changed_meanwhile)

    with pytest.raises(StoreUnavailable, match="artdaq's tools") as caught:
        indexes.read(path)

    assert caught.value.path == str(path)


def test_case_d5_an_index_being_rewritten_is_waited_for(tmp_path: Path) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(indexes.EMPTY)
    later = Index.empty()
    later.add(additions(("b1", "300", "boot", "T1")))

    with slow_writer(path, later.serialise()):
        index, stamp = indexes.read(path)

    assert index.runs() == {300}
    assert stamp == indexes.stamp(path)


def test_case_d5_a_killed_writer_leaves_a_damaged_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "index.json"
    path.write_bytes(indexes.EMPTY[:40])
    monkeypatch.setattr(indexes, "WAIT_SECONDS", 0.3)

    with pytest.raises(IndexDamaged) as caught:
        indexes.read(path)

    assert caught.value.path == str(path)


def test_a_long_list_stays_sorted_and_unique() -> None:
    index, oids = Index.empty(), [f"{number:024x}" for number in range(1, 20_000, 2)]
    index.add(additions(*((oid, "300", "boot", "T1") for oid in oids)))
    new = [f"{number:024x}" for number in (0, 4, 6, 9_998, 20_000, 20_002)]

    changed = index.add(additions(*((oid, "301", "boot", "T2") for oid in (*new, oids[0], oids[77], oids[-1]))))

    tree = json.loads(index.serialise())
    assert changed
    assert tree["ouid"] == tree["entities.name"]["boot"] == sorted([*oids, *new])
