"""artdaqDB written by artdaq's tools (stand-ins that write the real format), which lose files and say nothing of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from rra_state.base.concurrency import Slots
from rra_state.base.errors import (
    ArchiverError,
    ConfigError,
    RecordError,
    StoreError,
    StoreUnavailable,
    VerificationError,
)
from rra_state.config.models import ArtdaqDBSection
from rra_state.records import fhicl
from rra_state.records.model import Document, SourceFile
from rra_state.stores.artdaqdb import open_store
from rra_state.stores.artdaqdb.base import ArtdaqDB, Staged
from tests.artdaq_tools import Tools
from tests.unit.stores.artdaqdb.artdaqdb_helpers import files_of, record
from tests.waiting import scaled

FILES = {f"{name}.fcl": f"# {name}\nid: [1, 0x1F, 1.0e-3]\n".encode() for name in ("boot", "metadata", "RunHistory")}


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path / "tools")


@pytest.fixture
def opened(tmp_path: Path, tools: Tools) -> Callable[..., ArtdaqDB]:
    """Another program that uses the archive, with every call."""

    def again(**changes: object) -> ArtdaqDB:
        values = {
            "database_uri": f"filesystemdb://{tmp_path}/archive",
            "use_tools": True,
            "tools_dir": tools.directory,
            "tools_state_dir": tmp_path / "state",
        }
        return open_store(ArtdaqDBSection.model_validate(values | changes))

    return again


@pytest.fixture
def db(opened: Callable[..., ArtdaqDB]) -> ArtdaqDB:
    return opened()


def put(db: ArtdaqDB, run: int, files: dict[str, bytes] | None = None, config: str = "standard") -> Staged:
    """Store one run, which has to succeed."""
    [outcome] = db.stage([record(run, files or FILES, config=config)], {})
    if isinstance(outcome, ArchiverError):
        raise outcome
    db.publish([outcome])
    return outcome


def meaning(files: dict[str, bytes]) -> dict[str, str]:
    return {name: fhicl.dump(text) for name, text in files.items()}


# ---- good days -------------------------------------------------------------------------------------------------------


def test_a_run_is_loaded_read_back_and_shown(db: ArtdaqDB, opened: Callable[..., ArtdaqDB], tools: Tools) -> None:
    put(db, 7)

    assert db.runs() == opened().runs() == {7}
    export = db.export(db.locate([7])[7])
    assert meaning(export.files) == meaning(FILES)
    assert not export.exact
    assert [call[0] for call in tools.calls] == ["bulkloader", "bulkdownloader"]
    assert all(call[call.index("-t") + 1] == "1" for call in tools.calls)


def test_the_same_again_loads_nothing(db: ArtdaqDB, tools: Tools, tmp_path: Path) -> None:
    put(db, 7)
    before, calls = files_of(tmp_path / "archive"), len(tools.calls)

    again = put(db, 7)

    assert not again.changed
    assert (files_of(tmp_path / "archive"), len(tools.calls)) == (before, calls)


def test_other_content_gets_the_next_name(db: ArtdaqDB) -> None:
    put(db, 7)
    old = db.locate([7])[7]

    for number in range(1, 12):
        put(db, 7, {"boot.fcl": b"id: %d\n" % number})

    newest = db.locate([7])[7]
    assert newest.configuration == "7/standardv11"
    assert meaning(db.export(newest).files) == {"boot.fcl": fhicl.dump(b"id: 11\n")}
    assert meaning(db.export(old).files) == meaning(FILES)


@pytest.mark.parametrize("config", ["standard", "standard00012", "demo_2.1+x", "v1", "2024v1"])
def test_configuration_names_of_all_kinds_come_back(db: ArtdaqDB, config: str) -> None:
    assert put(db, 7, config=config).location.configuration == f"7/{config}"


def test_case_d6_a_configuration_of_digits_only_is_stored(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    """bulkdownloader then writes beside the schema.fcl."""
    (tmp_path / "schema.fcl").write_text("collections: [RunHistory]\n")
    db = opened(fcl_conf_dir=tmp_path)

    staged = put(db, 7, config="2024")

    assert staged.location.configuration == "7/2024"
    assert meaning(db.export(staged.location).files) == meaning(FILES)


@pytest.mark.parametrize("config", ["-r", "--help"])
def test_case_d7d_a_configuration_named_like_an_option_is_stored(db: ArtdaqDB, config: str) -> None:
    assert put(db, 7, config=config).location.configuration == f"7/{config}"


MD5_ONLY = b"boot: d41d8cd98f00b204e9800998ecf8427e\n"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("schema.fcl", b"a: 1\n", r"artdaq's tools take schema\.fcl for the archive's schema\.fcl \(rename it"),
        ("my_schema.fcl", b"a: 1\n", r"artdaq's tools take my_schema\.fcl for the archive's schema\.fcl"),
        ("hashes.fcl", MD5_ONLY, r"hashes\.fcl holds MD5 sums only: .* \(rename it"),
    ],
)
def test_case_d6_a_file_the_tools_misplace_is_never_loaded(
    db: ArtdaqDB, tools: Tools, name: str, text: bytes, words: str
) -> None:
    with pytest.raises(RecordError, match=words):
        put(db, 7, FILES | {name: text})

    assert tools.calls == []


def test_case_d6b_a_records_own_hashes_are_exported(db: ArtdaqDB) -> None:
    files = FILES | {"hashes.fcl": b"algorithm: md5\n" + MD5_ONLY}

    assert meaning(db.export(put(db, 7, files).location).files) == meaning(files)


def test_the_schema_is_loaded_and_no_file_of_the_run(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    (tmp_path / "schema.fcl").write_text("collections: [RunHistory]\n")
    db = opened(fcl_conf_dir=tmp_path)

    put(db, 7)

    assert set(db.export(db.locate([7])[7]).files) == set(FILES)
    assert any(item.entity == "schema" for item in db.locate([7])[7].items)


# ---- what the real tools do wrong ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("program", "fault", "words"),
    [
        ("bulkloader", "lose", r"stored 1 of 3 files as 7/standard \(bulkloader ended with status 0"),
        ("bulkloader", "partial", r"stored 1 of 3 files .*ended with status 1: Error: Failed to load 1 file"),
        ("bulkloader", "abort", r"stored 1 of 3 files .*was ended by SIGABRT"),
        ("bulkloader", "twice", "stored 6 of 3 files"),
        ("bulkdownloader", "lose", r"give back 2 of 3 files \(bulkdownloader ended with status 0: Error: Failed"),
        ("bulkdownloader", "folders", r"wrote into other folders \(part 0, part 1\)"),
        ("bulkdownloader", "other", "with another meaning"),
    ],
)
def test_a_bad_load_is_hidden_and_repaired_by_the_next(
    opened: Callable[..., ArtdaqDB], tools: Tools, program: str, fault: str, words: str
) -> None:
    db = opened()
    put(db, 6)
    tools.fault(program, fault)

    outcomes = db.stage([record(7, FILES)], {})

    assert isinstance(outcomes[0], VerificationError)
    with pytest.raises(VerificationError, match=f"run 7: .*{words}"):
        raise outcomes[0]
    assert not outcomes[0].stops_cycle
    assert db.runs() == opened().runs() == {6}

    tools.fault(program, "")
    put(opened(), 7)
    location = opened().locate([7])[7]
    assert location.configuration == "7/standardv1"
    assert meaning(db.export(location).files) == meaning(FILES)


def test_a_hanging_tool_is_killed_with_its_children(opened: Callable[..., ArtdaqDB], tools: Tools) -> None:
    db = opened(tools_timeout_seconds=1.5)
    tools.fault("bulkloader", "hang")
    began = time.monotonic()

    with pytest.raises(StoreUnavailable, match=r"bulkloader did not end within 1\.5 s and was killed"):
        db.stage([record(7, FILES)], {})

    assert time.monotonic() - began < scaled(30)
    assert db.runs() == set()


def test_a_fault_of_one_run_costs_its_neighbours_nothing(db: ArtdaqDB) -> None:
    bad = record(2, {"boot.fcl": b"a-b: 1\n"})
    kept = record(3)  # it holds a file kept as text

    outcomes = db.stage([record(1, FILES), bad, kept, record(4, FILES)], {})

    assert [type(each) for each in outcomes[1:3]] == [type(outcomes[1]), RecordError]
    assert isinstance(outcomes[1], RecordError)
    assert db.runs() == {1, 4}


def test_another_file_of_a_record_is_loaded_as_fhicl(db: ArtdaqDB) -> None:
    note = Document('rc_info "1".txt', b'say "5"\n\xe9', kept="it is no .fcl file")
    named = replace(note, name="rc_info %221%22.txt", source=SourceFile(note.name, note.text))
    run = record(5, FILES)

    [staged] = db.stage([replace(run, documents=(*run.documents, named))], {})

    assert isinstance(staged, Staged)
    text = db.export(staged.location).files["rc_info__221_22_txt.fcl"]
    values = {key: fhicl.unescape(str(value)) for key, value in fhicl.values(text).items()}
    assert values == {"file_name": b'rc_info "1".txt', "text": note.text}


def test_a_missing_tool_names_the_key_to_set(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    db = opened(tools_dir=tmp_path / "nowhere")

    for ask in (db.check, lambda: db.stage([record(7, FILES)], {})):
        with pytest.raises(StoreError, match=r"bulkloader cannot be run \(set artdaq_db\.tools_dir"):
            ask()


def test_an_unfinished_load_of_a_killed_archiver_stays_unseen(
    db: ArtdaqDB, opened: Callable[..., ArtdaqDB], monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(type(db), "_compare", die)
    with pytest.raises(KeyboardInterrupt):
        db.stage([record(7, FILES)], {})
    monkeypatch.undo()

    assert opened().runs() == set()
    put(opened(), 7)
    assert opened().runs() == {7}


def test_an_index_that_a_load_rewrites_is_not_called_damaged(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    db = opened()
    put(db, 7)
    index = tmp_path / "archive/RunHistory/index.json"
    whole = index.read_bytes()

    def load() -> None:
        with Slots(tmp_path / "state", "loading", 1).held():
            index.write_bytes(whole[: len(whole) // 2])
            half_written.set()
            time.sleep(1.5)
            index.write_bytes(whole)

    half_written = threading.Event()
    loading = threading.Thread(target=load)
    loading.start()
    half_written.wait()
    found = opened().runs()
    loading.join()

    assert found == {7}


@pytest.mark.parametrize("path", ["/a b", "/$HOME/x", "/x(1)", "~/x"])
def test_a_path_that_the_tools_would_read_otherwise_is_refused(opened: Callable[..., ArtdaqDB], path: str) -> None:
    with pytest.raises(ConfigError, match="database_uri"):
        opened(database_uri=f"filesystemdb://{path}")


def test_an_archive_the_tools_cannot_list_is_refused(opened: Callable[..., ArtdaqDB]) -> None:
    with pytest.raises(ConfigError, match=r"works with filesystemdb:// only") as caught:
        opened(database_uri="mongodb://archiver:hush@host/db")

    assert "hush" not in str(caught.value)
