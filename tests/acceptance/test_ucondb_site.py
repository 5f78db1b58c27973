"""The command line and UconDB: a folder that is not there yet, a crowd of workers, listing by SQL."""

from __future__ import annotations

import re
import shlex
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.in_process import InProcessSite
from tests.programs import needed
from tests.servers import Folder, Line
from tests.site import Site
from tests.waiting import scaled

pytestmark = pytest.mark.in_process

NO_FOLDER = re.compile(r"has no folder new_folder\. Correct ucon_db\.folder_name, or create it: (curl .*?'[^']*')")


def test_the_command_of_the_message_creates_the_folder(site: Site) -> None:
    curl = needed("curl")
    site.make(2)
    site.configure(ucon_db={"folder_name": "new_folder"})

    checked = site.archive_runs("--check", status=1)
    cycle = site.archive_runs(status=1)
    found = [NO_FOLDER.search(text) for text in (checked.stdout, cycle.stderr)]
    assert found[0]
    assert found[1]
    user = shlex.quote(f"archiver:{site.ucondb.password}")
    command = shlex.split(found[0][1].replace("--user archiver", f"--user {user}"))
    made = subprocess.run([curl, "--silent", *command[1:]], capture_output=True, text=True, check=True)

    assert found[0][1] == found[1][1]
    assert made.stdout == "OK"
    assert "UconDB: OK" in site.archive_runs("--check").stdout
    site.archive_runs()
    assert site.markers("migrate") == {1, 2}
    assert not site.failures("migrate")


@pytest.mark.parametrize("prefix", ["", "ucon_test."])
def test_records_are_archived_in_a_namespace_that_is_not_public(
    tmp_path: Path, namespaced: Folder, prefix: str
) -> None:
    site = InProcessSite(tmp_path, namespaced)
    site.make(4)
    site.configure(ucon_db={"folder_name": f"{prefix}{namespaced.folder}"})

    site.archive_runs()

    site.assert_archived_once(range(1, 5))
    assert site.markers("migrate") == {1, 2, 3, 4}
    assert "password accepted" in site.archive_runs("--check").stdout
    site.archive_runs("--verify")


def test_check_tries_the_password_and_changes_nothing(site: Site) -> None:
    site.make(2)
    empty = site.archive_runs("--check").stdout
    site.archive_runs()
    rows = "select id, key, object, deleted, data_key, tr from {folder}_versions order by id"
    before = site.ucondb.execute(rows), site.ucondb.execute("select count(*) from {folder}_data")

    right = site.archive_runs("--check").stdout
    site.configure(ucon_db={"writer_password": "mistyped"})
    wrong = site.archive_runs("--check", status=1).stdout

    assert "password accepted" in empty
    assert "password accepted" in right
    assert "UconDB: FAILED" in wrong
    assert "wrong user or password for folder" in wrong
    assert (site.ucondb.execute(rows), site.ucondb.execute("select count(*) from {folder}_data")) == before


def test_check_puts_nothing_under_the_key_of_another_program(site: Site) -> None:
    site.make(1)
    site.archive_runs()
    site.ucondb.execute("update {folder}_versions set key = ' 100'")

    printed = site.archive_runs("--check").stdout

    assert "password accepted" in printed
    assert site.ucondb.execute("select key from {folder}_versions") == [(" 100",)]


def test_check_tries_the_password_although_the_smallest_blob_is_damaged(site: Site) -> None:
    site.make(2)
    site.archive_runs()
    by_size = site.ucondb.execute("select data_key::bigint from {folder}_versions order by data_size, id")
    site.ucondb.execute(
        "update {folder}_data set data = set_bit(data, 800, 1 - get_bit(data, 800)) where key = %s", by_size[0][0]
    )

    right = site.archive_runs("--check").stdout
    site.configure(ucon_db={"writer_password": "mistyped"})
    wrong = site.archive_runs("--check", status=1).stdout

    assert "password accepted" in right
    assert "wrong user or password for folder" in wrong
    assert site.ucondb.execute("select count(*) from {folder}_versions") == [(2,)]


@pytest.mark.parametrize("most", [1, 2])
def test_all_workers_together_keep_to_max_connections(site: Site, most: int) -> None:
    at_once: list[int] = [0, 0]  # now, most
    guard = threading.Lock()

    met = threading.Event()

    def counted(asked: bytes, answer: bytes) -> bytes:
        with guard:
            at_once[0] += 1
            at_once[1] = max(at_once)
            if at_once[1] == most:
                met.set()
        if b"key=" in asked.partition(b"\r\n")[0] and asked.startswith(b"POST"):
            met.wait(scaled(2))  # a put is of a worker: there will be another one's
        time.sleep(0.02)
        with guard:
            at_once[0] -= 1
        return answer

    site.make(16)
    with Line(site.ucondb.url, counted) as line:
        site.configure(app={"parallel_workers": 4}, ucon_db={"server_url": line.url, "max_connections": most})
        site.real_archive_runs()

    site.assert_archived_once(range(1, 17))
    assert at_once[1] == most


def test_verification_by_sql_finds_a_flipped_bit(site: Site) -> None:
    site.make(3)
    site.configure(ucon_db={"database_uri": site.ucondb.server.pg()})
    site.archive_runs()
    before = site.ucondb.stats()

    site.archive_runs("--verify")
    assert site.ucondb.stats()["gets"] == before["gets"]
    site.ucondb.execute(
        "update {folder}_data set data = set_bit(data, 800, 1 - get_bit(data, 800)) where key = "
        "(select data_key::bigint from {folder}_versions where key = '2')"
    )

    found = site.archive_runs("--verify", status=1)
    assert "run 2: " in found.stdout + found.stderr
    assert "run 1: " not in found.stdout + found.stderr


def test_recovery_lists_by_sql_where_it_may(site: Site) -> None:
    site.make(3)
    site.configure(ucon_db={"database_uri": site.ucondb.server.pg()})
    site.archive_runs()
    for path in (site.work / "markers" / "migrate").iterdir():
        path.unlink()
    before = site.ucondb.stats()

    site.archive_runs("--recover-migrate-state")

    assert site.markers("migrate") == {1, 2, 3}
    asked_for_the_realm_and_the_newest_version = 2
    assert site.ucondb.stats() == {**before, "other": before["other"] + asked_for_the_realm_and_the_newest_version}
