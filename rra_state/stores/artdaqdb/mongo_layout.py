"""How a run lies in MongoDB: the form of its documents before they are shown, and which documents make a version.

Reads and writes no database. Rules: docs/design/artdaqdb.md, MongoDB.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import bson
from bson import ObjectId
from bson.errors import InvalidDocument

from rra_state.base import run_numbers
from rra_state.base.errors import RecordError
from rra_state.base.wording import count
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb import lookup
from rra_state.stores.artdaqdb.base import COLLECTIONS, RUN_HISTORY, Item, Location, Staged
from rra_state.stores.artdaqdb.document import Tree
from rra_state.stores.artdaqdb.index import Additions, Index
from rra_state.stores.artdaqdb.rebuild import add_entry, entry

LARGEST = 16 * 2**20
"""Bytes of a document that MongoDB holds. Source: MongoDB Limits and Thresholds, BSON Document Size."""
DEEPEST = 100
"""Levels of a document that MongoDB holds. Source: MongoDB Limits and Thresholds, Nested Depth for BSON Documents."""
TOO_DEEP = f"it is nested more deeply than the {DEEPEST} levels of a MongoDB document"
HEAD = {
    **dict.fromkeys(("version", "entities", "configurations", "runs", "aliases"), 1),
    "origin.rawdata": {"$slice": [2, 8]},
}
"""What is read of a document to find a version: its names, and what `document.manifest` needs, without the text."""
ORIGIN = {
    "rawdata": {"$cond": [{"$isArray": "$origin.rawdata"}, {"$slice": ["$origin.rawdata", 2, 8]}, []]},
}
"""The same of `origin`, as an expression for an aggregation."""
OURS = {"origin.rawdata": "rra:base64"}
"""Filter for documents of this archiver, before and after artdaq's tools rewrote them."""
STAGED = "rra:staged"
"""Begin of the version of a document that is not shown yet; a newline ends each part of it."""
NOT_SHOWN: Tree = {"version": {"$gte": f"{STAGED}\n", "$lt": f"{STAGED}\x0b"}}
"""Filter for documents that are not shown yet: VT is the character after a newline."""


# ---- documents that are not shown yet --------------------------------------------------------------------------------


def staged_version(version: str, assigned: str) -> str:
    """The version that a document has until it is shown. It differs between two tries to store the same version."""
    return f"{STAGED}\n{version}\n{assigned}"


def version_of(staged: str) -> str:
    """The version that a staged document is to have."""
    return staged.split("\n")[1]


def hidden(tree: Tree) -> Tree:
    """A document as it is stored first: nothing finds it by configuration, entity, run or version.

    Raises RecordError if artdaq or MongoDB cannot hold it.
    """
    documents.encode(tree)
    assigned = tree["configurations"][0]["assigned"]
    stored = {**tree, "_id": ObjectId(tree["_id"]["$oid"])}
    try:
        size = len(bson.encode(stored))
    except InvalidDocument as error:
        raise RecordError(f"MongoDB does not take its documents: {error}") from error
    if size > LARGEST:
        entity = tree["entities"][0]["name"]
        text = f"MongoDB does not take its documents: {entity} would be {size} bytes, {LARGEST} are allowed"
        raise RecordError(text, hint="does the file belong to the record? PostgreSQL takes larger ones")
    unseen = {"version": staged_version(tree["version"], assigned), "entities": [], "configurations": [], "runs": []}
    return stored | unseen


def shown(staged: Staged, item: Item) -> tuple[Tree, Tree]:
    """The filter for a document of a staged version, and the update that shows it."""
    location, assigned = staged.location, staged.assigned

    def named(name: str) -> list[dict[str, str]]:
        return [{"name": name, "assigned": assigned}]

    names = {
        "version": location.version,
        "entities": named(item.entity),
        "configurations": named(location.configuration),
        "runs": named(str(location.run)),
    }
    return {"_id": ObjectId(item.oid), "version": staged_version(location.version, assigned)}, {"$set": names}


def too_deep(tree: Tree) -> bool:
    """Whether a document has more levels than MongoDB takes."""
    level: list[Any] = [tree]
    for _ in range(DEEPEST):
        level = [
            each
            for outer in level
            for each in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(each, dict | list)
        ]
        if not level:
            return False
    return True


# ---- which documents make a version ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Manifest:
    """The content that a document of this archiver belongs to: its version, digest and number of documents."""

    version: str
    content: str
    number: int


def manifest_of(tree: Tree) -> _Manifest | None:
    """From a whole document or its head (`HEAD`); None if another program wrote it."""
    rawdata = (tree.get("origin") or {}).get("rawdata")
    if not isinstance(rawdata, list):
        return None
    pairs = dict(zip(rawdata[::2], rawdata[1::2], strict=False))
    try:
        return _Manifest(tree["version"], pairs["rra:content"], int(pairs["rra:documents"]))
    except (LookupError, ValueError):
        return None


def whole(history: Iterable[Tree]) -> dict[str, _Manifest]:
    """The versions of this archiver of which RunHistory has every document, each with its content.

    Entities are counted, not documents: artdaq's tools rewrite one by adding a copy before they delete the old one.
    """
    entities: defaultdict[_Manifest, set[str]] = defaultdict(set)
    for tree in history:
        if (manifest := manifest_of(tree)) is not None:
            entities[manifest].update(_entities(tree))
    return {each.version: each for each, names in entities.items() if len(names) == each.number}


def locate(heads: Mapping[str, Sequence[Tree]], runs: Iterable[int]) -> dict[int, Location]:
    """The newest version of each of these runs, chosen by the same rules as in a directory (`lookup`).

    heads: by collection. A document of this archiver counts if its version is whole. Its item has the object id that it
    was stored with, whatever id artdaq's tools gave it since; so it is found by collection, version and entity. What
    another program stored under such a version is passed over.
    """
    stored = whole(heads[RUN_HISTORY])
    listed = {name: Additions() for name in COLLECTIONS}
    beside: Counter[str] = Counter()
    broken: set[str] = set()
    for collection, trees in heads.items():
        for tree in trees:
            version, manifest = str(tree.get("version")), manifest_of(tree)
            if manifest is not None and stored.get(version) == manifest:
                for entity in _entities(tree):
                    _add(listed[collection], documents.object_id(collection, version, entity), tree)
            elif version in stored:
                beside[version] += collection == RUN_HISTORY
            elif manifest is not None or _has_our_id(collection, tree):
                broken.add(version)
            else:
                _add(listed[collection], str(tree["_id"]), tree)
    indexes = {name: Index.empty() for name in COLLECTIONS}
    for name, additions in listed.items():
        indexes[name].add(additions)
    located = lookup.locate(indexes, runs)
    return {run: _with_remarks(found, beside, broken) for run, found in located.items()}


def _with_remarks(location: Location, beside: Counter[str], broken: set[str]) -> Location:
    unfinished = tuple(
        f"version {version} was never wholly stored"
        for version in sorted(broken)
        if lookup.version_number(location.configuration, version) is not None
    )
    number = beside[location.version]
    others = (f"{count(number, 'document')} of another program under version {location.version} as well",)
    return replace(location, passed_over=location.passed_over + unfinished, beside=others if number else ())


def documents_of(location: Location, history: Sequence[Tree]) -> dict[Item, Tree]:
    """The documents of a version among those that RunHistory has; what is missing is left out."""
    stored = whole(history).get(location.version)
    by_id = {str(tree["_id"]): tree for tree in history}
    by_name: dict[str, Tree] = {}
    for tree in history:
        if tree["version"] == location.version and (stored is None or manifest_of(tree) == stored):
            by_name |= dict.fromkeys(_entities(tree), tree)
    found = {}
    for item in location.items:
        ours = documents.is_ours(item, location.version)
        chosen = (None if ours else by_id.get(item.oid)) or by_name.get(item.entity)
        if item.collection == RUN_HISTORY and chosen is not None:
            found[item] = chosen | {"_id": {"$oid": item.oid}}
    return found


def run_of(version: str) -> int | None:
    """The run that a version is of, by its name `300/standard`; None if it is named otherwise."""
    prefix, slash, _ = version.partition("/")
    return run_numbers.number(prefix) if slash else None


def _add(additions: Additions, oid: str, tree: Tree) -> None:
    with suppress(LookupError, TypeError, ValueError, AttributeError):  # not an artdaqDB document
        add_entry(additions, entry(oid, tree))


def _entities(tree: Tree) -> Iterator[str]:
    for each in tree.get("entities") or ():
        yield each["name"]


def _has_our_id(collection: str, tree: Tree) -> bool:
    version = str(tree.get("version"))
    return any(documents.object_id(collection, version, entity) == str(tree["_id"]) for entity in _entities(tree))
