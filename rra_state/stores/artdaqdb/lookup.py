"""Choose the documents of a run from the indexes: its configuration, its newest version, no duplicates.

Works on indexes in memory; reads no file. Rules: docs/design/artdaqdb.md, Updates and duplicates.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter

from rra_state.stores.artdaqdb.base import RUN_HISTORY, Item, Location
from rra_state.stores.artdaqdb.document import HASHES, is_ours
from rra_state.stores.artdaqdb.index import ASSIGNED, CONFIGURATION, ENTITY, RUN, VERSION, Index

_UNKNOWN = -1
"""Version number of a document whose version is not `<configuration>vN`: older than all others."""


def version_number(configuration: str, version: str) -> int | None:
    """N of `<configuration>vN`, 0 for the first version, None for another configuration's.

    >>> version_number("300/standard", "300/standardv10")
    10
    """
    if version == configuration:
        return 0
    prefix, digits = version[: len(configuration) + 1], version[len(configuration) + 1 :]
    numbered = prefix == f"{configuration}v" and digits.isascii() and digits.isdigit() and len(digits) < 10
    return int(digits) if numbered else None


def version_name(configuration: str, number: int) -> str:
    """Name of version N: the first has no suffix."""
    return f"{configuration}v{number}" if number > 0 else configuration


def locate(
    indexes: dict[str, Index],
    runs: Iterable[int],
    hidden: Collection[str] = frozenset(),
    below: int | None = None,
) -> dict[int, Location]:
    """The newest version of each run that RunHistory's index lists; other runs are left out.

    indexes: by collection. hidden: configurations to ignore. below: number of the first version to ignore. Of several
    configurations of a run the one assigned last is taken.
    """
    others: dict[int, tuple[str, ...]] = {}
    chosen = {}
    for run in runs:
        name, others[run] = _configuration(indexes[RUN_HISTORY], run, hidden)
        if name is not None:
            chosen[run] = name
    found: dict[int, list[tuple[int, list[Item]]]] = {run: [] for run in chosen}
    for collection, index in indexes.items():
        for run, content in _content(collection, index, chosen, below).items():
            found[run].append(content)
    located = {}
    for run, contents in found.items():
        items = tuple(sorted((item for _, each in contents for item in each), key=attrgetter("collection", "entity")))
        newest = max((number for number, _ in contents), default=0)
        version = version_name(chosen[run], newest)
        # The sums of the existing archiver alone are no run; the content decides, see `document.StoredFile`.
        if any(item.collection == RUN_HISTORY and (item.entity != HASHES or is_ours(item, version)) for item in items):
            assigned = tuple(indexes[RUN_HISTORY].oids(ASSIGNED, chosen[run]))
            located[run] = Location(run, chosen[run], version, items, assigned, others[run])
    return located


def last_assigned(location: Location) -> float:
    """When something was last stored in the configuration, seconds since 1970; 0 if that is not known."""
    return _latest(location.assigned).timestamp()


def is_all_ours(location: Location) -> bool:
    """Whether this archiver wrote every document of a version, by the object ids; False for artdaq's tools."""
    return all(is_ours(item, location.version) or item.entity == HASHES for item in location.items)


def _configuration(index: Index, run: int, hidden: Collection[str]) -> tuple[str | None, tuple[str, ...]]:
    """The configuration that a run is read under, and a sentence for each that was only assigned to its documents.

    It is the one assigned last; of equal times the greatest name.
    """
    names = index.of_run(CONFIGURATION, run)
    if not names:  # the configuration was named by hand, without the run number
        by_document = index.names_of(CONFIGURATION, index.oids(RUN, str(run)))
        names = sorted({name for each in by_document.values() for name in each})
    shown = [name for name in names if name not in hidden]
    assigned = [name for name in shown if len(shown) > 1 and _is_only_assigned(index, run, name, shown)]
    stored = [name for name in shown if name not in assigned] or shown
    others = tuple(f"documents of it are assigned to {name} as well" for name in assigned if stored is not shown)
    return max(stored, key=lambda name: (_latest(index.oids(ASSIGNED, name)), name), default=None), others


def _is_only_assigned(index: Index, run: int, configuration: str, others: Sequence[str]) -> bool:
    """Whether nothing was stored under a configuration: artdaq's tools assigned documents of another one to it."""
    if any(version_number(configuration, version) is not None for version in index.of_run(VERSION, run)):
        return False
    documents = set(index.oids(CONFIGURATION, configuration))
    return any(documents.issubset(index.oids(CONFIGURATION, each)) for each in others if each != configuration)


def _latest(times: Iterable[str]) -> datetime:
    return max(map(_moment, times), default=_LONG_AGO)


_LONG_AGO = datetime.fromtimestamp(0, UTC)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError:
        return _LONG_AGO


def _content(
    collection: str, index: Index, chosen: dict[int, str], below: int | None
) -> dict[int, tuple[int, list[Item]]]:
    """Newest version number and documents of each run in one collection; runs without documents are left out."""
    listed = {run: _documents(index, run, configuration) for run, configuration in chosen.items()}
    wanted = {oid for documents in listed.values() for oid in documents}
    entities = index.names_of(ENTITY, wanted)
    versions = _versions(index, chosen, listed)
    content = {}
    for run, documents in listed.items():
        by_number: dict[int, list[Item]] = {}
        for oid in documents:
            if below is not None and versions.get(oid, _UNKNOWN) >= below:
                continue
            items = [Item(collection, entity, oid) for entity in entities.get(oid, ())]
            by_number.setdefault(versions.get(oid, _UNKNOWN), []).extend(items)
        if by_number:
            content[run] = max(by_number), _newest(chosen[run], by_number)
    return content


def _documents(index: Index, run: int, configuration: str) -> Sequence[str]:
    """Documents of a run: all of its configuration, or, if runs share that configuration, those that name the run."""
    oids = index.oids(CONFIGURATION, configuration)
    if configuration.startswith(f"{run}/"):
        return oids
    own = set(index.oids(RUN, str(run)))
    return [oid for oid in oids if oid in own]


def _versions(index: Index, chosen: dict[int, str], listed: Mapping[int, Sequence[str]]) -> dict[str, int]:
    """Version number of each document. Configurations are compared too: `300/av1` may be a name or a version."""
    numbers: dict[str, int] = {}
    for run, configuration in chosen.items():
        own = set(listed[run])
        prefixed = configuration.startswith(f"{run}/")
        names = index.of_run(VERSION, run) if prefixed else index.keys(VERSION)
        for name in names:
            number = version_number(configuration, name)
            if number is not None:
                numbers.update((oid, number) for oid in index.oids(VERSION, name) if oid in own)
    return numbers


def _newest(configuration: str, by_number: dict[int, list[Item]]) -> list[Item]:
    """The newest document of each entity.

    A version of this archiver holds the whole run, so older versions are ignored. An update by the existing archiver
    holds only RunHistory2 and schema; the other documents are in older versions.
    """
    chosen: dict[str, Item] = {}
    for number in sorted(by_number, reverse=True):
        version = version_name(configuration, number)
        ours = {item.oid for item in by_number[number] if is_ours(item, version)}
        newest: dict[str, Item] = {}
        for item in sorted(by_number[number], key=lambda item: (item.oid not in ours, item.oid)):
            newest.setdefault(item.entity, item)
        chosen = newest | chosen
        if ours:
            break
    return list(chosen.values())
