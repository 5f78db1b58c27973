from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from rra_state.base.errors import IndexDamaged
from rra_state.stores.artdaqdb import index as indexes
from rra_state.stores.artdaqdb.index import Additions, Index
from rra_state.stores.artdaqdb.index_text import Section, split

SECTIONS = (indexes.VERSION, indexes.CONFIGURATION, indexes.ENTITY, indexes.ALIAS, indexes.RUN, indexes.ASSIGNED)

names = st.text("01/v a.:,[]{}", min_size=1, max_size=4)
oids = st.text("0123456789abcdef", min_size=1, max_size=3)


@st.composite
def additions(draw: st.DrawFn) -> Additions:
    made = Additions()
    for _ in range(draw(st.integers(1, 6))):
        oid, name = draw(oids), draw(names)
        made.document(oid, draw(names), [(name, draw(st.sampled_from(("T1", "T:2"))))])
        made.name(draw(st.sampled_from(SECTIONS)), draw(names), oid)
    return made


def written(*several: Additions) -> bytes:
    index = Index.empty()
    for each in several:
        index.add(each)
    return index.serialise()


def content(index: Index) -> dict[str, object]:
    return {name: {key: index.oids(name, key) for key in index.keys(name)} for name in SECTIONS}


def parsed(text: bytes) -> Index:
    """The same index by way of a JSON parser, which every other layout takes."""
    return Index.parse(json.dumps(json.loads(text)).encode())


@given(additions())
def test_the_text_of_an_index_says_what_a_json_parser_finds(first: Additions) -> None:
    text = written(first)

    assert split(text, "ouid", SECTIONS) is not None
    assert content(Index.parse(text)) == content(parsed(text))


@given(additions(), additions())
def test_adding_to_a_text_gives_what_adding_to_lists_gives(first: Additions, more: Additions) -> None:
    text = written(first)
    as_text, as_lists = Index.parse(text), parsed(text)

    changed = as_text.add(more)

    assert changed == as_lists.add(more)
    assert as_text.serialise() == as_lists.serialise()


@given(additions(), additions(), st.integers(0, 99))
def test_what_is_asked_for_is_found_whether_or_not_the_text_was_taken_apart(
    first: Additions, more: Additions, run: int
) -> None:
    text = written(first)
    as_text, as_lists = Index.parse(text), parsed(text)
    as_text.add(more)
    as_lists.add(more)

    for section in (indexes.CONFIGURATION, indexes.VERSION):
        assert list(as_text.of_run(section, run)) == list(as_lists.of_run(section, run))
    for name in ("0", "1/v", f"{run}"):
        assert as_text.oids(indexes.RUN, name) == as_lists.oids(indexes.RUN, name)
    assert as_text.runs() == as_lists.runs()
    assert as_text.without({0, 1, 10, 11, 100}) == {0, 1, 10, 11, 100} - as_lists.runs()


@given(
    additions(),
    st.integers(0),
    st.sampled_from((b"", b'"', b"\\", b"\0", b",", b"\n", b"]", b"x", b"\xff")),
    st.integers(0, 2),
)
def test_a_damaged_text_is_never_taken_for_another_index(
    first: Additions, place: int, put: bytes, instead_of: int
) -> None:
    text = written(first)
    place %= len(text)
    damaged = text[:place] + put + text[place + instead_of :]

    try:
        found = content(Index.parse(damaged))
    except IndexDamaged:
        return

    tree = json.loads(damaged)
    assert found == {name: tree.get(name, {}) for name in SECTIONS}


def test_a_name_that_begins_like_another_is_another() -> None:
    text = b'"1/ab" : [\n"x"\n],\n"1/a" : [\n"y"\n],\n"11/a" : [\n"z"\n]'
    section = Section({}, text, (0, len(text)))

    assert [section.get(name) for name in ("1/a", "1/ab", "1/", "/a")] == [b"y", b"x", b"", b""]
    assert section.below("1") == ["1/ab", "1/a"]


def test_a_section_that_is_asked_often_is_taken_apart_once() -> None:
    text = b",\n".join(b'"%d/a" : [\n"x%d"\n]' % (run, run) for run in range(100))
    section = Section({}, text, (0, len(text)))

    found = [section.get(f"{run}/a") for run in range(100)]

    assert found == [b"x%d" % run for run in range(100)]
    assert b"".join(section.parts()) == text
