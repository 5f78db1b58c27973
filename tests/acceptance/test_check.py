"""`--check` fails for everything with which no cycle could work, within seconds, and leaves nothing behind."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from rra_state.cli import check
from rra_state.config import loading
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Marker
from tests.reliability.hosts import mounted
from tests.servers import DevServer, Folder, Line, temporary_directory
from tests.site import Site
from tests.waiting import scaled, wait_until


def failed(site: Site) -> str:
    """The one line that is not OK."""
    found = [line for good, line in check.lines(loading.load(site.config, {})) if not good]
    assert len(found) == 1, found
    return found[0]


def passes(site: Site) -> bool:
    return all(good for good, _ in check.lines(loading.load(site.config, {})))


def test_case_c_what_is_in_order_passes_and_nothing_is_left(site: Site) -> None:
    (site.root / "logs").mkdir()
    site.configure(app={"log_file": str(site.root / "logs" / "later" / "rra.log")})
    site.make(1)
    before = sorted(site.root.rglob("*"))

    assert passes(site)
    assert sorted(site.root.rglob("*")) == before
    assert site.versions() == 0


def test_case_c_a_log_file_that_is_a_directory(site: Site) -> None:
    site.configure(app={"log_file": str(site.root / "rra.log")})
    (site.root / "rra.log").mkdir()

    lines = [line for good, line in check.lines(loading.load(site.config, {})) if not good]

    assert any(line.startswith("log file: FAILED") and "is a directory" in line for line in lines)


def test_case_c_a_log_file_that_cannot_be_written(site: Site) -> None:
    (site.root / "file").touch()
    site.configure(app={"log_file": str(site.root / "file" / "rra.log")})

    assert failed(site).startswith(f"log file: FAILED ({site.root}/file: cannot be written: not a directory")


def test_case_c_a_log_file_on_a_disk_mounted_read_only(site: Site) -> None:
    with mounted(site.root / "logs", options="ro"):
        site.configure(app={"log_file": str(site.root / "logs" / "rra.log")})

        assert "mounted read only" in failed(site)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *(("work/.snakemake", "file"), ("work/markers/.lock", "directory"), ("work/.archiver.lock", "file")),
        *(("work/.snakemake/iocache", "file"), ("work/state/.ucondb-1", "directory")),
        *(("page.html", "directory"), ("rra.prom", "directory")),
    ],
)
def test_case_c_what_lies_in_the_way_of_a_cycle(site: Site, name: str, kind: str) -> None:
    place = site.root / name
    place.parent.mkdir(parents=True, exist_ok=True)
    place.mkdir() if kind == "directory" else place.write_text("another program's")
    site.configure(
        reporting={"html_file": str(site.root / "page.html")},
        metrics={"prometheus_file": str(site.root / "rra.prom")},
    )

    assert str(place) in failed(site)


def test_case_c_a_failure_log_on_a_disk_mounted_read_only(site: Site) -> None:
    with mounted(site.root / "logs", options="ro"):
        site.configure(app={"migrate_failure_log": str(site.root / "logs" / "failures.log")})

        assert "mounted read only" in failed(site)


def test_case_c_a_work_directory_that_others_could_replace(site: Site) -> None:
    (site.root / "open").mkdir()
    (site.root / "open").chmod(0o777)
    site.configure(app={"work_dir": str(site.root / "open" / "later" / "work")})

    assert "anybody may write here" in failed(site)


def test_check_passes_where_a_cycle_makes_the_directory(site: Site) -> None:
    site.configure(
        app={"work_dir": str(site.root / "a" / "work"), "import_failure_log": str(site.root / "b" / "c" / "log")},
        reporting={"html_file": str(site.root / "d" / "e" / "page.html")},
    )

    assert passes(site)


def test_case_c_a_damaged_state_file_names_the_recovery(site: Site) -> None:
    site.work.mkdir()
    (site.work / "importer_state.json").write_text("{x")

    line = failed(site)

    assert line.startswith("state files: FAILED")
    assert "--recover-import-state" in line


def test_case_c_a_dask_cluster_that_is_not_there(site: Site) -> None:
    site.configure(app={"workers": "dask://127.0.0.1:9"})
    began = time.monotonic()

    line = failed(site)

    assert "no Dask worker can be had at tcp://127.0.0.1:9 within 5 s" in line
    assert time.monotonic() - began < scaled(15)


@pytest.mark.parametrize("name", ["work", "artdaqdb"])
def test_case_c_a_disk_with_little_free_space(site: Site, name: str) -> None:
    with mounted(site.root / name, options="size=24k"):
        line = failed(site)

    assert "less than 100 megabytes" in line
    assert "free space (df -h)" in line


def test_case_c_a_postgresql_that_is_read_only(site: Site, postgres: str) -> None:
    with psycopg.connect(postgres, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS for_check")
        connection.execute("CREATE DATABASE for_check")
    uri = f"{postgres.rpartition('/')[0]}/for_check{postgres.partition('?')[1]}{postgres.partition('?')[2]}"
    site.configure(artdaq_db={"database_uri": uri})
    well = passes(site)
    with psycopg.connect(uri, autocommit=True) as connection:
        [(tables,)] = connection.execute("SELECT count(*) FROM pg_tables WHERE schemaname = 'artdaqdb'").fetchall()
        connection.execute("ALTER DATABASE for_check SET default_transaction_read_only = on")

    line = failed(site)

    assert well
    assert tables == 0
    assert "the server takes no writes" in line


@pytest.fixture(scope="module")
def read_only_server(postgres: str) -> Iterator[DevServer]:
    with temporary_directory() as directory:
        server = DevServer(directory, postgres, read_only=True)
        server.start()
        yield server
        server.stop()


def test_case_c_a_ucondb_that_is_read_only(site: Site, read_only_server: DevServer) -> None:
    site.configure(ucon_db={"server_url": read_only_server.url})

    assert "takes no writes: Read-only instance (405)" in failed(site)


def _answer(status: str, body: str = "", header: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\n{header}Content-Length: {len(body)}\r\nConnection: close\r\n\r\n{body}".encode()


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (_answer("502 Bad Gateway", "bad gateway"), "bad gateway (502)"),
        (_answer("429 Too Many Requests", "slow down"), "slow down (429)"),
        (_answer("302 Found", header="Location: https://login/\r\n"), "sends us elsewhere, to https://login/"),
        (_answer("200 OK", "<html>Please log in</html>"), "a put is answered by a page that is not UconDB's"),
        (b"", "See whether it runs"),
    ],
)
def test_case_c_a_proxy_that_refuses_every_put(site: Site, answer: bytes, says: str) -> None:
    with Line(site.ucondb.url, lambda asked, given: answer if asked.startswith(b"POST") else given) as line:
        site.configure(ucon_db={"server_url": line.url})

        assert says in failed(site)


def test_case_c_the_password_is_tried_in_an_empty_folder(site: Site) -> None:
    right = passes(site)
    site.configure(ucon_db={"writer_password": "mistyped"})

    line = failed(site)

    assert right
    assert "wrong user or password for folder" in line
    assert site.versions() == 0


@pytest.mark.parametrize("marked", [True, False])
def test_case_c_stored_runs_whose_blobs_are_gone(site: Site, ucondb: Folder, *, marked: bool) -> None:
    ucondb.execute(
        "insert into {folder}_versions (key, object, tv, data_size, data_key, adler32)"
        " select n::text, 'configuration', 0, 9000, n::text, 1 from generate_series(1, 400) n"
    )
    if marked:
        tree = Tree(site.work)
        tree.prepare()
        tree.write_markers(Marker.of("migrate", run, Facts(verified=True)) for run in range(1, 401))
        (site.records / "notes").touch()
    before = ucondb.stats()["gets"]

    line = failed(site)

    assert "the blobs of runs 398-400 are lost" in line
    assert "--verify names every such run" in line
    assert ucondb.stats()["gets"] - before <= 9


def test_check_says_what_it_waits_for(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    printed = io.StringIO()

    def slow(asked: bytes, given: bytes) -> bytes:
        wait_until(lambda: "UconDB: no answer yet" in printed.getvalue())
        return given

    monkeypatch.setattr(sys, "stderr", printed)
    monkeypatch.setattr(check, "SLOW_SECONDS", 0.2)
    with Line(site.ucondb.url, slow) as line:
        site.configure(ucon_db={"server_url": line.url})
        assert passes(site)

    late = printed.getvalue().splitlines()
    assert [line for line in late if line.startswith("UconDB")] == ["UconDB: no answer yet"]  # others may be slow too
    assert all(line.endswith(": no answer yet") for line in late)


def test_check_reads_a_log_that_is_a_device(site: Site) -> None:
    site.configure(app={"log_file": str(Path("/dev/null"))})

    assert passes(site)
