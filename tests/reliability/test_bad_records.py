"""Bad records by the hundred in one cycle of the real command line: each archived exactly, or refused with a reason."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from rra_state.base.wording import readable
from rra_state.records import blob
from rra_state.records.source import TEXTS
from scripts.make_run_records import make_records
from tests.reliability.counts import count
from tests.reliability.horrors import HORRORS, METADATA, OF_ROOT
from tests.reliability.test_spoilt_records import LONG, _spoilt, _stored, _write
from tests.reliability.vitals import Watch
from tests.site import Site
from tests.waiting import scaled

MEMORY = 512 * 2**20
SPOILT = 5000 if LONG else 60
SECONDS = scaled(720 if LONG else 60)
TEXT_NAMES = {f"{stem}.txt" for stem in TEXTS}

pytestmark = [pytest.mark.timeout(2 * SECONDS), pytest.mark.in_process]


@pytest.fixture
def site(site: Site) -> Iterator[Site]:
    site.configure(app={"worker_memory_bytes": MEMORY, "retry_delay_seconds": 0})
    yield site
    for path in site.records.iterdir():
        if not path.is_dir() or path.is_symlink():
            path.unlink()


def test_horrors_cost_only_themselves(site: Site, request: pytest.FixtureRequest) -> None:
    horrors = HORRORS | (OF_ROOT if os.geteuid() == 0 else {})
    runs = dict(enumerate(horrors, 1))
    site.make(3 * len(runs))
    for run, name in runs.items():
        horrors[name][0](site.records / str(run))

    said, watch = _cycle(site)

    fates = {run: horrors[name][1] for run, name in runs.items()}
    refused = {run for run, fate in fates.items() if fate == "refused"}
    archived = set(range(1, 3 * len(runs) + 1)) - refused - {run for run, fate in fates.items() if fate == "ignored"}
    assert {runs.get(run, run) for run in site.failures("import")} == {runs[run] for run in refused}
    assert site.markers("migrate") == archived
    assert all(f"run {run}: " in said for run in refused)
    for run, name in runs.items():
        if name.endswith("for metadata") or name == "a link to metadata":
            about = [each["text"] for each in site.marker("import", run)["remarks"] if each["file"] == METADATA]
            assert any(text.endswith("not archived") for text in about), name
    _archived_exactly(site)
    assert watch.memory * 1024 < MEMORY
    count(request, "horrible records through the command line", len(runs))


def test_spoilt_records_cost_only_themselves(site: Site, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    chance = Random(20261125 if not LONG else None)
    make_records(5, tmp_path / "made", first_run=1)
    made = sorted((tmp_path / "made").iterdir())
    whole = [{file.name: file.read_bytes() for file in each.iterdir()} for each in made]
    for run in range(1, SPOILT + 1):
        _write(_spoilt(chance.choice(whole), chance), site.records / str(run))

    _, watch = _cycle(site)

    refused, archived = set(site.failures("import")), site.markers("migrate")
    assert refused | archived == set(range(1, SPOILT + 1))
    assert not refused & archived
    assert refused
    assert {run for run in refused | archived if not any((site.records / str(run)).iterdir())} <= refused
    assert len(archived) > SPOILT / 2
    _archived_exactly(site)
    assert watch.memory * 1024 < MEMORY
    count(request, "spoilt records through the command line", SPOILT)


def _cycle(site: Site) -> tuple[str, Watch]:
    """One cycle, in which no worker dies; all it said, and what it took."""
    began = time.monotonic()
    cycle = site.start(site.command())
    with Watch(cycle.pid) as watch:
        said = cycle.communicate(timeout=SECONDS)[0]
    assert cycle.returncode == 1, said
    assert "Traceback" not in said
    assert "died" not in said
    assert "unexpected" not in said
    assert time.monotonic() - began < SECONDS
    for path in (site.work / "failures").rglob("*.json"):
        failure = json.loads(path.read_text())
        assert failure["kind"] in ("RecordError", "RecordTooLarge"), failure
    return said, watch


def _archived_exactly(site: Site) -> None:
    """Both stores hold what lies on the disk, every file of it that a record has; and --verify says so."""
    blobs, archive = site.blobs(), site.archive
    located = archive.locate(map(int, blobs))
    assert site.markers("import") == site.markers("migrate") == set(located) == archive.runs()
    for run, location in located.items():
        marker = site.marker("import", run)
        files = blob.unpack(blobs[str(run)]).files
        assert files == archive.export(location).files
        left_out = {each["file"] for each in marker["remarks"] if each["text"].endswith("not archived")}
        for path in (site.records / str(run)).iterdir():
            if path.is_symlink() or not path.is_file():
                assert readable(path.name) in left_out
            elif path.name not in TEXT_NAMES:
                assert files[_stored(path)] == path.read_bytes()
    verified = site.archive_runs("--verify")
    assert f"verified {len(located)} runs: {len(located)} equal" in verified.stdout
