"""Records that lack something, or hold more than FHiCL: when they are taken, and what is said of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from rra_state.records import blob
from scripts.make_run_records import record_files, write_record
from tests.site import Site

pytestmark = pytest.mark.in_process

TEXTS = ("boot", "known_boardreaders_list", "setup", "environment", "metadata", "settings", "ranks")
NUL = bytes(300)


def _damaged() -> dict[int, tuple[dict[str, bytes], dict[str, str]]]:
    """Files of a record, and a part of the remarks that it must have."""
    whole = record_files(1)
    readers = sorted(name for name in whole if name.startswith("reader"))
    return {
        1: (
            {name: data for name, data in whole.items() if name not in (*readers[1:], "ranks.txt")},
            dict.fromkeys(readers[1:], "is missing, and metadata.txt names the process"),
        ),
        2: (whole | {"metadata.txt": b""}, {"metadata.txt": "is empty"}),
        3: (whole | {"metadata.txt": b"Config na"}, {"metadata.txt": "holds nothing readable"}),
        4: (
            whole | {"metadata.txt": whole["metadata.txt"].decode().encode("utf-16")},
            {"metadata.txt": "holds NUL bytes"},
        ),
        5: (whole | {"boot.txt": NUL}, {"boot.txt": "holds only NUL bytes"}),
        6: (whole | {f"{stem}.txt": b"" for stem in TEXTS}, {f"{stem}.txt": "is empty" for stem in TEXTS}),
        7: (
            {"metadata.txt": whole["metadata.txt"]},
            {"boot.txt": "is missing", readers[0]: "is missing, and metadata.txt names the process"},
        ),
        8: (
            {name: data for name, data in whole.items() if name != "metadata.txt"},
            {"metadata.txt": "is missing"},
        ),
    }


def test_case_a13_a1d_damaged_records_wait_and_then_have_remarks(site: Site) -> None:
    damaged = _damaged()
    for run, (files, _) in damaged.items():
        write_record(site.records / str(run), files)
    site.make(1, first_run=9)
    site.configure(source_files={"settle_seconds": 3600})

    site.archive_runs("--incremental")
    assert site.markers("migrate") == {9}
    site.configure(source_files={"settle_seconds": 0})
    done = site.archive_runs("--incremental")

    site.assert_archived_once(range(1, 10))
    for run, (_, wanted) in damaged.items():
        remarks = {each["file"]: each["text"] for each in site.marker("import", run)["remarks"]}
        assert wanted.items() <= remarks.items(), run
        assert len([line for line in done.stderr.splitlines() if line.startswith(f"run {run}: ")]) == 1
    assert site.marker("import", 9)["remarks"] == site.marker("migrate", 9)["remarks"] == []
    report = site.archive_runs("--report-status").stdout
    assert "\nRemarks\n-------\nrun 1: " in report


def _add(site: Site, run: int, name: str, data: bytes) -> None:
    """Add a file to a record, whatever its name."""
    directory = site.records / str(run)
    directory.chmod(0o755)
    Path(os.fsdecode(os.fsencode(directory) + b"/" + name.encode("utf-8", "surrogateescape"))).write_bytes(data)


OTHERS = {
    "rc_info_start.txt": b"trigger 5\r\nstarted by \xe9\n#####\n",
    "d\u00e9tecteur.fcl": b"a: 1\n",
    "Z\udce4hlung.fcl": b"a: 2\n",
}


def test_case_e9_files_of_every_kind_and_name_are_in_both_stores(site: Site) -> None:
    site.make(1)
    for name, data in OTHERS.items():
        _add(site, 1, name, data)

    site.real_archive_runs()

    export = site.archive.export(site.archive.locate([1])[1])
    sources = {each.name: each.data for each in export.sources}
    assert {name: sources.get(name, export.files.get(name)) for name in OTHERS} == OTHERS
    files = blob.unpack(site.blobs()["1"]).files
    assert files == export.files
    assert files["rc_info_start.txt"] == OTHERS["rc_info_start.txt"]
    assert files["d%C3%A9tecteur.fcl"] + files["Z%E4hlung.fcl"] == b"a: 1\na: 2\n"
    assert "verified 1 run: 1 equal" in site.archive_runs("--verify").stdout


def test_an_archive_of_an_older_version_stays_as_it_is(site: Site) -> None:
    files = record_files(1)
    write_record(site.records / "1", files | {"metadata.txt": files["metadata.txt"].partition(b"\nDAQInterface st")[0]})
    site.archive_runs()
    _add(site, 1, "rc_info_start.txt", b"x\n")
    for stage in ("import", "migrate"):
        path = site.work / "markers" / stage / "1.json"
        values = json.loads(path.read_text())
        del values["remarks"]
        skipped = {"rc_info_start.txt": "is neither a .fcl file nor one of the seven texts"}
        path.write_text(json.dumps(values | {"kept": {}, "skipped": skipped if stage == "import" else {}}))

    assert "nothing to do" in site.archive_runs("--incremental").stderr
    assert "verified 1 run: 1 equal" in site.archive_runs("--verify").stdout
    site.archive_runs("--refresh", "1")

    assert blob.unpack(site.blobs()["1"]).files["rc_info_start.txt"] == b"x\n"
    assert site.archive.locate([1])[1].version.endswith("v1")
    assert "nothing to do" in site.archive_runs("--incremental").stderr
