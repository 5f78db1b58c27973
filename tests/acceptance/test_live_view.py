"""A running cycle as people see it: on the terminal that started it, and on another one."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from contextlib import suppress

from scripts.make_run_records import write_record
from tests.paths import REPOSITORY
from tests.site import Site, environment
from tests.waiting import scaled, wait_until


def screen(command: list[str]) -> tuple[int, str]:
    """Run a command on a terminal; its exit status, and what it printed, with the terminal's codes."""
    master, slave = pty.openpty()
    terminal = environment() | {"TERM": "xterm-256color", "COLUMNS": "100"}
    process = subprocess.Popen(command, cwd=REPOSITORY, stdin=slave, stdout=slave, stderr=slave, env=terminal)
    os.close(slave)
    printed = b""
    with suppress(OSError):  # the end of a terminal is an error
        while part := os.read(master, 65536):
            printed += part
    os.close(master)
    return process.wait(timeout=scaled(60)), printed.decode()


def plain(printed: str) -> list[str]:
    """The lines without colours and movements of the cursor."""
    return [line.strip() for line in re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", printed))]


def test_a_terminal_shows_bars_below_whole_lines_of_failures(site: Site) -> None:
    site.make(30)
    write_record(site.records / "7", {})

    status, printed = screen(site.command("--import-only"))

    assert status == 1
    lines = plain(printed)
    message = f"run 7: {site.records}/7: the record holds no file to archive (was it copied to the end, or emptied?)"
    assert message in " ".join(lines)
    assert any("into artdaqDB" in line and "30/30" in line for line in lines)
    assert not any("into artdaqDB" in line and "run 7" in line for line in lines)


def test_another_terminal_can_follow_the_cycle_to_its_end(site: Site) -> None:
    site.make(60)
    site.configure(ucon_db={"timeout_seconds": 600})
    with site.ucondb.frozen():  # so that the cycle has not ended before it is followed
        cycle = site.start(site.command())
        wait_until((site.work / "state" / "running.json").exists, what="the cycle never began")

        follower = site.start(site.command("--follow"))
        assert follower.stdout is not None
        first = follower.stdout.readline()

    told, _ = cycle.communicate(timeout=scaled(60))
    assert cycle.returncode == 0, told
    rest, _ = follower.communicate(timeout=scaled(60))
    assert follower.returncode == 0, rest
    lines = [first.rstrip("\n"), *rest.splitlines()]
    assert re.fullmatch(r"\d+ of 60 runs into artdaqDB, \d+ of 60 runs into UconDB", lines[0])
    assert lines[-1] == "the cycle has ended: 60 of 60 runs into artdaqDB, 60 of 60 runs into UconDB"


def test_following_nothing_says_so(site: Site) -> None:
    assert site.archive_runs("--follow").stdout == f"no cycle is running in {site.work}\n"
    assert not site.work.exists()
