"""Cycles over artdaqDB in a PostgreSQL of its own, which is restarted, full, or not to be entered."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from scripts.ucondb_dev.postgres import Postgres, PostgresError
from tests.rights import privileged
from tests.servers import new_database, temporary_directory
from tests.site import Site
from tests.waiting import scaled, wait_until

pytestmark = pytest.mark.in_process


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with temporary_directory() as directory:
        try:
            server = Postgres(directory / "pg", durable=False)
            server.start()
        except PostgresError as error:
            pytest.skip(str(error))
        yield server
        server.stop("immediate")


@pytest.fixture
def site(site: Site, server: Postgres) -> Site:
    """A site with a database of its own; a test may stop the server, the next one finds it running."""
    site.database = new_database(server.start(), f"artdaqdb_{uuid4().hex}")
    site.configure()
    return site


def test_a_cycle_over_postgresql_and_an_operators_commands(site: Site) -> None:
    site.make(12)

    assert "artdaqDB: OK (artdaqDB in PostgreSQL" in site.archive_runs("--check").stdout
    site.real_archive_runs()

    site.assert_archived_once(range(1, 13))
    assert "consistent" in site.archive_runs("--report-status", "--compare-state").stdout
    for path in (site.work / "markers" / "import").iterdir():
        path.unlink()
    assert "Found 12 runs in artdaqDB" in site.archive_runs("--recover-import-state").stdout
    puts = site.ucondb.stats()["puts"]
    site.archive_runs()
    site.assert_archived_once(range(1, 13))
    assert site.ucondb.stats()["puts"] == puts


def test_a_server_that_is_restarted_twice_costs_no_run(site: Site, server: Postgres) -> None:
    site.make(300)
    cycle = site.start(site.command())

    for done in (40, 150):
        wait_until(lambda done=done: len(site.markers("import")) >= done)  # type: ignore[misc]
        server.stop("fast")  # as an administrator would, in a hurry: sessions are cut off
        server.start()
    output, _ = cycle.communicate(timeout=scaled(100))

    assert cycle.returncode == 0, output
    assert not list(site.work.glob("failures/*/*.json"))
    site.assert_archived_once(range(1, 301))


def test_case_b14_a_postgresql_that_stays_away_costs_no_run(site: Site, server: Postgres) -> None:
    site.make(4)
    site.archive_runs()
    site.make(4, first_run=5)
    server.stop("fast")

    refused = site.real_archive_runs(status=1)

    assert "is the server running and reachable?" in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not list(site.work.glob("failures/*/*.json"))
    server.start()
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 9))


def test_runs_removed_from_the_database_are_taken_again(site: Site) -> None:
    site.make(5)
    site.archive_runs()
    with psycopg.connect(site.database) as connection:
        connection.execute("UPDATE artdaqdb.versions SET visible = false WHERE run IN (2, 3)")

    done = site.archive_runs("--incremental")

    assert "LostFromIndex: runs 2-3 were in artdaqDB" in done.stderr
    site.assert_archived_once(range(1, 6))


def test_a_role_that_may_not_write_learns_the_grant(site: Site) -> None:
    site.make(1)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute("CREATE ROLE guest LOGIN")
    site.configure(artdaq_db={"database_uri": site.database.replace("postgres@", "guest@")})

    check = site.archive_runs("--check", status=1)
    refused = site.archive_runs(status=1)

    assert "role guest may not make its tables" in check.stdout
    assert "docs/stores.md" in refused.stderr
    assert not list(site.work.glob("failures/*/*.json"))


def test_a_password_in_the_uri_is_never_shown(site: Site) -> None:
    site.make(1)
    secret = "s3cret-in-the-uri"
    site.configure(artdaq_db={"database_uri": site.database.replace("postgres@", f"nobody:{secret}@")})

    refused = site.real_archive_runs("-v", status=1)

    assert "nobody" in refused.stderr
    texts = [refused.stderr, refused.stdout, *(path.read_text() for path in site.work.rglob("*") if path.is_file())]
    assert not any(secret in text for text in texts)


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of 16 MB for a tablespace."""
    with temporary_directory() as directory:
        directory.chmod(0o755)
        place = directory / "small"
        place.mkdir()
        privileged("mount", "-t", "tmpfs", "-o", "size=16m", "tmpfs", place)
        yield place
        subprocess.run(["umount", "-l", place], check=True)


def test_a_full_disk_costs_no_run_and_is_told(site: Site, server: Postgres, small_disk: Path) -> None:
    owner = (server.directory / "PG_VERSION").stat()
    os.chown(small_disk, owner.st_uid, owner.st_gid)
    with psycopg.connect(site.database, autocommit=True) as connection:
        connection.execute(f"CREATE TABLESPACE small LOCATION '{small_disk}'")
        connection.execute("CREATE DATABASE small TABLESPACE small")
    site.database = server.uri("small")
    site.configure(artdaq_db={"database_uri": site.database})
    site.make(4)
    site.archive_runs()
    free = os.statvfs(small_disk)
    filler = small_disk / "filler"
    filler.write_bytes(b"x" * (free.f_bavail * free.f_frsize - 300_000))
    site.make(40, first_run=5)

    full = site.real_archive_runs(status=1)

    assert "free space on the server's disk" in full.stderr
    assert not list(site.work.glob("failures/*/*.json"))
    filler.unlink()
    site.archive_runs("--incremental")
    site.assert_archived_once(range(1, 45))
    with psycopg.connect(site.database.replace("/small?", "/postgres?"), autocommit=True) as connection:
        connection.execute("DROP DATABASE small WITH (FORCE)")
        connection.execute("DROP TABLESPACE small")
