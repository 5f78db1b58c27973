"""The page on moving from the existing archiver, done step by step on what that archiver leaves behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from requests.auth import HTTPDigestAuth

from tests.acceptance import documented
from tests.acceptance.guide import LOGS, STATE_FILES, forget, take
from tests.paths import REPOSITORY
from tests.site import Site
from tests.waiting import scaled

pytestmark = pytest.mark.in_process

PAGE = REPOSITORY / "docs" / "migrate-from-existing.md"
OLD_STATE = '{"last_contiguous_run": 0, "last_attempted_run": 7006}'
OLD_LOG = "7005\n7003\n7005\n"


def leftovers(site: Site) -> None:
    """What the existing archiver leaves: runs 7001, 7002 and 7006 in both stores, 7004 only in artdaqDB.

    7003 and 7005 failed, and 7005 is still broken. It counted from run 1, so its state says 0. The blob of 7002 was
    packed in another minute, and from other texts.
    """
    take(site, [7001, 7002, 7006])
    site.archive_runs()
    take(site, [7004])
    site.archive_runs("--import-only")
    _replace_blob(site, 7002)
    forget(site)
    for name in (*STATE_FILES.values(), *LOGS.values()):
        (site.work / name).write_text(OLD_LOG if name in LOGS.values() else OLD_STATE)
    take(site, [7003, 7005, 7007], broken=[7005])


def _replace_blob(site: Site, run: int) -> None:
    text = site.blobs()[str(run)].replace(b"Packed on Oct", b"Packed on Dec").replace(b"component01", b"component02")
    answer = requests.post(
        f"{site.ucondb.url}/data/{site.ucondb.folder}/configuration",
        params={"key": str(run), "tag": str(run), "override": "yes", "full_meta": "yes"},
        data=text,
        auth=HTTPDigestAuth(site.ucondb.user, site.ucondb.password),
        timeout=scaled(30),
    )
    answer.raise_for_status()


def existing_config(site: Site) -> None:
    """The sections and keys that a configuration of the existing archiver has, and no others."""
    site.configure(
        app={"batch_size": 5, "run_process_retries": 2, "log_level": "INFO", "log_file": "${work_dir}/archiver.log"},
        artdaq_db={"use_tools": False, "remote_host": ""},
        ucon_db={"object_name": "configuration", "timeout_seconds": 30},
        app_fuzz={"random_skip_percent": 0, "random_error_percent": 0},
        reporting={"email": {"enabled": False, "recipient_email": "a@example.org"}, "slack": {"enabled": False}},
        carbon={"enabled": False, "host": "localhost", "port": 2003, "metric_prefix": "sbnd"},
    )


@pytest.mark.timeout(300)
def test_the_steps_bring_everything_over_and_store_nothing_twice(site: Site) -> None:
    existing_config(site)
    leftovers(site)
    before = site.blobs()

    said = {}
    for command in documented.commands(PAGE):
        done = documented.run(command, site)
        said[command.rpartition("--")[2]] = done.stdout + done.stderr
        assert done.returncode in (0, 1), f"{command}\n{done.stdout}\n{done.stderr}"

    assert "UconDB: OK" in said["check"]
    assert "7003" in said["compare-state"], "the run that was passed over is found"
    assert site.markers("migrate") == {7001, 7002, 7003, 7004, 7006, 7007}
    assert site.failures("import") == [7005], "it is still broken, and not forgotten"
    after = site.blobs()
    assert {key: after[key] for key in before} == before, "nothing of the existing archiver was overwritten"
    assert site.versions() == 7, "six runs, one of them twice before we came"
    assert not site.marker("migrate", 7002)["verified"]
    assert site.marker("migrate", 7003)["verified"]


def test_the_old_files_are_kept(site: Site) -> None:
    existing_config(site)
    leftovers(site)

    documented.run("./run_archiver.sh CONFIG --recover-import-state --recover-migrate-state", site)

    for name in STATE_FILES.values():
        kept = Path(f"{site.work / name}.bak")
        assert json.loads(kept.read_text()) == json.loads(OLD_STATE)
    for name in LOGS.values():
        assert Path(f"{site.work / name}.bak").read_text() == OLD_LOG


def test_without_recovery_a_blob_packed_otherwise_is_a_conflict(site: Site) -> None:
    existing_config(site)
    leftovers(site)
    before = site.blobs()

    site.archive_runs(status=1)

    assert 7002 in site.failures("migrate")
    assert site.blobs()["7002"] == before["7002"]
