"""Rebuild the search indexes of an archive from its documents, after one was lost or damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rra_state.base import files
from rra_state.base.concurrency import locked
from rra_state.base.errors import VerificationError
from rra_state.stores.artdaqdb import directory
from rra_state.stores.artdaqdb import document as documents
from rra_state.stores.artdaqdb.base import RUN_HISTORY, SYSTEM_METADATA
from rra_state.stores.artdaqdb.index import ALIAS, ENTITY, NAME, RUN, Additions, Index


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """Counts of the new indexes. skipped: (file, reason) of each document that they leave out."""

    runs: int
    documents: int
    skipped: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class IndexEntry:
    """The entries of one document in the index. manifest: version, digest and number, if this archiver wrote it."""

    oid: str
    version: str
    configurations: list[tuple[str, str]]
    names: list[tuple[str, str]]
    manifest: tuple[str, str, int] | None


def rebuild(path: Path) -> Rebuilt:
    """Write every collection's index.json from its documents; the old one is kept as index.json.bak.

    A version of this archiver of which documents are missing is left out: each document carries their number. Reads the
    whole archive. Raises StoreError.
    """
    listed, shown = 0, 0
    skipped: list[tuple[str, str]] = []
    whole: set[tuple[str, str, int]] = set()
    with directory.mapped_errors(path), locked(path):
        for collection in _collections(path):
            entries = list(_entries(collection, skipped))
            if collection.name == RUN_HISTORY:
                whole = _whole(entries)
            additions = Additions()
            for each in entries:
                if each.manifest is None or each.manifest in whole:
                    add_entry(additions, each)
                else:
                    skipped.append((f"{collection.name}/{each.oid}.json", "its version was never wholly written"))
            index = Index.empty()
            index.add(additions)
            if (old := collection / NAME).exists():
                files.write_atomic(collection / f"{NAME}.bak", old.read_bytes())
            files.write_atomic(old, index.serialise())
            listed += len(additions.ouid)
            if collection.name == RUN_HISTORY:
                shown = len(index.runs())
    return Rebuilt(shown, listed, tuple(sorted(skipped)))


def _collections(path: Path) -> list[Path]:
    """The collections, RunHistory first: it decides which versions are whole."""
    directories = [each for each in path.iterdir() if each.is_dir() and each.name != SYSTEM_METADATA]
    return sorted(directories, key=lambda each: (each.name != RUN_HISTORY, each.name))


def _entries(collection: Path, skipped: list[tuple[str, str]]) -> Iterator[IndexEntry]:
    for name in sorted(directory.documents(collection)):
        try:
            yield entry(name.removesuffix(".json"), documents.decode((collection / name).read_bytes()))
        except VerificationError as error:
            skipped.append((f"{collection.name}/{name}", error.message))
        except (LookupError, TypeError, ValueError, AttributeError):
            skipped.append((f"{collection.name}/{name}", "not laid out as an artdaqDB document"))


def entry(oid: str, tree: documents.Tree) -> IndexEntry:
    """The index entries of a document. Raises LookupError, TypeError, ValueError or AttributeError if it is none."""
    configurations = [(each["name"], each.get("assigned", "")) for each in tree["configurations"]]
    names = [(ENTITY, each["name"]) for each in tree["entities"]]
    names += [(RUN, each["name"]) for each in tree.get("runs", ())]
    names += [(ALIAS, each["name"]) for each in tree.get("aliases", {}).get("active", ())]
    manifest = documents.manifest(tree)
    return IndexEntry(oid, tree["version"], configurations, names, manifest and (tree["version"], *manifest))


def _whole(entries: list[IndexEntry]) -> set[tuple[str, str, int]]:
    """The versions of this archiver that have all their documents."""
    found = Counter(entry.manifest for entry in entries if entry.manifest)
    return {manifest for manifest, number in found.items() if number == manifest[2]}


def add_entry(additions: Additions, entry: IndexEntry) -> None:
    """Add the entries of a document to `additions`."""
    additions.document(entry.oid, entry.version, entry.configurations)
    for section, name in entry.names:
        additions.name(section, name, entry.oid)
