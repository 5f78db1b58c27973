"""What really is in both stores and on disk, read without the archiver's code, and where they disagree.

Formats: docs/design/artdaqdb.md (Directory, Document) and docs/design/run_records.md (Blob).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

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
    return {run: _documents(archive, index["version"][name]) for run, (_, name) in newest.items()}


def _documents(archive: Path, oids: list[str]) -> Files:
    files = {}
    for oid in oids:
        document = json.loads((archive / "RunHistory" / f"{oid}.json").read_bytes())
        values = document["origin"]["rawdata"]
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
    disk: Mapping[int, Files], artdaqdb: Mapping[int, Files], ucondb: Mapping[int, Files]
) -> Iterator[str]:
    """Each way in which a record on disk is not whole, and as it is now, in both stores."""
    for run, files in sorted(disk.items()):
        if run not in ucondb or run not in artdaqdb:
            yield f"run {run} is not in {'UconDB' if run in artdaqdb else 'artdaqDB'}"
            continue
        stored, blob = artdaqdb[run], ucondb[run]
        yield from (
            f"run {run}: artdaqDB has not {name} as on disk" for name in files if stored.get(name) != files[name]
        )
        yield from (f"run {run}: artdaqDB has {name}, the disk has not" for name in _of_the_daq(stored) - files.keys())
        converted = {name: content for name, content in stored.items() if name in blob or name.endswith(".fcl")}
        if converted != blob:
            yield f"run {run}: UconDB's blob is not what artdaqDB has"


def _of_the_daq(stored: Files) -> set[str]:
    """The names that the DAQ gave, without the files that the archiver made."""
    made = {"RunHistory.fcl", "RunHistory2.fcl"} | {
        f"{name.removesuffix('.txt')}.fcl" for name in stored if name.endswith(".txt")
    }
    return stored.keys() - made
