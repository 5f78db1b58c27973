"""`--verify`: everything read back and compared; `--show` and `unpack` for one run."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from rra_state.records import blob as blobs
from rra_state.stores.ucondb.client import UconDB
from scripts.make_run_records import write_record
from tests import in_process
from tests.paths import REPOSITORY
from tests.reliability.faults import Fault
from tests.site import Site, environment
from tests.waiting import scaled

pytestmark = pytest.mark.in_process

RUNS = range(1, 7)
Spoil = Callable[[Site, int], None]


@pytest.fixture
def archived(site: Site) -> Site:
    site.make(len(RUNS))
    site.archive_runs()
    return site


def document(site: Site, run: int, entity: str) -> Path:
    [item] = [item for item in site.archive.locate([run])[run].items if item.entity == entity]
    return site.root / "artdaqdb" / item.collection / f"{item.oid}.json"


def flip(site: Site, run: int) -> None:
    """One bit of a document's content."""
    path = document(site, run, "boot")
    text = path.read_bytes()
    place = text.index(b"rra:base64") + 20
    path.write_bytes(text[:place] + bytes([text[place] ^ 1]) + text[place + 1 :])


def flip_in_ucondb(site: Site, run: int, at: int = 900) -> None:
    site.ucondb.execute(
        f"update {site.ucondb.folder}_data set data = set_byte(data, {at}, get_byte(data, {at}) # 1) where key ="
        f" (select data_key::bigint from {site.ucondb.folder}_versions where key = '{run}')"
    )


def swap(site: Site, run: int) -> None:
    """This blob and the next one's under each other's key, as a careless repair of the database would."""
    table = f"{site.ucondb.folder}_versions"
    for old, new in ((run, "x"), (run + 1, run), ("x", run + 1)):
        site.ucondb.execute(f"update {table} set key = '{new}' where key = '{old}'")


def replace_by_another(site: Site, run: int) -> None:
    """Somebody stored other content of the same length: size and the server's own checksum are right."""
    ucondb = UconDB(site.ucondb.settings())
    content = site.blobs()[str(run)]
    ucondb.put(run, content[:-200] + b"x" + content[-199:], override_of=ucondb.versions()[run])


def truncate(site: Site, run: int) -> None:
    site.ucondb.execute(
        f"update {site.ucondb.folder}_data set data = substring(data for 700) where key ="
        f" (select data_key::bigint from {site.ucondb.folder}_versions where key = '{run}')"
    )


def delete_in_ucondb(site: Site, run: int) -> None:
    site.ucondb.execute(f"delete from {site.ucondb.folder}_versions where key = '{run}'")


def delete_document(site: Site, run: int) -> None:
    document(site, run, "boot").unlink()


def edit_marker(key: str, value: object) -> Spoil:
    def edit(site: Site, run: int) -> None:
        path = site.work / "markers" / "migrate" / f"{run}.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {key: value}))

    return edit


def edit_record(site: Site, run: int) -> None:
    path = site.records / str(run) / "boot.txt"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b"request_address: 10.0.0.1\n")


DAMAGE: tuple[tuple[Spoil, str], ...] = (
    (flip, "artdaqDB: .*is damaged"),
    (flip_in_ucondb, "UconDB.*came back damaged"),
    (replace_by_another, "marker: sha256 is"),
    (truncate, "UconDB.*cannot give its content"),
    (delete_in_ucondb, "UconDB: has no blob of the run"),
    (delete_document, "document boot is missing"),
    (edit_marker("sha256", "0" * 64), "marker: sha256 is 0000"),
    (edit_marker("size", 17), "marker: size is 17"),
    (edit_marker("ucondb_id", None), "marker: ucondb_id is missing"),
    (edit_marker("version", "3/other"), "marker: version is 3/other"),
    (edit_marker("run", 4), "marker: markers/migrate/11.json is one of run 4"),
    (edit_record, "disk: boot.fcl is not what artdaqDB has"),
    (swap, "UconDB: the blob is one of run 14"),
)
"""What befalls run 1, run 2, ..., and what has to be said of it; the last one befalls two runs."""


def test_each_kind_of_damage_is_found_named_and_left_alone(site: Site) -> None:
    site.configure(source_files={"watch_days": 0})  # a change of a watched record is left to the next cycle
    site.make(len(DAMAGE) + 3)
    site.archive_runs()
    site.archive_runs("--incremental")
    for run, (spoil, _) in enumerate(DAMAGE, 1):
        spoil(site, run)
    before = _everything(site.root)

    found = site.real_archive_runs("--verify", status=1).stdout

    for run, (_, words) in enumerate(DAMAGE, 1):
        assert re.search(rf"^run {run}: .*{words}", found, re.MULTILINE), f"{words} is not in\n{found}"
    assert found.splitlines()[-1] == "verified 16 runs: 2 equal, 14 not: 1-14"
    assert _everything(site.root) == before


def _everything(root: Path) -> dict[str, bytes]:
    return {
        str(path): path.read_bytes()
        for path in root.rglob("*")
        if path.is_file() and path.suffix in (".json", ".txt") and path.parent.name != "findings"
    }


def test_an_untouched_archive_is_equal(archived: Site) -> None:
    done = archived.archive_runs("--verify")

    assert done.stdout == "verified 6 runs: 6 equal\n"


def test_subsets_are_stable_and_together_everything(archived: Site) -> None:
    parts = [archived.archive_runs("--verify", "--subset", f"{part}/3").stdout for part in (1, 2, 3)]

    assert parts == ["verified 2 runs: 2 equal\n"] * 3
    flip(archived, 3)
    assert "not: 3" in archived.archive_runs("--verify", "--subset", "1/3", status=1).stdout
    archived.archive_runs("--verify", "--subset", "2/3")


@pytest.mark.parametrize("lost", ["settings.txt", None])
def test_a_record_away_during_recovery_is_compared_once_back(archived: Site, lost: str | None) -> None:
    record, away = archived.records / "2", archived.root / "away"
    record.rename(away)
    shutil.rmtree(archived.work)
    archived.archive_runs("--recover-import-state", "--recover-migrate-state")
    archived.archive_runs("--incremental")  # verifies the run without its record
    assert archived.archive_runs("--report-status").stdout.count("NOT SURE") == 0

    if lost is not None:
        (away / lost).unlink()
    away.rename(record)
    report = archived.archive_runs("--report-status", status=1).stdout
    assert "NOT SURE: 1 record came back or moved, not compared with the archive yet: 2" in report
    archived.archive_runs("--incremental", status=1 if lost else 0)

    report = archived.archive_runs("--report-status", status=1 if lost else 0).stdout
    assert ("NOT SAFE: a verification found 1 archived run wrong: 2" if lost else "SAFE:") in report
    if lost is None:
        assert archived.marker("migrate", 2)["fingerprint"] == archived.marker("import", 2)["fingerprint"]


def test_a_returned_record_is_unsure_until_it_is_compared(archived: Site) -> None:
    record, away = archived.records / "2", archived.root / "away"
    record.rename(away)
    shutil.rmtree(archived.work)
    archived.archive_runs("--recover-import-state", "--recover-migrate-state")
    archived.archive_runs("--incremental")  # verifies the run without its record
    archived.configure(app={"verify_per_cycle": 0})
    away.rename(record)

    archived.archive_runs("--incremental")

    report = archived.archive_runs("--report-status", status=1).stdout
    assert "NOT SURE: 1 record came back or moved, not compared with the archive yet: 2" in report
    assert "--verify" in report
    archived.archive_runs("--verify")
    assert "\nSAFE:" in archived.archive_runs("--report-status").stdout


def test_a_killed_comparison_of_a_returned_record_is_repeated(archived: Site) -> None:
    record, away, copy = archived.records / "2", archived.root / "away", archived.root / "copy of work"
    record.rename(away)
    shutil.rmtree(archived.work)
    archived.archive_runs("--recover-import-state", "--recover-migrate-state")
    archived.archive_runs("--incremental")
    away.rename(record)
    shutil.copytree(archived.work, copy)

    for step in itertools.count():
        shutil.rmtree(archived.work)
        shutil.copytree(copy, archived.work)
        killed = in_process.command(archived.config, "--incremental", fault=Fault("kill", step)).killed

        archived.archive_runs("--incremental")

        assert "\nSAFE:" in archived.archive_runs("--report-status").stdout, step
        if not killed:
            break
    assert step > 5


def test_a_recoverys_markers_are_completed_unless_they_differ(archived: Site) -> None:
    for stage in ("import", "migrate"):
        for path in (archived.work / "markers" / stage).iterdir():
            path.unlink()
    archived.archive_runs("--recover-import-state", "--recover-migrate-state")
    assert archived.marker("migrate", 2)["verified"] is False
    replace_by_another(archived, 3)

    done = archived.archive_runs("--verify", status=1)

    assert "marked as verified: 10 markers" in done.stdout
    filled = archived.marker("migrate", 2)
    assert filled["verified"] is True
    assert None not in (filled["sha256"], filled["fingerprint"], filled["stop_time"])
    assert archived.marker("import", 2)["verified"] is True
    assert archived.marker("migrate", 3)["verified"] is False
    assert archived.archive_runs("--verify", "--runs", "1-2,4-6").stdout == "verified 5 runs: 5 equal\n"


@pytest.mark.parametrize("stage", ["import", "migrate"])
def test_an_empty_marker_is_found_whatever_the_other_holds(archived: Site, stage: str) -> None:
    (archived.work / "markers" / stage / "2.json").write_text("{}")

    found = archived.archive_runs("--verify", status=1).stdout

    assert f"/markers/{stage}/2.json: run is missing (remove it" in found
    assert found.splitlines()[-1] == "verified 6 runs: 5 equal, 1 not: 2"


def test_runs_that_are_not_archived_are_not_called_verified(archived: Site) -> None:
    for named in ("9", "3,9", "7-9"):
        done = archived.archive_runs("--verify", "--runs", named, status=1)
        assert "not archived, so there is nothing to verify: " in done.stderr

    assert "verified 2 runs: 2 equal" in archived.archive_runs("--verify", "--runs", "5-9").stdout


def test_runs_without_a_record_are_reported_as_not_compared(archived: Site) -> None:
    archived.remove(2)
    write_record(archived.records / "3", {})

    found = archived.archive_runs("--verify", status=1).stdout.splitlines()

    assert "run 3: disk: " in found[0]
    assert found[0].endswith("the record holds no file to archive")
    assert found[-2] == "2 of them could not be compared with a record on disk: 2-3"
    assert found[-1] == "verified 6 runs: 5 equal, 1 not: 3"


def test_a_store_that_is_away_is_no_difference(archived: Site) -> None:
    archived.ucondb.stop()

    away = archived.archive_runs("--verify", status=1)

    assert "run 3" not in away.stdout
    assert "Traceback" not in away.stderr
    archived.ucondb.start()


def test_a_part_that_is_none_is_refused(archived: Site) -> None:
    for part in ("0/7", "8/7", "7", "a/b"):
        assert "--subset" in archived.archive_runs("--verify", "--subset", part, status=1).stderr
    assert "--verify" in archived.archive_runs("--subset", "1/7", status=1).stderr


# ---- one run -------------------------------------------------------------------------------------------------------


def test_show_puts_what_every_place_holds_side_by_side(archived: Site) -> None:
    shown = archived.archive_runs("--show", "3").stdout

    assert "run 3" in shown
    for words in (
        "disk ",
        "artdaqDB  version 3/",
        "UconDB    version ",
        "markers/import/3.json",
        "markers/migrate/3.json",
    ):
        assert words in shown
    table = [line for line in shown.splitlines() if ".fcl" in line]
    assert len(table) > 10
    assert all(line.endswith("equal") for line in table)
    edit_record(archived, 3)
    assert "DIFFERENT" in archived.archive_runs("--show", "3").stdout


def test_show_calls_nothing_equal_that_only_one_place_has(site: Site) -> None:
    site.make(1)

    table = [line for line in site.archive_runs("--show", "1").stdout.splitlines() if ".fcl" in line]

    assert len(table) > 10
    assert not [line for line in table if "equal" in line or "DIFFERENT" in line]


def test_names_in_a_store_reach_no_terminal_as_they_are(archived: Site) -> None:
    ucondb = UconDB(archived.ucondb.settings())
    name = b"\x1b]0;owned\x07\xff.fcl"
    forged = archived.blobs()["3"].replace(b"\nboot.fcl:\n", b"\n" + name + b":\n")
    ucondb.put(3, forged, override_of=ucondb.versions()[3])

    shown = archived.archive_runs("--show", "3")
    verified = archived.archive_runs("--verify", status=1)

    for done in (shown, verified):
        assert "\x1b" not in done.stdout + done.stderr
        assert r"\x1B]0;owned\x07\xff.fcl" in done.stdout


def test_show_knows_failed_runs_and_unknown_runs(site: Site) -> None:
    site.make(1)
    write_record(site.records / "1", {})
    site.archive_runs(status=1)

    assert "the record holds no file to archive" in site.archive_runs("--show", "1").stdout
    assert "run 9 is nowhere" in site.archive_runs("--show", "9", status=1).stderr


def _tool(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "rra_state", *map(str, arguments)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
        timeout=scaled(60),
        env=environment(),
    )


def test_unpacking_a_blob_replaces_no_file(archived: Site, tmp_path: Path) -> None:
    blob, directory = tmp_path / "3.txt", tmp_path / "files"
    blob.write_bytes(archived.blobs()["3"])

    done = _tool("unpack", blob, directory)

    assert (done.returncode, done.stderr) == (0, "")
    for path in (archived.records / "3").glob("*.fcl"):
        assert (directory / path.name).read_bytes() == path.read_bytes()
    again = _tool("unpack", blob, directory)
    assert again.returncode == 1
    assert "is there already" in again.stderr
    assert _tool("show", "3", "--config", archived.config).stdout == archived.archive_runs("--show", "3").stdout


def test_the_longest_file_name_comes_back_from_a_blob(tmp_path: Path) -> None:
    files = {"x" * 251 + ".fcl": b"a: 1\n", "x" * 250 + "y.fcl": b"a: 2\n"}
    (tmp_path / "blob").write_bytes(blobs.pack(7, files))

    done = _tool("unpack", tmp_path / "blob", tmp_path / "files")

    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name: path.read_bytes() for path in (tmp_path / "files").iterdir()} == files


def test_an_unpack_replaces_no_dangling_link(tmp_path: Path) -> None:
    (tmp_path / "blob").write_bytes(blobs.pack(7, {"a.fcl": b"a: 1\n"}))
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "a.fcl").symlink_to("nowhere")

    done = _tool("unpack", tmp_path / "blob", tmp_path / "files")

    assert "is there already" in done.stderr
    assert (tmp_path / "files" / "a.fcl").is_symlink()


def test_what_is_no_blob_is_not_unpacked(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"Start of Record\nnonsense")

    for path in (tmp_path / "x", tmp_path / "nowhere"):
        refused = _tool("unpack", path, tmp_path / "files")
        assert refused.returncode == 1
        assert str(path) in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not (tmp_path / "files").exists()
