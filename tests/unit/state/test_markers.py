"""The marker tree: what was written is found again, and only that."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rra_state.base import files
from rra_state.base.errors import RecordError, WorkDirError
from rra_state.records.model import Remark
from rra_state.state.changed_records import not_read
from rra_state.state.markers import Tree
from rra_state.state.outcome import Damaged, Facts, Failure, Marker, Outcome
from rra_state.state.snapshot import Snapshot
from tests.unit.archive_site import Site

REMARKS = (Remark("a.fcl", 3, "no value; kept as text"), Remark("link", None, "is a link; not archived"))


def test_a_marker_has_all_an_audit_needs(site: Site) -> None:
    facts = Facts(verified=True, configuration="standard", fingerprint="ab", remarks=REMARKS, size=10)

    site.tree.write_markers([Marker.of("import", 7, facts)])

    marker = site.tree.marker("import", 7)
    assert marker is not None
    assert (marker.run, marker.stage, marker.facts) == (7, "import", facts)
    assert all((marker.archived, marker.archiver, marker.host))
    assert "facts" not in json.loads(site.tree.marker_path("import", 7).read_text())


def test_runs_of_the_stages_are_told_apart(site: Site) -> None:
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.fail("migrate", 2)

    assert (site.tree.archived("import"), site.tree.archived("migrate")) == ({1, 2}, {1})
    assert (site.tree.failed("import"), site.tree.failed("migrate")) == (set(), {2})


def test_success_removes_the_failure_record_of_that_stage_only(site: Site) -> None:
    site.fail("import", 7, 8)
    site.fail("migrate", 7)

    site.archive("import", 7)

    assert (site.tree.failed("import"), site.tree.failed("migrate")) == ({8}, {7})


def test_a_failure_record_counts_attempts_and_remembers_the_first_time(site: Site) -> None:
    site.fail("import", 7, message="first")
    before = site.tree.failure("import", 7)

    site.tree.write_failures([Failure.of("import", Outcome(7, error=RecordError("second", run=7), tries=3), before)])

    after = site.tree.failure("import", 7)
    assert before is not None
    assert after is not None
    assert (after.kind, after.message, after.attempts) == ("RecordError", "run 7: second", 4)
    assert after.first == before.first <= after.last


def test_a_run_without_a_stop_time_is_watched(site: Site) -> None:
    site.tree.write_markers([Marker.of("import", 7, Facts(verified=True))], watch=[7])

    assert site.tree.watched() == {7}


def test_what_is_no_run_in_the_tree_is_not_counted(site: Site) -> None:
    site.archive("import", 7)
    directory = site.tree.marker_path("import", 7).parent
    for name in (".8.json.tmp", "9.json.bak", "010.json", "notes.json", "11", "12.jsom", ".json"):
        (directory / name).write_text("{}")

    assert site.tree.archived("import") == {7}


def test_reading_an_absent_tree_makes_nothing(tmp_path: Path) -> None:
    tree = Tree(tmp_path / "none")

    assert (tree.archived("import"), tree.failed("migrate"), tree.watched()) == (set(), set(), set())
    assert tree.marker("import", 7) is None
    assert tree.failure("import", 7) is None
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "5", "\udcff"])
def test_a_damaged_marker_is_named_with_what_to_do(site: Site, text: str) -> None:
    path = site.tree.marker_path("import", 7)
    path.write_bytes(text.encode("utf-8", "surrogateescape"))

    with pytest.raises(WorkDirError, match=r"markers/import/7\.json: cannot be read as JSON \(remove it"):
        site.tree.marker("import", 7)


@pytest.mark.parametrize("text", ["{}", '{"run": 7}', '{"unknown": 1}'])
def test_a_failure_record_of_another_shape_is_named(site: Site, text: str) -> None:
    site.tree.failure_path("import", 7).write_text(text)

    with pytest.raises(WorkDirError, match=r"failures/import/7\.json"):
        site.tree.failure("import", 7)


def test_a_full_disk_is_a_fault_of_the_place(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files, "_sync_file_system", full)

    with pytest.raises(WorkDirError, match="cannot be written: no space left on device") as caught:
        site.archive("import", 7)

    assert caught.value.stops_cycle
    assert str(site.tree.root) in str(caught.value)
    assert site.tree.archived("import") == set()


def test_a_failure_stays_if_the_marker_cannot_be_written(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    site.fail("import", 7)
    monkeypatch.setattr(files, "write_batch", lambda _: (_ for _ in ()).throw(OSError(28, "full")))

    with pytest.raises(WorkDirError):
        site.archive("import", 7)

    assert site.tree.failed("import") == {7}


def test_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "work").write_text("")

    with pytest.raises(WorkDirError, match="cannot be written"):
        Tree(tmp_path / "work").prepare()


def test_markers_are_plain_json_for_other_programs(site: Site) -> None:
    site.archive("migrate", 7, sha256="ab", adler32=5, ucondb_data_key="7")

    values = json.loads(site.tree.marker_path("migrate", 7).read_text())

    assert (values["run"], values["sha256"], values["adler32"]) == (7, "ab", 5)


def test_many_markers_are_read_in_one_go_and_in_order(site: Site) -> None:
    site.archive("import", *range(1, 1201))

    found = list(site.tree.markers("import", range(1, 2000)))

    assert [run for run, _ in found] == list(range(1, 1201))
    assert all(isinstance(marker, Marker) and marker.run == run for run, marker in found)


@pytest.mark.parametrize("text", ["", "{", "[]", "{},{}", '{"run": 2}, {"run": 3}', "\xff", "[" * 100_000])
def test_a_damaged_marker_is_named_and_spoils_no_other(site: Site, text: str) -> None:
    site.archive("import", 1, 2, 3)
    site.tree.marker_path("import", 2).write_text(text)

    found = dict(site.tree.markers("import", {1, 2, 3}))

    assert isinstance(found[2], Damaged)
    assert "2.json: cannot be read as JSON" in found[2].text
    assert all(isinstance(found[run], Marker) for run in (1, 3))
    assert site.tree.columns("import", {1, 2, 3}).damaged == [found[2]]


def test_a_marker_that_cannot_be_opened_is_told(site: Site) -> None:
    site.archive("import", 1)
    site.tree.marker_path("import", 2).symlink_to("2.json")

    found = dict(site.tree.markers("import", {1, 2}))

    assert isinstance(found[2], Damaged)
    assert "2.json: cannot be read" in found[2].text


def test_a_marker_larger_than_one_read_is_whole(site: Site) -> None:
    remarks = tuple(Remark(f"file{number}.fcl", None, "x" * 1000) for number in range(200))
    site.archive("import", 1, remarks=remarks)

    [(_, marker)] = site.tree.markers("import", {1})

    assert isinstance(marker, Marker)
    assert marker.facts.remarks == remarks


def test_failure_records_are_read_in_one_go_too(site: Site) -> None:
    site.fail("import", 1, 2)
    site.tree.failure_path("import", 3).write_text("{}")

    found = dict(site.tree.failures("import", {1, 2, 3, 4}))

    assert sorted(found) == [1, 2, 3]
    assert isinstance(found[1], Failure)
    assert isinstance(found[3], Damaged)


def test_what_a_killed_process_left_is_taken_away(site: Site) -> None:
    site.archive("import", 7)
    site.fail("import", 7, 8)
    left = [site.tree.root / "failures" / "migrate" / ".9.json.tmp", site.tree.root / "watch" / ".7.tmp"]
    for path in left:
        path.touch()

    snapshot = Snapshot.take(site.settings)
    site.tree.remove(snapshot.leftovers)

    assert site.tree.failed("import") == {8}
    assert not any(path.exists() for path in left)


# ---- typed records -------------------------------------------------------------------------------------------------

OF_2911493 = """{"run": 7,
 "stage": "migrate",
 "archived": "2026-11-23T20:20:41Z",
 "archiver": "0.1.0",
 "host": "daq07",
 "verified": true,
 "configuration": "standard",
 "config_name": "standard/00012",
 "version": "7/standard",
 "fingerprint": "ab",
 "start_time": "Thu Oct 17 10:00:00 UTC 2024",
 "stop_time": null,
 "kept": {"a.fcl": "line 3: no value", "b.fcl": "the file is empty"},
 "skipped": {"link": "is a link", "rc_info_start.txt": "is neither a .fcl file nor one of the seven texts"},
 "size": 27000,
 "adler32": 5,
 "sha256": "cd",
 "ucondb_id": 9,
 "ucondb_data_key": "9",
 "problems": ["x"]}
"""
"""A marker as commit 2911493 wrote it."""


def test_a_marker_of_an_older_version_is_read(site: Site) -> None:
    site.tree.marker_path("migrate", 7).write_text(OF_2911493)

    marker = site.tree.marker("migrate", 7)

    assert marker is not None
    values = json.loads(OF_2911493)
    del values["kept"], values["skipped"]
    remarks = [
        {"file": "a.fcl", "line": 3, "text": "no value; kept as text"},
        {"file": "b.fcl", "line": None, "text": "the file is empty; kept as text"},
        {"file": "link", "line": None, "text": "is a link; not archived"},
        {
            "file": "rc_info_start.txt",
            "line": None,
            "text": "is neither a .fcl file nor one of the seven texts; not archived",
        },
    ]
    assert json.loads(json.dumps(marker.mapping())) == values | {
        "remarks": remarks,
        "foreign": False,
        "verified": False,
    }
    assert not_read(None, marker) == {"rc_info_start.txt"}


def test_a_field_of_a_newer_version_is_left_out(site: Site) -> None:
    values = json.loads(OF_2911493) | {"of_tomorrow": [1]}
    site.tree.marker_path("migrate", 7).write_text(json.dumps(values))

    marker = site.tree.marker("migrate", 7)

    assert marker is not None
    assert marker.facts.size == 27000


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"size": "large"}, "size is str, not int"),
        ({"verified": 1}, "verified is int, not bool"),
        ({"kept": ["a"]}, "kept is list, not dict"),
        ({"remarks": {}}, "remarks is dict, not list"),
        ({"remarks": ["a"]}, "remarks holds str, not dict"),
        ({"remarks": [{"file": "a"}]}, "text is missing"),
        ({"remarks": [{"file": "a", "line": "3", "text": "b"}]}, "line is str, not int"),
        ({"archived": None}, "archived is NoneType, not str"),
    ],
)
def test_a_marker_with_a_wrong_type_is_damaged(site: Site, change: dict[str, object], reason: str) -> None:
    site.tree.marker_path("migrate", 7).write_text(json.dumps(json.loads(OF_2911493) | change))

    [damaged] = site.tree.columns("migrate", {7}).damaged

    assert reason in damaged.text
    with pytest.raises(WorkDirError, match=reason):
        site.tree.marker("migrate", 7)


def test_columns_say_what_each_marker_says(site: Site) -> None:
    site.archive("import", 1, configuration="standard", version="v1", remarks=REMARKS)
    site.archive("import", 3, stop_time="Thu Oct 17 10:08:25 UTC 2024", size=10)
    site.tree.marker_path("import", 2).write_text("{")

    columns = site.tree.columns("import", {1, 2, 3, 4})

    assert columns.runs == [1, 2, 3]
    assert columns.by_run(columns.configuration) == {1: "standard"}
    assert columns.by_run(columns.size) == {3: 10}
    assert columns.verified == [True, None, True]
    assert columns.remarks == {1: REMARKS}
    assert [damaged.run for damaged in columns.damaged] == [2]


def test_an_old_failure_with_an_undecodable_name_is_read(site: Site) -> None:
    site.fail("import", 7)
    path = site.tree.failure_path("import", 7)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"message": "run 7: bad\udcff name"}))

    failure = site.tree.failure("import", 7)

    assert failure is not None
    assert failure.message == "run 7: bad\\xff name"
