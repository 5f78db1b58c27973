"""Archives for these tests: records of ours, and documents as artdaq's own tools leave them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rra_state.records.model import Document, RunDocuments, SourceFile
from rra_state.stores.artdaqdb.base import Location, Staged
from rra_state.stores.artdaqdb.directory import documents
from rra_state.stores.artdaqdb.document import decode
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.index import EMPTY, Additions, Index
from rra_state.stores.artdaqdb.rebuild import add_entry, entry

SCHEMA = b'main: { collection: "RunHistory" }\n'
MD5 = "d41d8cd98f00b204e9800998ecf8427e"
TIME = "2024-11-23T20:20:41.006+0000"


def record(run: int, files: dict[str, bytes] | None = None, *, config: str = "standard") -> RunDocuments:
    """A record of FHiCL files, of a converted one and of one kept as text, unless `files` says otherwise."""
    documents: tuple[Document, ...] = (
        Document("component01.fcl", f"# generator\nid: {run}\n".encode()),
        Document("boot.fcl", b'debug_level: "1"\n', SourceFile("boot.txt", b"debug level: 1 \xff\r\n")),
        Document("odd.fcl", b"a-b: 1\n\x00\xe9\r\n", kept='line 1: "a-b" is not a FHiCL value \u2013 quote it'),
    )
    if files is not None:
        documents = tuple(Document(name, text) for name, text in files.items())
    return RunDocuments(run, config, config, documents)


def stage(db: FilesystemDB, *records: RunDocuments, known: Mapping[int, Location] | None = None) -> list[Staged]:
    """Stage records none of which may fail."""
    outcomes = db.stage(records, known or {})
    staged = [each for each in outcomes if isinstance(each, Staged)]
    assert staged == outcomes
    return staged


def store(db: FilesystemDB, *records: RunDocuments) -> list[Staged]:
    """Stage and publish, as the import stage does."""
    staged = stage(db, *records, known=db.locate([each.run for each in records]))
    db.publish(staged)
    return staged


def files_of(path: Path) -> dict[str, bytes]:
    """Every document of an archive, by name."""
    return {each.name: each.read_bytes() for each in path.glob("*/*.json") if each.name != "index.json"}


def age(path: Path) -> None:
    """Date a file an hour back: a damaged index that changed just now is waited for."""
    modified = path.stat().st_mtime - 3600
    os.utime(path, (modified, modified))


_SLOW_WRITER = """
import sys, time
with open(sys.argv[1], "wb", buffering=0) as stream:
    print("truncated", flush=True)
    time.sleep(0.5)
    data = sys.stdin.buffer.read()
    for part in (data[:20], data[20:-9], data[-9:]):
        stream.write(part)
        time.sleep(0.2)
"""


@contextmanager
def slow_writer(path: Path, data: bytes) -> Iterator[None]:
    """A process that truncates a file, as artdaq's bulkloader does, and writes it piece by piece."""
    command = [sys.executable, "-I", "-c", _SLOW_WRITER, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        assert process.stdout.readline() == b"truncated\n"
        process.stdin.write(data)
        process.stdin.close()
        yield
    assert process.returncode == 0


class Artdaq:
    """Writes into an archive what artdaq's tools would: random object ids, no raw data, index rewritten in place."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def write(
        self,
        run: int,
        entity: str,
        data: dict[str, Any] | None = None,
        *,
        configuration: str | None = None,
        version: str | None = None,
        collection: str = "RunHistory",
        oid: str | None = None,
        assigned: str = TIME,
        runs_name: bool = True,
        tree: dict[str, Any] | None = None,
    ) -> str:
        """tree: what the document holds; made up from `data` if not given."""
        oid = oid or uuid.uuid4().hex[:24]
        configuration = configuration or f"{run}/standard"
        version = version or configuration
        main = data or {"id": str(run)}
        children = {key: {"type": "number", "comment": "", "annotation": ""} for key in main}
        table = {"type": "table", "comment": "#main", "children": children}
        prolog = {"type": "table", "comment": "#prolog", "children": {}}
        document = {
            "document": tree
            or {
                "data": {"prolog": {}, "main": main},
                "metadata": {"prolog": prolog, "main": table},
                "search": [],
            },
            "comments": [{"linenum": 0, "value": "No comments"}],
            "origin": {"format": "fhicl", "name": entity, "source": "fhicl_to_json", "rawdata": []},
            "version": version,
            "entities": [{"name": entity, "assigned": assigned}],
            "configurations": [{"name": configuration, "assigned": assigned}],
            "_id": {"$oid": oid},
            "collection": collection,
            "aliases": {"active": [], "history": []},
            "runs": [{"name": str(run), "assigned": assigned}] if runs_name else [],
        }
        directory = self.path / collection
        directory.mkdir(parents=True, exist_ok=True)
        (directory / f"{oid}.json").write_text(json.dumps(document, indent=0))
        index = directory / "index.json"
        listed = json.loads(index.read_bytes() if index.exists() else EMPTY)
        listed["ouid"] = sorted({*listed["ouid"], oid})
        names = {"version": version, "configurations.name": configuration, "entities.name": entity}
        if runs_name:
            names["runs.name"] = str(run)
        for section, key in names.items():
            listed[section][key] = sorted({*listed[section].get(key, []), oid})
        times = listed["configurations.assigned"]
        times[configuration] = sorted({*times.get(configuration, []), assigned})
        index.write_text(json.dumps(listed, indent=0))
        return oid

    def assign(self, oid: str, configuration: str, assigned: str) -> None:
        """Assign one document to another configuration, in the document and in the index."""
        path = self.path / f"RunHistory/{oid}.json"
        document = json.loads(path.read_bytes())
        document["configurations"].append({"name": configuration, "assigned": assigned})
        path.write_text(json.dumps(document))
        self.rebuild_index()

    def rebuild_index(self) -> None:
        """What rebuild_database_index lists of RunHistory: every document that is there."""
        additions = Additions()
        for path in documents(self.path / "RunHistory"):
            add_entry(
                additions, entry(path.removesuffix(".json"), decode((self.path / "RunHistory" / path).read_bytes()))
            )
        index = Index.empty()
        index.add(additions)
        (self.path / "RunHistory/index.json").write_bytes(index.serialise())
