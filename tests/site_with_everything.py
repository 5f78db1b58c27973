"""A site that has one of everything a site can have, made by the real command line on real records and real stores.

Whatever shows or judges runs is tried over it, and over a site with nothing: see integration/test_everything.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rra_state.config.loading import Settings, load
from rra_state.stores.ucondb.client import UconDB
from scripts.make_run_records import make_records
from tests.in_process import InProcessSite
from tests.servers import Folder
from tests.site import Site

LISTED_BY_OPERATOR = 90
"""In the import failure log by an operator's hand; no place knows it."""
ARCHIVED = 101
GONE = 102
"""Archived; its record is no longer on disk."""
DAMAGED_MARKER = 103
"""Archived; its import marker cannot be read any more."""
KEPT = 104
"""Archived, one file of it as text."""
SKIPPED = 105
"""Archived without some entries of its record."""
WATCHED = 106
"""Archived before it had a stop time."""
REFRESHED = 107
"""The same, and archived again when it had one."""
OUTDATED = 108
"""Archived; its record changed since, and could not be archived again."""
FAILED_IMPORT = 109
FAILED_MIGRATION = 110
EMPTY = 111
"""A record directory without a file, which failed its import."""
NEVER_ATTEMPTED = 112
"""Its record came when later runs had been archived."""
DAMAGED_FAILURE = 113
"""Its failure record cannot be read any more."""
DAMAGED_REFRESH = 114
"""Archived, and changed since; the record of why it could not be archived again cannot be read any more."""
GAP = range(115, 120)
"""Numbers that no record has."""
IMPORTED = 120
"""Waits for its migration."""
NEW = 121
"""Waits for its import."""
OPEN = 122
"""Still being written."""

STATES = {
    LISTED_BY_OPERATOR: "lost",
    ARCHIVED: "archived",
    GONE: "archived",
    DAMAGED_MARKER: "archived",
    KEPT: "archived",
    SKIPPED: "archived",
    WATCHED: "archived",
    REFRESHED: "archived",
    OUTDATED: "failed",
    FAILED_IMPORT: "failed",
    FAILED_MIGRATION: "failed",
    EMPTY: "failed",
    NEVER_ATTEMPTED: "waiting",
    DAMAGED_FAILURE: "failed",
    DAMAGED_REFRESH: "failed",
    IMPORTED: "waiting",
    NEW: "waiting",
    OPEN: "open",
}
"""Every run that a place or a log knows, and what it is."""
ON_THE_MAP = STATES | dict.fromkeys([*range(LISTED_BY_OPERATOR + 1, ARCHIVED), *GAP], "gap")
"""The same, and the numbers between them."""

KEPT_FILE = "reader01.fcl"
SKIPPED_LINK, SKIPPED_DIRECTORY, SKIPPED_FILE = "link.fcl", "plots", "rc_info_start.txt"
OF_DAQ = ".record_directory_info"
IGNORED = ("101.before", "README.txt", "notes")
_STOP_TIME = "\nDAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"
_LARGEST_FILE = 256 * 1024


@dataclass(frozen=True)
class BuiltSite:
    """A finished site. page: the status page that its last cycle wrote."""

    site: Site

    @property
    def page(self) -> Path:
        return self.site.root / "status.html"

    @property
    def settings(self) -> Settings:
        return load(self.site.config, {})


def build(root: Path, folder: Folder, smtp_port: int) -> BuiltSite:
    """Make the site below `root`; its last cycle writes the page, and tells of everything by mail."""
    site = InProcessSite(root, folder)
    _configure(site)
    _archive_first_runs(site)
    _change_archived_records(site)
    _import_one(site)
    _disturb(site)
    _configure(site, smtp_port=smtp_port, settle_seconds=3600)
    site.archive_runs("--runs", str(ARCHIVED))
    return BuiltSite(site)


def build_empty(root: Path, folder: Folder, smtp_port: int) -> BuiltSite:
    """A site with nothing at all, after a cycle."""
    site = InProcessSite(root, folder)
    _configure(site, smtp_port=smtp_port)
    site.archive_runs("--incremental")
    return BuiltSite(site)


def _configure(site: Site, *, smtp_port: int | None = None, settle_seconds: float = 0) -> None:
    reporting = {
        "html_file": str(site.root / "status.html"),
        "email": {
            "enabled": True,
            "recipient_email": "shift@example.org",
            "sender_email": "archiver@example.org",
            "smtp_host": "localhost",
            "smtp_port": smtp_port,
        },
    }
    site.configure(
        source_files={"settle_seconds": settle_seconds, "max_file_bytes": _LARGEST_FILE},
        reporting={} if smtp_port is None else reporting,
    )


def _archive_first_runs(site: Site) -> None:
    breaks = dict.fromkeys((WATCHED, REFRESHED, OUTDATED, DAMAGED_REFRESH), "no-stop")
    breaks |= {KEPT: "bad-fcl", EMPTY: "empty"}
    make_records(NEVER_ATTEMPTED - ARCHIVED, site.records, first_run=ARCHIVED, breaks=breaks)
    make_records(2, site.records, first_run=DAMAGED_FAILURE, breaks=breaks)
    _add_too_large_file(site, DAMAGED_FAILURE)
    record = _writable(site, SKIPPED)
    (record / SKIPPED_LINK).symlink_to("metadata.txt")
    (record / SKIPPED_DIRECTORY).mkdir()
    (record / SKIPPED_FILE).write_text("x\n")
    _add_too_large_file(site, FAILED_IMPORT)
    _store_something_else(site, FAILED_MIGRATION)
    site.archive_runs(status=1)


def _change_archived_records(site: Site) -> None:
    for run in (REFRESHED, OUTDATED, DAMAGED_REFRESH):
        metadata = _writable(site, run) / "metadata.txt"
        metadata.chmod(0o644)
        metadata.write_text(metadata.read_text() + _STOP_TIME)
    _store_something_else(site, OUTDATED)
    _store_something_else(site, DAMAGED_REFRESH)
    site.archive_runs(status=1)


def _import_one(site: Site) -> None:
    site.make(1, first_run=IMPORTED)
    site.archive_runs("--runs", str(IMPORTED), "--import-only")


def _disturb(site: Site) -> None:
    """What happens to a site between two cycles."""
    site.make(1, first_run=NEVER_ATTEMPTED)
    site.make(1, first_run=NEW)
    make_records(1, site.records, first_run=OPEN, breaks={OPEN: "no-stop"})
    site.remove(GONE)
    [failed_refresh] = (site.work / "failures" / "refresh").glob(f"{DAMAGED_REFRESH}-*.json")
    imports = (f"markers/import/{DAMAGED_MARKER}.json", f"failures/import/{DAMAGED_FAILURE}.json")
    for damaged in (*(site.work / name for name in imports), failed_refresh):
        damaged.write_bytes(b"\0" * 100)  # as a power cut leaves a file
    with (site.work / "import_failures.log").open("a") as log:
        log.write(f"{LISTED_BY_OPERATOR}\n")
    directory, file, link = IGNORED
    for name in (OF_DAQ, file):
        (site.records / name).write_text("Inode: 1\n")
    (site.records / directory).mkdir()
    (site.records / link).symlink_to(site.root)


def _writable(site: Site, run: int) -> Path:
    directory = site.records / str(run)
    directory.chmod(0o755)
    return directory


def _add_too_large_file(site: Site, run: int) -> None:
    (_writable(site, run) / "large.fcl").write_bytes(b"#" * _LARGEST_FILE + b"\n")


def _store_something_else(site: Site, run: int) -> None:
    """Another program stores other content under this run."""
    store = UconDB(site.ucondb.settings())
    held = store.get(run)
    store.put(run, b"something else\n", override_of=held and held[1])
