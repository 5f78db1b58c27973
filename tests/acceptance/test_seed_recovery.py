"""docs/design/state.md, Recovery, and starting over."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest

from tests.acceptance.guide import forget, log_file, numbers, snapshot, state_file, take
from tests.servers import Line
from tests.site import Site

pytestmark = pytest.mark.in_process

IMPORT_BLOCK = """\
======================================================================
IMPORT STATE RECOVERY
======================================================================
Scanning filesystem for run records...
Found 523 runs in filesystem

Querying artdaqDB for available runs...
Found 510 runs in artdaqDB

Last attempted run: 12550
Last contiguous run: 12498

Found 13 missing runs to add to failure log
✓ Written importer_state.json
✓ Written import_failures.log with 13 runs

======================================================================
IMPORT STATE RECOVERY COMPLETE
  Filesystem runs: 523
  ArtdaqDB runs: 510
  Last contiguous: 12498
  Last attempted: 12550
  Missing runs: 13
  Missing runs (preview): [12499, 12501, 12503, 12505, 12507, 12509, 12511, 12513, 12515, 12517, ...]
======================================================================
"""

MIGRATION_BLOCK = """\
======================================================================
MIGRATION STATE RECOVERY
======================================================================
Querying artdaqDB for available runs...
Found 12 runs in artdaqDB

Querying UconDB for migrated runs...
Found 9 runs in UconDB

Last attempted run: 12352
Last contiguous run: 12344

Found 3 missing runs to add to failure log
✓ Written migrator_state.json
✓ Written migrate_failures.log with 3 runs

======================================================================
MIGRATION STATE RECOVERY COMPLETE
  ArtdaqDB runs: 12
  UconDB runs: 9
  Last contiguous: 12344
  Last attempted: 12352
  Missing runs: 3
  Missing runs (preview): [12345, 12348, 12351]
======================================================================
"""


def test_seed_import_state_recovery_example(site: Site) -> None:
    missing = list(range(12499, 12525, 2))
    take(site, range(12028, 12551), broken=missing)
    site.archive_runs("--import-only", status=1)
    cycle = numbers(site), site.failures("import")
    forget(site)

    done = site.archive_runs("--recover-import-state")

    assert done.stdout.startswith(IMPORT_BLOCK)
    assert numbers(site) == (12498, 12550)
    assert site.failures("import") == missing
    assert (numbers(site), site.failures("import")) == cycle
    assert site.markers("import") == set(range(12028, 12551)) - set(missing)


def test_seed_migration_state_recovery_example(site: Site) -> None:
    take(site, range(12341, 12353))
    site.archive_runs()
    for run in (12345, 12348, 12351):
        lose_from_ucondb(site, run)

    done = site.archive_runs("--recover-migrate-state")

    assert done.stdout.startswith(MIGRATION_BLOCK)
    assert "Runs in UconDB that look incomplete (blob under 8192 bytes): 12341-12344," in done.stdout
    assert "removed the migrate markers of runs that UconDB does not hold: 12345,12348,12351" in done.stderr
    assert numbers(site, "migrate") == (12344, 12352)
    assert site.failures("migrate") == [12345, 12348, 12351]
    assert site.marker("migrate", 12341)["verified"] is True
    site.archive_runs("--retry-failed-migrate")
    assert site.markers("migrate") == {int(key) for key in site.blobs()} == set(range(12341, 12353))


def test_seed_after_recovery_retry_and_incremental_go_on(site: Site) -> None:
    take(site, range(100, 108), broken=[103])
    site.archive_runs("--import-only", status=1)
    forget(site)
    take(site, [103, 108, 109])

    site.archive_runs("--recover-import-state")
    recovered = numbers(site), site.failures("import")
    site.archive_runs("--retry-failed-import")
    retried = numbers(site), site.failures("import")
    site.archive_runs("--import-only", "--incremental")

    assert recovered == ((102, 107), [103])
    assert retried == ((107, 107), [])
    assert numbers(site) == (109, 109)


def test_seed_recovery_excludes_future_runs_and_runs_still_being_written(site: Site) -> None:
    take(site, [100, 102])
    site.archive_runs("--import-only")
    take(site, [101, 103])
    site.configure(source_files={"settle_seconds": 3600})
    unfinished = site.records / "101" / "metadata.txt"
    unfinished.parent.chmod(0o755)
    unfinished.unlink()
    forget(site)

    done = site.archive_runs("--recover-import-state")

    assert "Found 4 runs in filesystem" in done.stdout
    assert "Missing runs: 0\n====" in done.stdout
    assert site.failures("import") == []
    assert numbers(site) == (100, 102)


def test_seed_recovery_with_an_empty_destination(site: Site) -> None:
    take(site, range(100, 103))

    done = site.archive_runs("--recover-import-state", "--recover-migrate-state")

    assert "Last attempted run: 0\nLast contiguous run: 0\n\nFound 0 missing runs" in done.stdout
    assert numbers(site) == numbers(site, "migrate") == (0, 0)
    assert log_file(site).read_bytes() == log_file(site, "migrate").read_bytes() == b""


def test_seed_recovery_keeps_old_files_and_prints_configured_names(site: Site) -> None:
    names = {
        "import_state_file": "${work_dir}/import_state.json",
        "import_failure_log": "${work_dir}/import_failure.log",
    }
    site.configure(app=names)
    take(site, range(100, 103))
    site.archive_runs("--import-only")
    (site.work / "import_state.json").write_text("{corrupted data")
    (site.work / "import_failure.log").write_text("777\n")

    done = site.archive_runs("--recover-import-state")

    assert "✓ Written import_state.json\n✓ Written import_failure.log with 0 runs\n" in done.stdout
    assert (site.work / "import_state.json.bak").read_text() == "{corrupted data"
    assert (site.work / "import_failure.log.bak").read_text() == "777\n"
    assert (site.work / "import_failure.log").read_text() == ""


def test_seed_recovery_and_full_cycle_write_to_no_store(site: Site) -> None:
    take(site, range(100, 112), broken=[104])
    site.archive_runs(status=1)
    before = site.ucondb.stats()["puts"], numbers(site), numbers(site, "migrate"), archive_files(site)
    forget(site)

    done = site.real_archive_runs("--recover-import-state", "--recover-migrate-state")
    recovered = numbers(site), numbers(site, "migrate"), site.failures("import"), site.failures("migrate")
    listed = site.marker("migrate", 100)
    site.real_archive_runs(status=1)

    assert done.stdout.count("STATE RECOVERY COMPLETE") == 2
    assert (site.ucondb.stats()["puts"], numbers(site), numbers(site, "migrate"), archive_files(site)) == before
    assert recovered == (numbers(site), numbers(site, "migrate"), site.failures("import"), site.failures("migrate"))
    marker = site.marker("migrate", 100)
    assert (listed["verified"], marker["verified"]) == (False, True)
    assert marker["size"] == len(site.blobs()["100"])
    assert marker["version"] == site.marker("import", 100)["version"]


def unreachable(site: Site) -> None:
    site.configure(ucon_db={"server_url": "http://127.0.0.1:9/ucondb"})


def without_records(site: Site) -> None:
    site.configure(source_files={"run_records_dir": str(site.root / "unmounted")})


def damaged_index(site: Site) -> None:
    index = site.root / "artdaqdb" / "RunHistory" / "index.json"
    index.write_bytes(index.read_bytes()[:-100])
    os.utime(index, (0, 0))  # one that changed just now is waited for


@pytest.mark.parametrize("spoil", [unreachable, without_records, damaged_index])
def test_seed_recovery_changes_nothing_when_a_place_cannot_be_read(site: Site, spoil: Callable[[Site], None]) -> None:
    take(site, range(100, 103))
    site.archive_runs()
    (site.work / "markers" / "import" / "101.json").unlink()
    state_file(site).write_text("{")
    before = snapshot(site)
    spoil(site)

    done = site.archive_runs("--recover-import-state", "--recover-migrate-state", status=1)

    assert done.stdout.endswith("Nothing was changed.\n")
    assert "COMPLETE" not in done.stdout
    assert len(done.stderr.strip().splitlines()) == 1
    assert snapshot(site) == before


def test_seed_recovery_changes_nothing_after_a_cut_listing(site: Site) -> None:
    take(site, range(100, 110))
    site.archive_runs()
    before = snapshot(site)

    def cut(asked: bytes, answer: bytes) -> bytes:
        if b"/versions?" not in asked.partition(b"\r\n")[0]:
            return answer
        head, _, body = answer.partition(b"\r\n\r\n")
        lines = [line for line in head.split(b"\r\n") if not line.lower().startswith(b"content-length")]
        return b"\r\n".join(lines) + b"\r\n\r\n" + body[: len(body) // 2]

    with Line(site.ucondb.url, cut) as line:
        site.configure(ucon_db={"server_url": line.url})
        done = site.archive_runs("--recover-migrate-state", status=1)

    assert "cut off" in done.stderr
    assert done.stdout.endswith("Nothing was changed.\n")
    assert snapshot(site) == before


@pytest.mark.parametrize(
    ("recovery", "other"),
    [
        ("--recover-import-state", "--incremental"),
        ("--recover-migrate-state", "--retry-failed-migrate"),
        ("--recover-import-state", "--report-status"),
        ("--compare-state", "--import-only"),
    ],
)
def test_seed_recovery_and_comparison_refuse_other_selections_by_name(site: Site, recovery: str, other: str) -> None:
    done = site.archive_runs(recovery, other, status=1)

    assert recovery in done.stderr
    assert other in done.stderr
    assert not site.work.exists()


def test_seed_resetting_state_start_fresh(site: Site) -> None:
    take(site, range(100, 106), broken=[102])
    site.archive_runs(status=1)
    before = numbers(site), numbers(site, "migrate"), site.failures("import"), site.failures("migrate")
    for stage in ("import", "migrate"):
        state_file(site, stage).unlink()
        log_file(site, stage).unlink()

    site.archive_runs("--recover-import-state")
    site.archive_runs("--recover-migrate-state")

    assert before == (numbers(site), numbers(site, "migrate"), site.failures("import"), site.failures("migrate"))
    done = site.archive_runs("--incremental")
    assert "nothing to do" in done.stderr


def lose_from_ucondb(site: Site, run: int) -> None:
    """What a restore of an older database does."""
    site.ucondb.execute("delete from {folder}_versions where key = %s", str(run))


def archive_files(site: Site) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in (site.root / "artdaqdb").rglob("*.json")}
