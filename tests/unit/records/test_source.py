"""Reading run records: what is taken, what is reported, what fails."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

import pytest

from rra_state.base.errors import RecordChanged, RecordError, RecordOpen, SourceUnreadable
from rra_state.config.models import SourceFiles
from rra_state.records import signatures, source
from rra_state.records.listing import listing
from rra_state.records.model import Remark, Skipped
from tests.records import read_record
from tests.waiting import wait_until

METADATA = b"Config name: demo\nComponent #0: reader1\n\nDAQInterface start time: Wed Oct 16 18:50:42 UTC 2024\n"
STOPPED = METADATA + b"\nDAQInterface stop time: Thu Oct 17 18:50:41 UTC 2024\n"


@pytest.fixture
def record(tmp_path: Path) -> Path:
    directory = tmp_path / "7001"
    directory.mkdir()
    (directory / "metadata.txt").write_bytes(STOPPED)
    (directory / "boot.txt").write_bytes(b"debug level: 1\r\n")
    (directory / "reader1.fcl").write_bytes(b"a: 1\n")
    return directory


def test_a_record_is_read_as_it_lies_on_the_disk(record: Path) -> None:
    read = read_record(record, 7001)

    assert [file.name for file in read.files] == ["boot.txt", "metadata.txt", "reader1.fcl"]
    assert read.files[0].data == b"debug level: 1\r\n"
    assert (read.run, read.skipped) == (7001, ())
    assert read.stop_time == "Thu Oct 17 18:50:41 UTC 2024"
    assert read.start_time == "Wed Oct 16 18:50:42 UTC 2024"


def test_other_entries_are_skipped_and_never_opened(record: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.fcl").write_bytes(b"password: 1\n")
    (record / "link.fcl").symlink_to(tmp_path / "secret.fcl")
    (record / "dangling.fcl").symlink_to("nowhere")
    (record / "sub").mkdir()
    os.mkfifo(record / "pipe.fcl")
    (record / "notes.md").write_bytes(bytes(2**20 + 1))
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(record / "s.fcl"))

        read = read_record(record, 7001)

    assert len(read.files) == 3
    assert read.skipped == (
        Skipped("dangling.fcl", "is a link"),
        Skipped("link.fcl", "is a link"),
        Skipped("notes.md", "has 1048577 bytes, more than max_other_file_bytes"),
        Skipped("pipe.fcl", "is a FIFO"),
        Skipped("s.fcl", "is a socket"),
        Skipped("sub", "is a directory"),
    )


def test_every_other_regular_file_is_read(record: Path) -> None:
    names = ["rc_info_start.txt", "odd\nname.fcl", ".fcl", "notes", "d\udcc3\udca9j\udce0.fcl"]
    for name in names:
        (record / name).write_bytes(b"x\0\xe9")

    read = read_record(record, 7001)

    found = {file.name: file.data for file in read.files}
    assert found.keys() - {"boot.txt", "metadata.txt", "reader1.fcl"} == {*names[:4], "d\xe9j\udce0.fcl"}
    assert found["notes"] == b"x\0\xe9"
    assert read.skipped == ()


def test_another_file_that_cannot_be_read_is_skipped(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (record / "notes").write_bytes(b"x")
    real = os.open

    def refuse(name: str | Path, flags: int, **where: int) -> int:
        if name == "notes":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return real(name, flags, **where)

    monkeypatch.setattr(os, "open", refuse)

    assert read_record(record, 7001).skipped == (Skipped("notes", "cannot be read: permission denied"),)


@pytest.mark.parametrize("name", ["metadata.txt", "boot.txt"])
@pytest.mark.parametrize("place", ["missing", "link", "FIFO"])
def test_case_e10_one_rule_for_what_lies_in_a_texts_place(record: Path, tmp_path: Path, name: str, place: str) -> None:
    (record / name).rename(tmp_path / name)
    if place == "link":
        (record / name).symlink_to(tmp_path / name)
    elif place == "FIFO":
        os.mkfifo(record / name)
    now = _newest(record)

    read = read_record(record, 7001)

    assert not ready(record, now + 3599)
    assert ready(record, now + 3601)
    assert name not in {file.name for file in read.files}
    assert [entry.name for entry in read.skipped] == ([] if place == "missing" else [name])
    assert (Remark(name, None, "is missing") in read.remarks) == (place == "missing")


def test_an_empty_a_missing_and_a_linked_record_fail(tmp_path: Path, record: Path) -> None:
    (tmp_path / "7002").mkdir()
    (tmp_path / "7004").symlink_to(record)

    for run, reason in ((7002, "no file to archive"), (7003, "gone"), (7004, "is no directory")):
        with pytest.raises(RecordError, match=reason) as caught:
            read_record(tmp_path / str(run), run)
        assert (caught.value.run, caught.value.path) == (run, str(tmp_path / str(run)))
        assert caught.value.hint
    with pytest.raises(RecordError, match="put the directory itself there: links are not followed"):
        read_record(tmp_path / "7004", 7004)
    with pytest.raises(RecordError, match="if it is gone for good: --forget 7003"):
        read_record(tmp_path / "7003", 7003)


def test_an_unreadable_file_fails_and_says_what_to_do(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.open

    def refuse(name: str | Path, flags: int, **where: int) -> int:
        if name == "boot.txt":
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), name)
        return real(name, flags, **where)

    monkeypatch.setattr(os, "open", refuse)

    with pytest.raises(RecordError, match=r"boot\.txt: cannot be read: permission denied \(the archiver's account"):
        read_record(record, 7001)


@pytest.mark.parametrize("left", ["nothing", "a file", "an empty directory"])
def test_without_any_record_the_directory_is_reported_not_a_run(tmp_path: Path, left: str) -> None:
    records = tmp_path / "run_records"
    if left == "a file":
        records.write_bytes(b"")
    elif left == "an empty directory":
        records.mkdir()

    with pytest.raises(SourceUnreadable, match=r"the directory of run records cannot be read: .*is mounted") as caught:
        read_record(records / "7001", 7001)

    assert (caught.value.run, caught.value.path) == (None, str(records))
    assert ready(records / "7001", 0)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE], ids=errno.errorcode.get)
@pytest.mark.parametrize("what", ["7001", "metadata.txt"])
@pytest.mark.parametrize("above", [True, False], ids=["disk away", "disk there"])
def test_a_disk_error_fails_a_run_while_others_are_listed(
    record: Path, monkeypatch: pytest.MonkeyPatch, number: int, what: str, above: bool
) -> None:
    open_, scandir = os.open, os.scandir

    def fail_to_open(name: str | Path, flags: int, **where: int) -> int:
        if Path(name).name == what:
            raise OSError(number, os.strerror(number), str(name))
        return open_(name, flags, **where)

    def fail_to_list(place: int | Path) -> object:
        if above and place == record.parent:
            raise OSError(number, os.strerror(number), str(place))
        return scandir(place)

    monkeypatch.setattr(os, "open", fail_to_open)
    monkeypatch.setattr(os, "scandir", fail_to_list)

    with pytest.raises(SourceUnreadable if above else RecordError, match="cannot be read: "):
        read_record(record, 7001)


def test_a_file_written_while_read_is_a_transient_failure(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = source._read_file

    def read_and_append(place: source._OpenRecord, name: str, *rest: object) -> bytes:
        data = real(place, name, *rest)  # type: ignore[arg-type]
        if name == "metadata.txt":
            with (record / name).open("ab") as stream:
                stream.write(b"\nMore: 1\n")
        return data

    monkeypatch.setattr(source, "_read_file", read_and_append)

    with pytest.raises(RecordChanged, match=r"metadata\.txt: changed while it was read") as caught:
        read_record(record, 7001)
    assert caught.value.transient


def test_a_file_replaced_between_listing_and_reading_is_noticed(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = source._inventory
    calls: list[int] = []

    def swap(place: source._OpenRecord, limit: int) -> object:
        found = real(place, limit)
        if not calls:
            (record / "new").write_bytes(b"a: 2\n")
            (record / "new").rename(record / "reader1.fcl")
        calls.append(1)
        return found

    monkeypatch.setattr(source, "_inventory", swap)
    monkeypatch.setattr(signatures, "TICK_SECONDS", 0)

    with pytest.raises(RecordChanged, match=r"reader1\.fcl"):
        read_record(record, 7001)


def test_a_record_written_within_a_clock_tick_is_listed_again(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (record / "reader1.fcl").write_bytes(b"a: 2\n")
    monkeypatch.setattr(source.time, "sleep", lambda _seconds: (record / "reader1.fcl").write_bytes(b"a: 3\n"))
    monkeypatch.setattr(signatures, "TICK_SECONDS", 60)  # a busy machine takes longer than a real tick to come here

    assert read_record(record, 7001).files[-1].data == b"a: 3\n"


def test_limits_name_the_file_or_the_record(record: Path) -> None:
    with pytest.raises(RecordError, match=r"metadata\.txt: has \d+ bytes, more than the limit of 20"):
        read_record(record, 7001, max_file_bytes=20)
    with pytest.raises(RecordError, match=r"the record has \d+ bytes, more than the limit of 30"):
        read_record(record, 7001, max_record_bytes=30)


def test_the_fingerprint_depends_on_names_and_contents(record: Path) -> None:
    first = read_record(record, 7001).fingerprint
    assert read_record(record, 7001).fingerprint == first

    (record / "reader1.fcl").rename(record / "reader2.fcl")
    renamed = read_record(record, 7001).fingerprint
    (record / "reader2.fcl").write_bytes(b"a: 2\n")

    assert len({first, renamed, read_record(record, 7001).fingerprint}) == 3


def ready(directory: Path, now: float, *, quiet: float = 60, settle: float = 3600) -> bool:
    """Whether the record is ready at `now`, with these seconds."""
    files = SourceFiles(run_records_dir=directory.parent, quiet_seconds=quiet, settle_seconds=settle)
    return source.readiness(files, 7001, now).ready


def test_an_ended_record_is_ready_once_quiet(record: Path) -> None:
    now = _newest(record)

    assert not ready(record, now + 59)
    assert ready(record, now + 61)
    assert ready(record, now, quiet=0)


def test_a_record_without_a_stop_time_has_to_settle(record: Path) -> None:
    (record / "metadata.txt").write_bytes(METADATA)
    now = _newest(record)

    assert not ready(record, now + 3599)
    assert ready(record, now + 3601)
    assert ready(record, now, settle=0)


@pytest.mark.parametrize("change", ["a file came", "a file was appended to", "a file went", "an unknown entry came"])
def test_any_change_begins_the_quiet_time_anew(record: Path, change: str) -> None:
    before = _newest(record)
    wait_until(lambda: time.time() > before + 0.05)
    if change == "a file came":
        (record / "reader2.fcl").write_bytes(b"a: 1\n")
    elif change == "a file was appended to":
        with (record / "reader1.fcl").open("ab") as stream:
            stream.write(b"b: 2\n")
    elif change == "a file went":
        (record / "reader1.fcl").unlink()
    else:
        (record / ".reader3.fcl.Xy12ab").write_bytes(b"a: ")  # rsync's name while it copies

    assert not ready(record, before + 60)


def test_copied_modification_times_do_not_make_a_record_quiet(record: Path) -> None:
    now = _newest(record)
    for path in (*record.iterdir(), record):
        os.utime(path, (now - 1e6, now - 1e6))

    assert not ready(record, now + 1)


def test_case_a12_future_modification_times_are_ignored_with_a_remark(record: Path) -> None:
    for path in (record / "reader1.fcl", record):
        os.utime(path, (4_071_168_000, 4_071_168_000))

    assert ready(record, _newest(record) + 61)
    remark = Remark("reader1.fcl", None, "is dated 2099-01-04T00:00:00Z, in the future")
    assert read_record(record, 7001).remarks == (remark,)


def test_case_a12_a_change_in_the_future_is_timed_by_our_clock(record: Path) -> None:
    (record / "metadata.txt").write_bytes(METADATA)
    files = SourceFiles(run_records_dir=record.parent)
    before = _newest(record) - 1e6

    first = source.readiness(files, 7001, before)
    later = source.readiness(files, 7001, before + 3599, first.sighting)
    last = source.readiness(files, 7001, before + 3600, later.sighting)

    assert [first.ready, later.ready, last.ready] == [False, False, True]
    assert first.sighting == later.sighting == last.sighting
    (record / "reader1.fcl").write_bytes(b"a: 22\n")
    changed = source.readiness(files, 7001, before + 3600, last.sighting)
    assert (changed.ready, (changed.sighting or ("", 0))[1]) == (False, before + 3600)


def test_case_a12_the_worker_takes_only_what_the_planner_saw(record: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = SourceFiles(run_records_dir=record.parent)
    now = _newest(record) - 1e6
    first = source.readiness(files, 7001, now).sighting
    monkeypatch.setattr(source.time, "time", lambda: now + 61)

    assert source.read_record(files, 7001, sighting=lambda: first).stop_time
    for unknown in (None, ("other", now), ((first or ("", 0))[0], now + 2)):
        with pytest.raises(RecordOpen):
            source.read_record(files, 7001, sighting=lambda unknown=unknown: unknown)  # type: ignore[misc]


def test_a_record_that_changed_after_planning_is_quiet_no_more(record: Path) -> None:
    files = SourceFiles(run_records_dir=record.parent, quiet_seconds=3600)

    with pytest.raises(RecordOpen, match=r"run 7001: .* changed again before it was read") as caught:
        source.read_record(files, 7001)

    assert caught.value.postpones
    assert source.read_record(files, 7001, even_if_open=True).stop_time


@pytest.mark.parametrize("end", [b"DAQInterface stop time: ", b"\nDAQInterface stop time: Thu Oct 17 18:5"])
def test_a_stop_time_still_being_written_does_not_count(record: Path, end: bytes) -> None:
    (record / "metadata.txt").write_bytes(METADATA + end)

    assert not ready(record, _newest(record))


def test_an_unreadable_record_is_ready(tmp_path: Path) -> None:
    assert ready(tmp_path / "gone", 0)


def test_a_listing_separates_runs_from_other_entries(tmp_path: Path) -> None:
    for name in ("7001", "12", "0007050", "tmp"):
        (tmp_path / name).mkdir()
    (tmp_path / "7051").write_bytes(b"")
    (tmp_path / "7052").symlink_to(tmp_path / "7001")

    found = listing(tmp_path)

    assert found.runs == {12, 7001}
    assert found.ignored == (
        Skipped("0007050", "is no run number"),
        Skipped("7051", "is no directory"),
        Skipped("7052", "is a link"),
        Skipped("tmp", "is no run number"),
    )


def test_a_listing_holds_until_a_run_comes_or_goes(tmp_path: Path) -> None:
    for run in (1, 2):
        (tmp_path / str(run)).mkdir()
    wait_until(lambda: listing(tmp_path).signature is not None)
    first = listing(tmp_path)

    assert listing(tmp_path, first) is first
    (tmp_path / "3").mkdir()
    assert listing(tmp_path, first).runs == {1, 2, 3}
    (tmp_path / "1").rename(tmp_path / "4")
    assert listing(tmp_path, first).runs == {2, 3, 4}


def test_a_listing_taken_right_after_a_change_is_taken_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "TICK_SECONDS", 3600)
    (tmp_path / "1").mkdir()
    first = listing(tmp_path)

    assert listing(tmp_path, first) is not first


def test_a_missing_records_directory_raises_with_a_hint(tmp_path: Path) -> None:
    with pytest.raises(SourceUnreadable, match=r"no such file.*check source_files\.run_records_dir") as caught:
        listing(tmp_path / "gone")
    assert caught.value.stops_cycle


def _newest(directory: Path) -> float:
    return max(path.stat(follow_symlinks=False).st_ctime for path in (directory, *directory.iterdir()))
