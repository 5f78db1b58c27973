"""Records that somebody writes to while they are read: what is archived is what they were at one moment, or nothing."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rra_state.base.errors import RecordChanged, RecordError
from rra_state.records import blob
from tests.paths import REPOSITORY
from tests.records import read_record
from tests.reliability import restless
from tests.reliability.counts import count
from tests.site import Site

pytestmark = pytest.mark.in_process

SECONDS = 5.0
READS = 200
RUNS = range(1, 41)


@contextmanager
def _writer(directory: Path, log: Path) -> Iterator[None]:
    command = [sys.executable, "-m", "tests.reliability.restless", str(directory), "7", str(log)]
    with subprocess.Popen(command, cwd=REPOSITORY) as process:
        try:
            while not log.exists() or log.stat().st_size < 10_000:
                assert process.poll() is None
                time.sleep(0.01)
            yield
        finally:
            process.kill()


def test_a_record_is_read_as_at_one_moment_or_refused(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    place, log = tmp_path / "records", tmp_path / "log"
    for run in (1, 2):
        restless.make(place / str(run))
    read: list[tuple[str, frozenset[tuple[str, bytes]]]] = []
    outcomes: Counter[str] = Counter()

    with _writer(place, log):
        end = time.monotonic() + SECONDS
        while time.monotonic() < end or len(read) < READS:
            run = 1 + len(read) % 2
            try:
                record = read_record(place / str(run), run)
            except RecordChanged:
                outcomes["changed"] += 1
            except RecordError as error:
                outcomes[error.message] += 1
            else:
                files = frozenset((file.name, file.data) for file in record.files if file.name.endswith(".fcl"))
                read.append((str(run), files))

    states = restless.seen(log)
    assert outcomes["changed"]
    assert [each for each in read if each[1] not in states[each[0]]] == []
    count(request, "records read while they were written", len(read) + outcomes["changed"])


def test_a_cycle_over_changing_records_archives_single_moments(
    site: Site, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    for run in RUNS:
        restless.make(site.records / str(run))

    with _writer(site.records, tmp_path / "log"):
        done = site.real_archive_runs("-v", status=None)

    assert done.returncode in (0, 1)
    assert "Traceback" not in done.stderr
    states = restless.seen(tmp_path / "log")
    for key, content in site.blobs().items():
        files = blob.unpack(content).files
        found = frozenset((name, files[name]) for name in restless.NAMES if name in files)
        assert found in states[key]
    site.archive_runs("--retry-failed-import", status=None)
    again = site.archive_runs(status=None)  # archives again what went on changing, unless it lost something
    failed = [line for line in again.stderr.splitlines() if line.startswith("run ") and "could not" in line]
    assert [line for line in failed if "RecordShrank: the record on disk has lost content" not in line] == []
    assert again.returncode == (1 if failed else 0), again.stderr
    assert site.markers("migrate") == set(RUNS)
    verified = site.archive_runs("--verify", status=1 if failed else 0).stdout.splitlines()
    assert verified[-1].startswith(f"verified {len(RUNS)} runs: ")
    shrank = {line.split(":")[0] for line in failed}
    assert {line.split(":")[0] for line in verified[:-1]} == shrank
    assert [line for line in verified[:-1] if "disk" not in line] == []  # they went on changing; the stores agree
    count(request, "records archived while they were written", len(RUNS))
