"""docs/design/state.md, Operating scenarios, and what to do about each trouble."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from tests.acceptance.guide import STATE_FILES, log_file, numbers, state_file, take, without_root_powers, write_state
from tests.paths import REPOSITORY
from tests.site import TIMEOUT, Site, environment
from tests.waiting import scaled

pytestmark = pytest.mark.in_process


def test_seed_practice_1_incremental_mode_processes_only_new_runs(site: Site) -> None:
    take(site, range(100, 106), broken=[102])
    site.archive_runs("--incremental", status=1)
    idle = site.archive_runs("--incremental")
    take(site, [106])

    done = site.archive_runs("--incremental")

    assert "nothing to do" in idle.stderr
    assert re.search(r"^1 run into artdaqDB, 1 run into UconDB", done.stderr, re.MULTILINE)


def test_seed_practice_2_a_backup_of_the_state_files_can_be_put_back(site: Site) -> None:
    take(site, [100, 101])
    site.archive_runs("--import-only")
    backup = site.root / "backup.tar.gz"
    subprocess.run(f"tar -czf {backup} *.json *.log", shell=True, check=True, cwd=site.work)
    take(site, [102, 103])
    site.archive_runs("--import-only", "--incremental")

    subprocess.run(["tar", "-xzf", backup], check=True, cwd=site.work)
    take(site, [104])
    site.archive_runs("--import-only", "--incremental")

    assert numbers(site) == (104, 104)
    assert site.archive.runs() == {100, 101, 102, 103, 104}
    assert site.failures("import") == []


def test_seed_practice_3_failure_logs_can_be_counted(site: Site) -> None:
    alert = f'if [ $(wc -l < {log_file(site)}) -gt 2 ]; then echo "Alert: High failure count"; fi'
    take(site, range(100, 106), broken=[101, 103])
    site.archive_runs("--import-only", status=1)
    quiet = shell(alert)
    take(site, [106], broken=[106])
    site.archive_runs("--import-only", "--incremental", status=1)

    assert quiet == ""
    assert shell(alert) == "Alert: High failure count\n"


def test_seed_practice_4_compare_state_names_what_repairs(site: Site) -> None:
    take(site, [*range(100, 104), *range(106, 110)], broken=[108])
    site.archive_runs(status=1)
    good = site.archive_runs("--compare-state")
    for run in (101, 102, 107):
        (site.work / "markers" / "import" / f"{run}.json").unlink()
    site.ucondb.execute("delete from {folder}_versions where key = '106'")
    log_file(site).write_text("")
    log_file(site, "migrate").write_text("103\n")

    bad = site.archive_runs("--compare-state", status=1)
    for command in re.findall(r"repair with: \./run_archiver\.sh \S+ (\S+)", bad.stdout):
        site.archive_runs(command, status=None)

    assert "filesystem: 8 runs, 100 to 109, gaps: 104-105\n" in good.stdout
    assert "import_failures.log: 1 run to retry: 108" in good.stdout
    assert "consistent: " in good.stdout
    command = f"./run_archiver.sh {site.config}"
    assert [line for line in bad.stdout.splitlines() if "repair with" in line] == [
        f"import: runs in artdaqDB without a marker: 101-102,107; repair with: {command} --recover-import-state",
        f"import: missing runs not in import_failures.log: 108; repair with: {command} --recover-import-state",
        f"migrate: runs with a marker that UconDB does not hold: 106; repair with: {command} --recover-migrate-state",
        f"migrate: runs in migrate_failures.log that are archived: 103; repair with: {command} --recover-migrate-state",
        f"migrate: missing runs not in migrate_failures.log: 106; repair with: {command} --recover-migrate-state",
    ]
    assert "INCONSISTENT: 5 discrepancies" in bad.stdout
    assert "consistent: " in site.archive_runs("--compare-state").stdout


def test_seed_practice_4_compare_state_fails_when_a_place_cannot_be_read(site: Site) -> None:
    site.configure(ucon_db={"server_url": "http://127.0.0.1:9/ucondb"})

    done = site.archive_runs("--report-status", "--compare-state", status=1)

    assert "NOT COMPARED: a site cannot be read" in done.stdout
    assert not site.work.exists()


def test_seed_practice_5_recover_state_after_external_changes(site: Site) -> None:
    take(site, range(100, 104))
    site.archive_runs()
    site.ucondb.execute("delete from {folder}_versions where key = '102'")

    site.archive_runs("--recover-import-state", "--recover-migrate-state")
    recovered = numbers(site, "migrate"), site.failures("migrate")
    site.archive_runs("--retry-failed-migrate")

    assert recovered == ((101, 103), [102])
    assert numbers(site, "migrate") == (103, 103)
    assert set(site.blobs()) == {"100", "101", "102", "103"}


def test_seed_practice_6_recovery_replaces_a_manual_edit(site: Site) -> None:
    take(site, range(100, 104))
    site.archive_runs("--import-only")
    write_state(site, 9999, 9999)

    site.archive_runs("--recover-import-state")
    take(site, [104])
    site.archive_runs("--import-only", "--incremental")

    assert numbers(site) == (104, 104)
    assert "9999" in (site.work / "importer_state.json.bak").read_text()


def test_seed_issue_runs_processed_repeatedly(site: Site) -> None:
    take(site, [12345, 12346])
    site.archive_runs()
    shutil.rmtree(site.work / "markers" / "import")

    compared = site.archive_runs("--report-status", "--compare-state", status=1)
    again = site.archive_runs()
    shutil.rmtree(site.work / "markers" / "import")
    site.archive_runs("--recover-import-state")
    done = site.archive_runs("--incremental")

    assert "[Import] [Run 12345] Configuration 12345/BootDAQ is already archived" in again.stderr
    assert "import: runs in artdaqDB without a marker: 12345-12346" in compared.stdout
    assert "nothing to do" in done.stderr
    site.assert_archived_once([12345, 12346])


def test_seed_issue_incremental_mode_processes_too_many_runs(site: Site) -> None:
    take(site, range(100, 110), broken=[103])
    site.archive_runs("--import-only", status=1)
    write_state(site, 101, 101)

    site.archive_runs("--recover-import-state")
    done = site.archive_runs("--import-only", "--incremental")

    assert "nothing to do" in done.stderr
    assert numbers(site) == (102, 109)


def test_seed_issue_gaps_not_filling(site: Site) -> None:
    take(site, range(100, 104), broken=[102])
    site.archive_runs("--import-only", status=1)

    debug = site.archive_runs("--retry-failed-import", "-v", status=1)
    still = site.failures("import")
    take(site, [102])
    site.archive_runs("--retry-failed-import")

    assert "run 102: " in debug.stderr
    assert "the record holds no file to archive" in debug.stderr
    assert still == [102]
    assert numbers(site) == (103, 103)


@pytest.mark.parametrize("stage", STATE_FILES)
def test_seed_issue_state_file_will_not_write(site: Site, stage: str) -> None:
    site.configure(app={"import_state_file": "${work_dir}/i/s.json", "migrate_state_file": "${work_dir}/m/s.json"})
    take(site, [100])
    site.archive_runs()
    directory = site.work / stage[0]
    directory.chmod(0o555)
    take(site, [101, 102])

    done = run_with_file_modes(site, "--incremental")

    assert done.returncode == 1
    assert f"{directory / 's.json'}: Failed to write state file: Permission denied" in done.stderr
    assert site.archive.runs() == {100}
    directory.chmod(0o755)
    site.archive_runs("--incremental")
    site.assert_archived_once([100, 101, 102])


def test_seed_issue_state_file_will_not_write_in_work_dir(site: Site) -> None:
    take(site, [100])
    site.archive_runs()
    site.work.chmod(0o555)
    take(site, [101])

    done = run_with_file_modes(site, "--incremental")
    site.work.chmod(0o755)

    assert done.returncode == 1
    assert f"{state_file(site)}: Failed to write state file: Permission denied" in done.stderr
    assert site.archive.runs() == {100}


def run_with_file_modes(site: Site, *options: str) -> subprocess.CompletedProcess[str]:
    if os.geteuid() == 0 and not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv to take that right away")
    return subprocess.run(
        without_root_powers(site.command(*options)),
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=environment(),
    )


def shell(command: str) -> str:
    return subprocess.run(command, shell=True, check=True, capture_output=True, text=True, timeout=scaled(20)).stdout
