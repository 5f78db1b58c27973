"""artdaq's tools on another host: a real sshd on the loopback interface, stand-ins for the tools behind it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rra_state.base.errors import IndexDamaged, StoreError, StoreUnavailable, VerificationError
from rra_state.config.models import ArtdaqDBSection
from rra_state.stores.artdaqdb import open_store
from rra_state.stores.artdaqdb.base import ArtdaqDB
from tests import ssh_server
from tests.artdaq_tools import Tools
from tests.integration.test_artdaq_tools import FILES, meaning, put
from tests.ssh_server import HOST, SshServer
from tests.unit.stores.artdaqdb.artdaqdb_helpers import age, record
from tests.waiting import scaled, wait_until


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SshServer]:
    with ssh_server.running(tmp_path / "ssh") as found:
        monkeypatch.setenv("PATH", f"{found.bin}{os.pathsep}{os.environ['PATH']}")
        yield found


@pytest.fixture
def tools(tmp_path: Path) -> Tools:
    return Tools(tmp_path / "the tools; $(touch hacked)")  # a name that a shell would take apart


@pytest.fixture
def opened(tmp_path: Path, tools: Tools, server: SshServer) -> Callable[..., ArtdaqDB]:
    def again(**changes: object) -> ArtdaqDB:
        values = {
            "database_uri": f"filesystemdb://{tmp_path}/archive",
            "use_tools": True,
            "remote_host": HOST,
            "tools_dir": tools.directory,
            "tools_state_dir": tmp_path / "state",
        }
        return open_store(ArtdaqDBSection.model_validate(values | changes))

    return again


def test_a_run_is_loaded_listed_and_read_back_over_ssh(opened: Callable[..., ArtdaqDB], tools: Tools) -> None:
    db = opened()
    assert (db.runs(), db.stamp()) == (set(), "")
    db.check()

    put(db, 7)
    put(db, 8, {"boot.fcl": b"id: 8\n"})

    assert db.runs() == opened().runs() == {7, 8}
    assert meaning(opened().export(opened().locate([7])[7]).files) == meaning(FILES)
    assert not put(db, 7).changed
    assert put(db, 7, {"boot.fcl": b"id: 9\n"}).location.configuration == "7/standardv1"
    assert opened().stamp() == db.stamp() != ""
    assert not Path("hacked").exists()


@pytest.mark.parametrize(
    ("program", "fault", "words"),
    [
        ("bulkloader", "lose", "stored 1 of 3 files .*ended with status 0"),
        ("bulkloader", "partial", "stored 1 of 3 files .*ended with status 1: Error: Failed to load 1 file"),
        ("bulkloader", "abort", "stored 1 of 3 files .*was ended by SIGABRT"),
        ("bulkdownloader", "lose", "give back 2 of 3 files .*ended with status 0"),
    ],
)
def test_the_status_of_the_tool_over_there_is_kept(
    opened: Callable[..., ArtdaqDB], tools: Tools, program: str, fault: str, words: str
) -> None:
    tools.fault(program, fault)

    [outcome] = opened().stage([record(7, FILES)], {})

    with pytest.raises(VerificationError, match=words):
        raise outcome
    assert opened().runs() == set()


def test_a_tool_that_hangs_over_there_is_ended_over_there(opened: Callable[..., ArtdaqDB], tools: Tools) -> None:
    tools.fault("bulkloader", "hang")
    limit = round(scaled(0.8))  # the connection has no longer either
    db = opened(tools_timeout_seconds=limit)

    with pytest.raises(StoreUnavailable, match=f"did not end within {limit} s"):
        db.stage([record(7, FILES)], {})

    wait_until(lambda: not running(f"{tools.directory}/bulkloader"), every=0.1)


def running(words: str) -> list[str]:
    """Command lines of processes that hold these words."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        found += [line] if words in line else []
    return found


def test_a_host_that_is_not_known_is_never_trusted(opened: Callable[..., ArtdaqDB], server: SshServer) -> None:
    server.forget_the_host_key()

    with pytest.raises(StoreUnavailable, match=r"remote_host daqhost: ssh failed: .*[Hh]ost key verification failed"):
        opened().runs()

    assert (server.directory / "known_hosts").read_text() == ""


def test_a_refused_account_is_asked_for_no_password(opened: Callable[..., ArtdaqDB], server: SshServer) -> None:
    server.refuse_the_key()

    with pytest.raises(StoreUnavailable, match=r"ssh failed: .*Permission denied"):
        opened().runs()


def test_a_missing_tool_over_there_names_the_key_to_set(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    db = opened(tools_dir=tmp_path / "nowhere")

    for ask in (db.check, lambda: db.stage([record(7, FILES)], {})):
        with pytest.raises(StoreError, match=r"bulkloader cannot be run"):
            ask()


def test_a_damaged_remote_index_is_not_an_empty_one(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    put(opened(), 7)
    index = tmp_path / "archive/RunHistory/index.json"
    index.write_text('{ "ouid": [')
    age(index)

    with pytest.raises(IndexDamaged) as caught:
        opened().runs()

    archive = f"{tmp_path}/archive"
    assert caught.value.hint == (
        f"on that host, with no loader running: rebuild_database_index -u filesystemdb://{archive}"
        f" && mv {archive} {archive}.damaged && mv {archive}_new {archive}"
    )


def test_case_d5_an_index_rewritten_over_there_is_waited_for(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    put(opened(), 7)
    index = tmp_path / "archive/RunHistory/index.json"
    whole = index.read_bytes()
    index.write_bytes(whole[:100])
    rewriting = threading.Timer(1.5, index.write_bytes, [whole])
    rewriting.start()

    found = opened().runs()
    rewriting.join()

    assert found == {7}


def test_a_missing_remote_index_is_not_an_empty_one(opened: Callable[..., ArtdaqDB], tmp_path: Path) -> None:
    put(opened(), 7)
    (tmp_path / "archive/RunHistory/index.json").unlink()

    with pytest.raises(IndexDamaged):
        opened().runs()


def test_the_archives_address_is_in_no_argument(
    opened: Callable[..., ArtdaqDB], server: SshServer, tmp_path: Path
) -> None:
    log = tmp_path / "arguments"
    wrapper = server.bin / "ssh"
    wrapper.write_text(wrapper.read_text().replace("exec", f'echo "$@" >>{log}\nexec'))

    put(opened(), 7)

    assert "filesystemdb://" not in log.read_text()
    assert "BatchMode=yes" in log.read_text()
    assert "StrictHostKeyChecking=yes" in log.read_text()
