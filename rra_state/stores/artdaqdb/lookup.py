"""Which documents make up a run: the rules by which versions, configurations and duplicates are chosen.

Works on indexes in memory; no file is read. Source: docs/design/artdaqdb.md, Updates and duplicates.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from operator import attrgetter

from rra_state.stores.artdaqdb.base import Item, Location, Outline
from rra_state.stores.artdaqdb.document import RUN_HISTORY, is_ours, object_id
from rra_state.stores.artdaqdb.index import ASSIGNED, CONFIGURATION, ENTITY, RUN, VERSION, Index

HASHES = "hashes"
"""Check sums that the existing archiver adds as a document; no file of the run.

Source: docs/design/artdaqdb.md, Hashes documents.
"""

RUNS_AT_ONCE = 5000
"""Runs whose documents are in memory together where many are listed."""
_UNKNOWN = -1
"""Number of a document whose version is none of `<configuration>vN`: older than all others."""


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
    indexes: dict[str, Index], runs: Iterable[int], hidden: Collection[str] = frozenset()
) -> dict[int, Location]:
    """The newest content of each run that RunHistory's index shows; other runs are left out.

    indexes: by collection. hidden: configurations that do not count. A run with several configurations is read under
    the one assigned last.
    """
    chosen = {run: name for run in runs if (name := _configuration(indexes[RUN_HISTORY], run, hidden)) is not None}
    found: dict[int, list[tuple[int, list[Item]]]] = {run: [] for run in chosen}
    for collection, index in indexes.items():
        for run, content in _content(collection, index, chosen).items():
            found[run].append(content)
    located = {}
    for run, contents in found.items():
        items = tuple(sorted((item for _, each in contents for item in each), key=attrgetter("collection", "entity")))
        if any(item.collection == RUN_HISTORY for item in items):
            newest = max(number for number, _ in contents)
            located[run] = Location(run, chosen[run], version_name(chosen[run], newest), items)
    return located


def outlines(
    locate: Callable[[Sequence[int]], Mapping[int, Location]], runs: Iterable[int], needed: Collection[str]
) -> Iterator[Outline]:
    """What `locate` tells of these runs, so many of them at a time, and of their documents only what was asked."""
    wanted = sorted(set(runs))
    for first in range(0, len(wanted), RUNS_AT_ONCE):
        for run, location in locate(wanted[first : first + RUNS_AT_ONCE]).items():
            present = {item.entity for item in location.items if item.collection == RUN_HISTORY}
            yield Outline(run, location.configuration, location.version, present.issuperset(needed))


def _configuration(index: Index, run: int, hidden: Collection[str]) -> str | None:
    """The configuration a run is read under: the last assigned, of those assigned at once the greatest name."""
    names = index.of_run(CONFIGURATION, run)
    if not names:
        names = sorted({name for each in _configurations_by_run_name(index, run).values() for name in each})
    shown = [name for name in names if name not in hidden]
    return max(shown, key=lambda name: (_last_assigned(index, name), name), default=None)


def _configurations_by_run_name(index: Index, run: int) -> dict[str, list[str]]:
    """For runs whose configuration was named by hand, without the run number."""
    oids = index.oids(RUN, str(run))
    return index.names_of(CONFIGURATION, oids, {}) if oids else {}


def _last_assigned(index: Index, configuration: str) -> datetime:
    return max(map(_moment, index.oids(ASSIGNED, configuration)), default=_LONG_AGO)


_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def _moment(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%dT%H:%M:%S.%f%z")
    except ValueError:
        return _LONG_AGO


def _content(collection: str, index: Index, chosen: dict[int, str]) -> dict[int, tuple[int, list[Item]]]:
    """Newest version number and documents of each run in one collection; runs it has nothing of are left out."""
    listed = {run: _documents(index, run, configuration) for run, configuration in chosen.items()}
    wanted = {oid for documents in listed.values() for oid in documents}
    entities = index.names_of(ENTITY, wanted, _ours(collection, index, chosen))
    versions = _versions(index, chosen, listed)
    content = {}
    for run, documents in listed.items():
        by_number: dict[int, list[Item]] = {}
        for oid in documents:
            items = [Item(collection, entity, oid) for entity in entities.get(oid, ())]
            by_number.setdefault(versions.get(oid, _UNKNOWN), []).extend(items)
        if by_number:
            content[run] = max(by_number), _newest(chosen[run], by_number)
    return content


def _ours(collection: str, index: Index, chosen: dict[int, str]) -> dict[str, str]:
    """The entity of every document there could be of the versions of these runs, if this archiver wrote them."""
    entities = index.keys(ENTITY)
    versions = {name for run in chosen for name in index.of_run(VERSION, run)}
    return {object_id(collection, version, entity): entity for version in versions for entity in entities}


def _documents(index: Index, run: int, configuration: str) -> list[str]:
    """Documents of a run: those of its configuration; of a shared one only those that name the run."""
    oids = index.oids(CONFIGURATION, configuration)
    if configuration.startswith(f"{run}/"):
        return oids
    own = set(index.oids(RUN, str(run)))
    return [oid for oid in oids if oid in own]


def _versions(index: Index, chosen: dict[int, str], listed: dict[int, list[str]]) -> dict[str, int]:
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

    A version of ours holds the whole run, so older ones no longer count; an update by the existing archiver holds
    RunHistory2 and schema alone, and the rest is in the versions below it.
    """
    chosen: dict[str, Item] = {}
    for number in sorted(by_number, reverse=True):
        version = version_name(configuration, number)
        ours = {item.oid for item in by_number[number] if is_ours(item, version)}
        newest: dict[str, Item] = {}
        for item in sorted(by_number[number], key=lambda item: (item.oid not in ours, item.oid)):
            if item.entity != HASHES or item.oid in ours:
                newest.setdefault(item.entity, item)
        chosen = newest | chosen
        if ours:
            break
    return list(chosen.values())
