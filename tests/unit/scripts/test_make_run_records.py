"""The synthetic run records: DAQInterface's layout, the same bytes for the same arguments, easy to make again."""

from __future__ import annotations

import statistics
from pathlib import Path

import pytest

from rra_state.base.errors import RecordError
from rra_state.records import blob, convert, fhicl, source
from rra_state.records.listing import listing
from scripts import make_run_records as maker
from tests.records import read_record


def test_records_look_like_those_of_a_daq(tmp_path: Path) -> None:
    runs = maker.make_records(60, tmp_path, first_run=100, seed=3)

    assert listing(tmp_path).runs == set(runs) == set(range(100, 160))
    records = [read_record(tmp_path / str(run), run) for run in runs]
    assert {f"{stem}.txt" for stem in source.TEXTS} < {file.name for file in records[0].files}
    assert 14 <= statistics.median(len(record.files) for record in records) <= 18
    assert 20_000 < statistics.median(sum(len(file.data) for file in record.files) for record in records) < 34_000
    assert all(record.start_time and record.stop_time and not record.skipped for record in records)
    assert (tmp_path / "100").stat().st_mode & 0o777 == 0o555
    assert (tmp_path / "100" / "boot.txt").stat().st_mode & 0o777 == 0o444


def test_their_documents_are_fhicl_and_pass_the_metadata_check(tmp_path: Path) -> None:
    for run in maker.make_records(5, tmp_path):
        converted = convert.convert(read_record(tmp_path / str(run), run))

        for document in converted.documents:
            fhicl.values(document.text)
        files = {document.name: document.text for document in converted.documents}
        assert blob.validate(files) == []
        assert blob.packed_on(files) != "Jan 01 00:00"


def test_the_same_arguments_make_the_same_bytes(tmp_path: Path) -> None:
    assert maker.record_files(5, seed=1) == maker.record_files(5, seed=1) != maker.record_files(5, seed=2)
    maker.make_records(3, tmp_path, first_run=4, seed=1)
    again = maker.make_records(1, tmp_path, first_run=5, seed=1)

    assert again == [5]
    assert {path.name: path.read_bytes() for path in (tmp_path / "5").iterdir()} == maker.record_files(5, seed=1)


@pytest.mark.parametrize("kind", sorted(maker.BREAKS))
def test_a_broken_record_is_broken_as_its_kind_says(tmp_path: Path, kind: str) -> None:
    maker.make_records(2, tmp_path, first_run=7, breaks={7: kind})

    assert maker.record_files(7) != {path.name: path.read_bytes() for path in (tmp_path / "7").iterdir()}
    if kind == "empty":
        with pytest.raises(RecordError):
            read_record(tmp_path / "7", 7)
    else:
        read = read_record(tmp_path / "7", 7)
        assert bool(read.stop_time) == (kind not in ("no-stop", "not-started", "cut-off", "no-metadata"))
        kept = [each for each in convert.convert(read).documents if each.kept]
        assert bool(kept) == (kind in ("bad-fcl", "delimiter", "latin1"))
    assert read_record(tmp_path / "8", 8)


def test_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert maker.main(["2", str(tmp_path / "a"), "--first-run", "9", "--break", "10:empty"]) == 0
    assert capsys.readouterr().out == f"2 run records in {tmp_path / 'a'}\n"
    assert list((tmp_path / "a" / "10").iterdir()) == []

    with pytest.raises(SystemExit):
        maker.main(["2", str(tmp_path / "a"), "--break", "9:odd"])
    assert '"9:odd" is no RUN:KIND' in capsys.readouterr().err

    (tmp_path / "file").write_bytes(b"")
    assert maker.main(["1", str(tmp_path / "file")]) == 1
