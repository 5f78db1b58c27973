"""The floors: the same bytes moved with as little as possible around them. Each gives seconds."""

from __future__ import annotations

import multiprocessing
import shutil
from collections.abc import Callable, Iterator, Sequence
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import urlsplit

import psycopg

from rra_state.base import files
from rra_state.records.model import RunDocuments
from rra_state.stores.artdaqdb import document, versions
from rra_state.stores.ucondb.digest import Digest
from tests.bench.measure import timed
from tests.servers import Folder

CHUNK = 25
"""Runs per sync or transaction, as the driver's."""
_fork = multiprocessing.get_context("fork")
_Stored = list[tuple[str, bytes]]


def stored(records: Sequence[RunDocuments]) -> list[_Stored]:
    """What artdaqDB is given for each run: object ids and documents."""
    now = document.timestamp()
    plans = (versions.plan(record, None, now, None) for record in records)
    return [[(tree["_id"]["$oid"], document.encode(tree)) for tree in plan.trees()] for plan in plans]


def plain_files(parent: Path, runs: Sequence[_Stored]) -> float:
    """Write these documents as files, one sync per chunk, and remove them, which is not timed."""
    directory = parent / "plain"
    directory.mkdir()

    def write() -> None:
        for chunk in _chunks(runs):
            files.write_batch((directory / oid, text) for run in chunk for oid, text in run)

    seconds = timed(write)
    shutil.rmtree(directory)
    return seconds


def copied(uri: str, runs: Sequence[_Stored]) -> float:
    """COPY these documents into a table like the archive's, one transaction per chunk."""
    with psycopg.connect(uri, autocommit=True) as connection:
        connection.execute("drop table if exists floor")
        connection.execute("create table floor (oid text primary key, document jsonb not null)")

        def copy() -> None:
            for chunk in _chunks(runs):
                with connection.cursor().copy("copy floor from stdin") as to:
                    for run in chunk:
                        for oid, text in run:
                            to.write_row((oid, text.decode()))

        return timed(copy)


def put_and_get(folder: Folder, blobs: dict[int, bytes], connections: int = 2) -> float:
    """Put and get each of these blobs, from so many processes at once."""
    parts = [dict(list(blobs.items())[number::connections]) for number in range(connections)]
    return timed(lambda: _side_by_side([lambda part=part: _put_and_get(folder, part) for part in parts]))  # type: ignore[misc]


def gets(folder: Folder, runs: Sequence[int], connections: int = 2) -> float:
    """Get the blob of each of these runs, from so many processes at once."""
    server = urlsplit(folder.url)
    place = f"{server.path}/data/{folder.folder}/configuration"

    def get(part: Sequence[int]) -> None:
        for run in part:
            _ask(server.netloc, "GET", f"{place}?key={run}")

    parts = [runs[number::connections] for number in range(connections)]
    return timed(lambda: _side_by_side([lambda part=part: get(part) for part in parts]))  # type: ignore[misc]


def _put_and_get(folder: Folder, blobs: dict[int, bytes]) -> None:
    server = urlsplit(folder.url)
    place = f"{server.path}/data/{folder.folder}/configuration"
    digest = Digest(f"public.{folder.folder}", "any")
    for run, blob in blobs.items():
        address = f"{place}?full_meta=yes&tag={run}&key={run}&override=no"
        signed = {"Authorization": digest.header("POST", address, folder.user, folder.password)}
        _ask(server.netloc, "POST", address, blob, signed)
        if _ask(server.netloc, "GET", f"{place}?key={run}") != blob:
            raise ValueError(f"run {run} came back as something else")


def _ask(
    host: str, method: str, address: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> bytes:
    """One request on a connection of its own: the server closes each one."""
    connection = HTTPConnection(host, timeout=60)
    try:
        connection.request(method, address, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    if answer.status != 200:
        raise ValueError(f"{method} {address}: {answer.status} {content[:200]!r}")
    return content


def _side_by_side(actions: Sequence[Callable[[], None]]) -> None:
    """Each in a process of its own. Raises RuntimeError if one of them failed."""
    processes = [_fork.Process(target=action) for action in actions]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        raise RuntimeError("a floor failed")


def _chunks(runs: Sequence[_Stored]) -> Iterator[Sequence[_Stored]]:
    return (runs[first : first + CHUNK] for first in range(0, len(runs), CHUNK))
