"""Standard streams that are closed, that nobody reads, or that cannot hold every character."""

from __future__ import annotations

import shlex
import subprocess

import pytest

from tests.paths import REPOSITORY
from tests.site import TIMEOUT, Site, environment

pytestmark = pytest.mark.in_process

CLOSED = "standard output cannot be written: bad file descriptor\n"


def _shell(site: Site, line: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """What bash makes of it, with the archiver's call in place of R."""
    line = line.replace("R ", f"{shlex.join(site.command())} ")
    environ = environment() | {"PYTHONUNBUFFERED": ""} | variables
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=REPOSITORY,
        env=environ,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
    )


@pytest.mark.parametrize(
    ("line", "status", "printed", "errors"),
    [
        ("R --report-status >&-", 1, "", CLOSED),
        ("R --dry-run >&-", 1, "", CLOSED),
        ("R --help >&-", 1, "", CLOSED),
        ("R --dry-run 2>&-", 0, "would import 0 runs: -\n", ""),
        ("R --check | head -1", 1, "configuration: OK", ""),
        ("R --dry-run | true", 1, "", ""),
        ("R --import-only --incremental <&- >&-", 0, "", "nothing to do"),
        ("R --import-only --incremental 2>/dev/full", 0, "", ""),
        ("R --import-only --incremental 2>&1 | true", 0, "", ""),
        ("R --retry-failed-import --runs 1 2>/dev/full", 1, "", ""),
    ],
)
def test_case_b10_streams_end_as_they_do_for_cat(site: Site, line: str, status: int, printed: str, errors: str) -> None:
    (site.records / ".record_directory_info").touch()

    done = _shell(site, line)

    assert (done.returncode, done.stdout[: len(printed)], done.stderr[: len(errors)]) == (status, printed, errors)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr
    assert bool(done.stderr) is bool(errors)


def test_case_b10_an_ascii_terminal_gets_every_name(site: Site) -> None:
    (site.records / ".record_directory_info").touch()
    site.configure(app={"work_dir": str(site.root / "Zählung")})

    done = _shell(site, "R --check", PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert done.returncode == 0, done.stderr
    assert "Z\\xe4hlung" in done.stdout
