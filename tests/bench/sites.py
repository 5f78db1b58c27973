"""Sites to measure on: real stores, grown to any size, and records for them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from rra_state.records import blob, convert
from rra_state.records.model import RunDocuments
from tests import servers
from tests.bench.measure import Usage, usage
from tests.large_archive import grow
from tests.records import read_record
from tests.servers import DevServer, Folder
from tests.site import Site

KINDS = ("directory", "postgres")
SEVERAL_CHUNKS = 40


@dataclass
class Hall:
    """The servers, and sites of any size beside each other. scale: what sizes are multiplied with, to try the bench."""

    root: Path
    postgres: str
    server: DevServer
    scale: float = 1.0
    peaks: list[float] = field(default_factory=list)
    """MB of the largest process of each cycle."""
    _numbers: Iterator[int] = field(default_factory=count)

    def size(self, runs: int) -> int:
        """So many runs, to scale; never so few that one chunk takes them all, and no time passes between markers."""
        return max(SEVERAL_CHUNKS, round(runs * self.scale))

    def site(self, kind: str = "directory", stored: int = 0, **changes: Mapping[str, Any]) -> BenchSite:
        """A new site with two workers; `stored` runs are archived already."""
        number = next(self._numbers)
        root = self.root / str(number)
        root.mkdir()
        database = servers.new_database(self.postgres, f"bench_{number}") if kind == "postgres" else ""
        site = BenchSite(root, self.folder(), database, self.peaks, stored + 1)
        site.configure(**{name: dict(values) for name, values in changes.items()})
        if stored:
            grow(site.config, site.ucondb, stored)
        return site

    def folder(self) -> Folder:
        """A new folder of UconDB."""
        return Folder.fresh(self.server, f"bench {next(self._numbers)}")


@dataclass
class BenchSite(Site):
    """A site that grows, whose cycles are measured."""

    peaks: list[float] = field(default_factory=list)
    next_run: int = 1

    def take_runs(self, number: int) -> range:
        """Have the DAQ take so many more runs."""
        runs = range(self.next_run, self.next_run + number)
        self.make(number, self.next_run)
        self.next_run += number
        return runs

    def cycle(self, *options: str) -> Usage:
        """The command line, quietly."""
        found = usage(self.command("-q", *options))
        self.peaks.append(found.memory)
        return found

    def rate(self, stage: str, runs: range) -> float:
        """Runs a second between the first and the last of their markers: without start and end of the processes."""
        times = sorted((self.work / "markers" / stage / f"{run}.json").stat().st_mtime_ns for run in runs)
        first, last = times[0], times[-1]
        return 1e9 * sum(time > first + 1e7 for time in times) / max(last - first, 1)

    def documents(self, runs: range) -> list[RunDocuments]:
        """The records of these runs, converted."""
        return [convert.convert(read_record(self.records / str(run), run)) for run in runs]

    def packed(self, runs: range) -> dict[int, bytes]:
        """The blobs of these runs."""
        return {
            record.run: blob.pack(record.run, {each.name: each.text for each in record.documents})
            for record in self.documents(runs)
        }


@contextmanager
def opened(scale: float) -> Iterator[Hall]:
    """PostgreSQL without fsync, as in the tests, and the development server: the figures are the archiver's."""
    with (
        servers.running_postgres() as uri,
        servers.temporary_directory() as directory,
        tempfile.TemporaryDirectory(prefix="rra-bench-", dir="/var/tmp") as root,
    ):
        server = DevServer(directory, uri)
        server.start()
        try:
            yield Hall(Path(root), uri, server, scale)
        finally:
            server.stop()
