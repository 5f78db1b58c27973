"""Log file and console."""

from __future__ import annotations

import logging
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from rra_state.base import log
from rra_state.base.errors import WorkDirError
from rra_state.base.log import MAX_AGE_SECONDS, LogFile, open_log_file
from tests.paths import REPOSITORY
from tests.unit.archive_site import Site
from tests.waiting import scaled


@pytest.fixture(autouse=True)
def own_handlers() -> Iterator[None]:
    """Give every test the logger as a fresh process has it."""
    before = log.log.handlers[:], log.log.propagate, log.log.level
    log.log.handlers[:] = []
    yield
    for handler in log.log.handlers:
        handler.close()
    log.log.handlers[:], log.log.propagate = before[:2]
    log.log.setLevel(before[2])


@pytest.fixture
def far_from_greenwich(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setenv("TZ", "America/Chicago")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.usefixtures("far_from_greenwich")
def test_the_log_has_utc_times_and_levels(make_site: Callable[..., Site]) -> None:
    site = make_site(log_file="logs/archiver.log", log_level="WARNING")

    log.setup(site.settings.app.log_file, site.settings.app.log_level, console_level=None)
    log.log.info("unimportant")
    log.log.warning("run %d: kept", 7)

    (line,) = (site.root / "logs" / "archiver.log").read_text().splitlines()
    stamp, rest = line[:20], line[20:]
    assert rest == " WARNING run 7: kept"
    assert abs(datetime.fromisoformat(stamp).timestamp() - time.time()) < 60


def test_the_console_has_plain_lines_at_its_own_level(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(None, console_level=logging.INFO)
    log.log.debug("a detail")
    log.log.info("news")

    assert capsys.readouterr().err == "news\n"


def test_setting_up_twice_tells_everything_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    log.setup(site.settings.app.log_file)
    log.setup(site.settings.app.log_file)
    log.log.info("news")

    assert capsys.readouterr().err == "news\n"


def test_without_a_log_file_none_is_made(site: Site) -> None:
    before = sorted(site.root.rglob("*"))

    log.setup(site.settings.app.log_file, console_level=None)

    assert log.log.handlers == []
    assert sorted(site.root.rglob("*")) == before


def test_an_unwritable_log_file_is_named_with_its_key(make_site: Callable[..., Site]) -> None:
    site = make_site(log_file="a-file/archiver.log")
    (site.root / "a-file").write_text("")

    with pytest.raises(WorkDirError, match=r"archiver\.log: log file cannot be written: .* \(see app\.log_file\)"):
        log.setup(site.settings.app.log_file)


def _write(file: LogFile, text: str) -> None:
    file.emit(logging.LogRecord("rra", logging.INFO, __file__, 1, text, None, None))


def _stamp(age: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() - age)) + "Z INFO first line\n"


@pytest.mark.parametrize(("age", "rotated"), [(MAX_AGE_SECONDS + 60, True), (MAX_AGE_SECONDS - 60, False)])
def test_a_file_is_rotated_after_14_days_of_many_processes(tmp_path: Path, age: float, rotated: bool) -> None:
    path = tmp_path / "a.log"
    path.write_text(_stamp(age))

    for text in ("news", "more"):
        file = open_log_file(path, "INFO")
        _write(file, text)
        file.close()

    assert (tmp_path / "a.log.1").exists() is rotated
    assert re.search(r"(^|\n).*Z INFO news\n.*Z INFO more\n$", path.read_text())


def test_a_full_file_is_rotated(tmp_path: Path) -> None:
    file = open_log_file(tmp_path / "a.log", "INFO", max_bytes=10, backups=2)
    for text in ("first", "second", "third"):
        _write(file, text)
    file.close()

    contents = [(tmp_path / name).read_text() for name in ("a.log", "a.log.1", "a.log.2")]
    assert [text.split()[-1] for text in contents] == ["third", "second", "first"]


def test_lines_are_appended_to_a_file_of_another_program(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text("no time here\n")

    file = open_log_file(tmp_path / "a.log", "INFO")
    _write(file, "news")
    file.close()

    first, second = (tmp_path / "a.log").read_text().splitlines()
    assert first == "no time here"
    assert second.endswith("INFO news")


LOGGING = """
import sys
from pathlib import Path
from rra_state.base import log
log.setup(Path(sys.argv[1]), console_level=None)
log.log.warning("news")
"""


def _logged(path: str, **streams: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", LOGGING, path]
    return subprocess.run(command, text=True, timeout=scaled(30), check=True, cwd=REPOSITORY, **streams)


def test_case_b4_a_pipe_or_socket_as_log_is_written_to() -> None:
    ours, given = socket.socketpair()

    by_pipe = _logged("/dev/stdout", stdout=subprocess.PIPE)
    with ours, given:
        _logged("/dev/fd/1", stdout=given)
        by_socket = ours.recv(1000).decode()

    assert by_pipe.stdout.endswith("Z WARNING news\n")
    assert by_socket.endswith("Z WARNING news\n")


def test_case_b4_a_file_behind_dev_stdout_is_not_rotated(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    path.write_text(_stamp(MAX_AGE_SECONDS + 60))

    with path.open("a") as stream:
        _logged("/dev/fd/1", stdout=stream)

    assert len(path.read_text().splitlines()) == 2
    assert [each.name for each in tmp_path.iterdir()] == ["a.log"]


def test_case_b4_a_fifo_is_written_to_or_refused(tmp_path: Path) -> None:
    path = tmp_path / "fifo"
    os.mkfifo(path)

    with pytest.raises(WorkDirError, match="no program reads this FIFO"):
        open_log_file(path, "INFO")
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    file = open_log_file(path, "INFO", max_bytes=1)
    for _ in range(2):
        _write(file, "news")
    file.close()

    assert os.read(reader, 1000).count(b" INFO news") == 2
    os.close(reader)
    assert [each.name for each in tmp_path.iterdir()] == ["fifo"]
