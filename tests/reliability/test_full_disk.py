"""A real file system fills up under each thing that the archiver writes: what happened is said, and no run is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from scripts.make_run_records import make_records
from tests.reliability.counts import count
from tests.reliability.hosts import SmallDisk, mounted
from tests.site import Site

pytestmark = pytest.mark.in_process

RUNS = 12
NO_SPACE = "no space left on device"


@dataclass(frozen=True)
class Place:
    """Where the disk is small. at: below the site. pages: free, of 4 kB each. says: how the message about it begins.

    status: of the cycle that meets it. keys: of the configuration, that put a file there. inodes: these are used up,
    not the space. real: in a cycle with real processes.
    """

    name: str
    at: str
    says: str
    pages: int = 0
    status: int = 1
    keys: tuple[tuple[str, str, str], ...] = ()
    inodes: bool = False
    prepare: Callable[[Site], None] = lambda _site: None
    real: bool = False


def _spoil(site: Site) -> None:
    make_records(2, site.records, first_run=RUNS + 1, breaks={RUNS + 1: "empty", RUNS + 2: "empty"})


def _leave_open(site: Site) -> None:
    make_records(1, site.records, first_run=RUNS + 1, breaks={RUNS + 1: "no-stop"})


PLACES = (
    Place("documents", "artdaqdb", "the artdaqDB directory cannot be used: ", pages=30, real=True),
    Place("import markers", "work/markers/import", "cannot be written: ", pages=5, real=True),
    Place("migrate markers", "work/markers/migrate", "cannot be written: ", pages=5),
    Place("failure records", "work/failures", "cannot be written: ", prepare=_spoil),
    Place("watches", "work/watch", "cannot be written: ", prepare=_leave_open, inodes=True),
    Place("ledger", "work/state", "cannot be written: "),
    Place(
        "state file", "states", "Failed to write state file: ", keys=(("app", "import_state_file", "importer.json"),)
    ),
    Place(
        "failure log",
        "logs",
        "Failed to write failure log: ",
        keys=(("app", "import_failure_log", "import_failures.log"),),
        prepare=_spoil,
    ),
    Place("lock file", "locks", "lock cannot be written: ", keys=(("app", "lock_file", "lock"),)),
    Place("Snakemake's files", "work/.snakemake", "the workflow ended with status 1: ", real=True),
    Place(
        "log file",
        "logs",
        "log file cannot be written: ",
        status=0,
        keys=(("app", "log_file", "archiver.log"),),
        real=True,
    ),
    Place("metrics", "out", "metrics: ", status=0, keys=(("metrics", "prometheus_file", "rra.prom"),)),
    Place("page", "out", "status page: ", status=0, keys=(("reporting", "html_file", "status.html"),)),
)


@pytest.fixture
def disk(site: Site, request: pytest.FixtureRequest) -> Iterator[SmallDisk]:
    """The place's own file system."""
    place: Place = request.param
    with mounted(site.root / place.at, options="nr_inodes=40" if place.inodes else "size=64m") as disk:
        sections: dict[str, dict[str, str]] = {}
        for section, key, name in place.keys:
            sections.setdefault(section, {})[key] = str(disk.path / name)
        site.configure(**sections)
        yield disk


def told_truly(site: Site) -> None:
    """Every marker is of a run that is in its store."""
    assert site.markers("import") <= site.archive.runs()
    assert site.markers("migrate") <= {int(key) for key in site.blobs()}


@pytest.mark.parametrize(
    ("disk", "place"), [(place, place) for place in PLACES], indirect=["disk"], ids=[place.name for place in PLACES]
)
def test_a_full_disk_costs_no_run_whatever_it_holds(
    site: Site, disk: SmallDisk, place: Place, request: pytest.FixtureRequest
) -> None:
    site.make(RUNS)
    place.prepare(site)
    failing = {run for run in (RUNS + 1, RUNS + 2) if place.prepare is _spoil}
    disk.use_up_inodes() if place.inodes else disk.fill(place.pages)

    done = (site.real_archive_runs if place.real else site.archive_runs)(status=place.status)

    [line] = [line for line in done.stderr.splitlines() if NO_SPACE in line.lower()]
    assert place.says in line
    assert str(disk.path) in line or place.name == "Snakemake's files"
    assert "free space (df -h) or inodes (df -i) on this file system" in line
    assert "Traceback" not in done.stderr
    told_truly(site)
    disk.make_room()
    site.archive_runs("--incremental", status=1 if place.name == "failure records" else 0)
    archived = set(range(1, RUNS + 1 + (place.prepare is _leave_open)))
    site.assert_archived_once(archived)
    assert _log(site, "import") == failing
    assert _log(site, "migrate") == set()
    assert not list(site.root.rglob(".*.tmp"))
    count(request, "things on a disk that fills up", 1)


def _log(site: Site, stage: str) -> set[int]:
    [path] = [*site.root.glob(f"*/{stage}_failures.log")]
    return {int(line) for line in path.read_text().split()}


def test_an_index_that_does_not_fit_costs_no_run(site: Site, request: pytest.FixtureRequest) -> None:
    with mounted(site.root / "artdaqdb") as disk:
        site.make(RUNS)
        site.archive_runs("--import-only")
        before = disk.used()
        make_records(1, site.records, first_run=RUNS + 1)
        site.archive_runs("--import-only")
        kept = disk.used() - before  # documents, that is; while it is replaced, an index is there twice
        make_records(1, site.records, first_run=RUNS + 2)
        disk.fill(kept + 1)

        done = site.archive_runs("--incremental", status=1)

        assert "index.json" in next(line for line in done.stderr.splitlines() if NO_SPACE in line)
        told_truly(site)
        disk.make_room()
        site.archive_runs()
        site.assert_archived_once(range(1, RUNS + 3))
        assert _log(site, "import") == _log(site, "migrate") == set()
    count(request, "things on a disk that fills up", 1)
