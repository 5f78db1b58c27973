"""What really is in both stores and on disk, read without the archiver's code, and where they disagree.

Formats: docs/design/artdaqdb.md (Directory, Document) and docs/design/run_records.md (Blob).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from pathlib import Path
from typing import Any

import psycopg

Files = dict[str, bytes]
"""Content by file name."""
_DELIMITER = re.compile(rb"\n#####\n([^\n]+):\n#####\n")
_NUMBERED = re.compile(r"(.*?)(?:v(\d+))?")


def on_disk(records: Path) -> dict[int, Files]:
    """The regular files of each record."""
    found = {}
    for directory in records.iterdir():
        if directory.name.isdecimal():
            found[int(directory.name)] = {path.name: path.read_bytes() for path in directory.iterdir()}
    return found


def in_artdaqdb(archive: Path) -> dict[int, Files]:
    """The documents of the newest version of each run in a directory archive, by the name in the blob."""
    path = archive / "RunHistory" / "index.json"
    if not path.exists():
        return {}
    index = json.loads(path.read_bytes())
    newest: dict[int, tuple[int, str]] = {}
    for name in index["version"]:
        run, _, rest = name.partition("/")
        match = _NUMBERED.fullmatch(rest)
        assert match is not None
        newest[int(run)] = max(newest.get(int(run), (-1, "")), (int(match[2] or 0), name))
    return {
        run: stored_files(_read(archive, oid) for oid in index["version"][name]) for run, (_, name) in newest.items()
    }


def of_other_programs(archive: Path) -> dict[int, set[str]]:
    """The entities of each run whose newest version is another program's: all of its configuration."""
    path = archive / "RunHistory" / "index.json"
    index = json.loads(path.read_bytes()) if path.exists() else {"configurations.name": {}}
    ours = in_artdaqdb(archive)
    found: dict[int, set[str]] = {}
    for name, oids in index["configurations.name"].items():
        run = int(name.partition("/")[0])
        if not ours[run]:
            found[run] = {_read(archive, oid)["entities"][0]["name"] for oid in oids}
    return found


def _read(archive: Path, oid: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((archive / "RunHistory" / f"{oid}.json").read_bytes())
    return document


def stored_files(documents: Iterable[Mapping[str, Any]]) -> Files:
    """The files that this archiver stored; another program's documents do not have their text."""
    files = {}
    for document in documents:
        values = document["origin"]["rawdata"]
        if not values:
            continue
        pairs = dict(zip(values[::2], values[1::2], strict=True))
        files[pairs["rra:file"]] = base64.b64decode(pairs["rra:base64"])
        if "rra:source" in pairs:
            name = base64.b64decode(pairs["rra:source.file"]).decode()
            files[name] = base64.b64decode(pairs["rra:source"])
    return files


def in_ucondb(connection: psycopg.Connection[tuple[object, ...]], folder: str, object_: str) -> dict[int, Files]:
    """The files of each blob that the server lists."""
    rows = connection.execute(
        f"select v.key, d.data from {folder}_versions v join {folder}_data d on d.key = v.data_key::bigint"
        " where v.object = %s and v.key is not null and not v.deleted",
        (object_,),
    )
    return {int(str(key)): _unpacked(bytes(data)) for key, data in rows}  # type: ignore[call-overload]


def _unpacked(blob: bytes) -> Files:
    body, _, _ = blob.rpartition(b"\nEnd of Record\n")
    parts = _DELIMITER.split(body)
    return {name.decode(): content for name, content in zip(parts[1::2], parts[2::2], strict=True)}


def disagreements(
    disk: Mapping[int, Files],
    artdaqdb: Mapping[int, Files],
    ucondb: Mapping[int, Files],
    foreign: Mapping[int, AbstractSet[str]],
) -> Iterator[str]:
    """Each way in which a record on disk is not whole, and as it is now, in both stores.

    foreign: the entities of runs that another program stored.
    """
    for run, files in sorted(disk.items()):
        if run not in ucondb or run not in artdaqdb:
            yield f"run {run} is not in {'UconDB' if run in artdaqdb else 'artdaqDB'}"
            continue
        stored, blob = artdaqdb[run], ucondb[run]
        if run in foreign:
            yield from _of_foreign(run, files, foreign[run], blob)
            continue
        yield from (
            f"run {run}: artdaqDB has not {name} as on disk" for name in files if stored.get(name) != files[name]
        )
        yield from (f"run {run}: artdaqDB has {name}, the disk has not" for name in _of_the_daq(stored) - files.keys())
        converted = {name: content for name, content in stored.items() if name in blob or name.endswith(".fcl")}
        if converted != blob:
            yield f"run {run}: UconDB's blob is not what artdaqDB has"


def _of_foreign(run: int, files: Files, entities: AbstractSet[str], blob: Files) -> Iterator[str]:
    """The same of a run that another program stored: names, and the words of each FHiCL file."""
    missing = {name.rpartition(".")[0] for name in files} - entities
    yield from (f"run {run}: artdaqDB has no document {name}" for name in missing)
    if {f"{name}.fcl" for name in entities} != blob.keys():
        yield f"run {run}: UconDB's blob has not the documents that artdaqDB has"
    for name, content in files.items():
        if name.endswith(".fcl") and content.split() != blob.get(name, b"").split():
            yield f"run {run}: UconDB has not {name} as on disk"


def _of_the_daq(stored: Files) -> set[str]:
    """The names that the DAQ gave, without the files that the archiver made."""
    made = {"RunHistory.fcl", "RunHistory2.fcl"} | {
        f"{name.removesuffix('.txt')}.fcl" for name in stored if name.endswith(".txt")
    }
    return stored.keys() - made
