"""The DAQ's own loader: a program that stores runs in artdaqDB beside the archiver, file by file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from rra_state.config import loading
from rra_state.records import fhicl
from rra_state.records.model import Document
from rra_state.stores.artdaqdb.document import shown_by_tools, timestamp
from rra_state.workers.import_stage import read
from tests.unit.stores.artdaqdb.artdaq_mongo import ArtdaqMongo
from tests.unit.stores.artdaqdb.artdaqdb_helpers import Artdaq


def documents(config: Path, run: int) -> tuple[Document, ...]:
    """What it stores of a record."""
    return read(run, loading.load(config), even_if_open=True).documents


def load(
    archive: Path | str, run: int, files: Iterable[Document], version: str = "", assigned: str | None = None
) -> None:
    """Store files one by one. archive: a directory or a URI. version: `v1`, `v2`, ...; the first one has no name."""
    if str(archive).startswith("mongodb:"):
        with ArtdaqMongo(str(archive)) as mongo:
            _load(mongo, run, files, version, assigned)
    else:
        _load(Artdaq(Path(str(archive).removeprefix("filesystemdb://"))), run, files, version, assigned)


def _load(
    artdaq: Artdaq | ArtdaqMongo, run: int, files: Iterable[Document], version: str, assigned: str | None
) -> None:
    for each in files:
        snippet = fhicl.snippet(shown_by_tools(each))
        artdaq.write(
            run,
            each.entity,
            version=f"{run}/standard{version}",
            assigned=assigned or timestamp(),
            tree={"data": snippet.data, "metadata": snippet.metadata, "search": []},
        )


def stop_of(run: int) -> Document:
    """The RunHistory2 that the DAQ stores at the stop."""
    return Document("RunHistory2.fcl", f'DAQInterface_stop_time: "run {run}"\n'.encode())
