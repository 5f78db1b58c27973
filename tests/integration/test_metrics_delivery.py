"""Metrics on their way: a real listener, the real Carbon where it is installed, a file that appears whole."""

from __future__ import annotations

import logging
import os
import socket
import socketserver
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rra_state.config.loading import Settings
from rra_state.config.models import Carbon, Metrics
from rra_state.monitoring import after_cycle, metrics
from rra_state.monitoring.metrics import Sample
from rra_state.state.tally import Ended
from tests import ports
from tests.programs import needed
from tests.unit.archive_site import Site
from tests.waiting import scaled, wait_until

ENDED = Ended(("import", "migrate"), 1.5)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    site = Site(tmp_path)
    site.record(1, 2)
    site.archive("import", 1)
    return site


@pytest.fixture
def listener() -> Iterator[tuple[int, list[str]]]:
    """Port of a TCP server, and the lines it got."""
    lines: list[str] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            lines.extend(line.decode().rstrip("\n") for line in self.rfile)

    with socketserver.TCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield server.server_address[1], lines
        server.shutdown()
        thread.join()


def with_carbon(site: Site, port: int) -> Settings:
    carbon = Carbon(enabled=True, host="127.0.0.1", port=port, metric_prefix="sbnd.archiver")
    return site.settings.model_copy(update={"carbon": carbon})


def test_carbon_gets_a_line_per_number(site: Site, listener: tuple[int, list[str]]) -> None:
    port, lines = listener

    after_cycle.run(with_carbon(site, port), ENDED)

    wait_until(lambda: len(lines) > 20)
    assert f"sbnd.archiver.stage_runs.import.archived 1 {int(ENDED.at)}" in lines
    assert all(len(line.split(" ")) == 3 for line in lines)


def test_a_carbon_that_is_down_costs_one_line(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    with ports.reserved() as port, caplog.at_level(logging.WARNING, "rra"):
        after_cycle.run(with_carbon(site, port), ENDED)

    assert f"metrics: Carbon at 127.0.0.1:{port} cannot be used: " in caplog.text


def test_a_carbon_that_hangs_is_given_up_in_time(
    site: Site, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(metrics, "CARBON_SECONDS", 0.2)
    monkeypatch.setattr(metrics, "carbon_lines", lambda *_: ["x" * 10_000_000])

    with socket.create_server(("127.0.0.1", 0)) as deaf, caplog.at_level(logging.WARNING, "rra"):
        began = time.monotonic()
        after_cycle.run(with_carbon(site, deaf.getsockname()[1]), ENDED)
        assert time.monotonic() - began < scaled(5)

    assert "cannot be used: " in caplog.text


def test_the_real_carbon_stores_what_it_is_sent(tmp_path: Path) -> None:
    with _carbon_cache(tmp_path) as port:
        carbon = Carbon(enabled=True, host="127.0.0.1", port=port, metric_prefix="sbnd.archiver")
        metrics.send_carbon(carbon, [Sample("rra_runs", 42, {"state": "archived"})], time.time())

        stored = tmp_path / "storage" / "whisper" / "sbnd" / "archiver" / "runs" / "archived.wsp"
        wait_until(lambda: stored.exists() and _values(stored) == [42])  # it makes the file before it fills it


def test_the_text_file_is_written_whole_or_not_at_all(site: Site, caplog: pytest.LogCaptureFixture) -> None:
    path = site.root / "rra.prom"
    settings = site.settings.model_copy(update={"metrics": Metrics(prometheus_file=path)})
    after_cycle.run(settings, ENDED)
    before = path.read_text()
    assert 'rra_stage_runs{stage="import",state="archived"} 1.0\n' in before

    (site.root / ".rra.prom.tmp").mkdir()
    with caplog.at_level(logging.WARNING, "rra"):
        after_cycle.run(settings, ENDED)

    assert f"metrics: {path} cannot be written: " in caplog.text
    assert path.read_text() == before


@pytest.mark.parametrize("mask", [0o077, 0o022, 0])
def test_case_b9_node_exporter_can_read_the_file_whatever_the_umask(site: Site, mask: int) -> None:
    path = site.root / "rra.prom"
    settings = site.settings.model_copy(update={"metrics": Metrics(prometheus_file=path)})

    before = os.umask(mask)
    try:
        after_cycle.run(settings, ENDED)
    finally:
        os.umask(before)

    assert path.stat().st_mode & 0o777 == 0o644


# ---- the real Carbon -------------------------------------------------------------------------------------------------


@contextmanager
def _carbon_cache(root: Path) -> Iterator[int]:
    """Debian's carbon-cache on a free port of loopback, with its files below `root`."""
    with ports.reserved() as port, _started(root, port):
        yield port


@contextmanager
def _started(root: Path, port: int) -> Iterator[None]:
    (root / "storage-schemas.conf").write_text("[all]\npattern = .*\nretentions = 1s:1h\n")
    (root / "carbon.conf").write_text(
        "[cache]\n"
        f"STORAGE_DIR = {root}/storage/\nLOCAL_DATA_DIR = {root}/storage/whisper/\nCONF_DIR = {root}/\n"
        f"LOG_DIR = {root}/log/\nPID_DIR = {root}/\n"
        f"LINE_RECEIVER_INTERFACE = 127.0.0.1\nLINE_RECEIVER_PORT = {port}\n"
        "PICKLE_RECEIVER_PORT = 0\nCACHE_QUERY_PORT = 0\nMAX_CREATES_PER_MINUTE = inf\n"
    )
    process = subprocess.Popen(
        [needed("carbon-cache"), f"--config={root}/carbon.conf", "--nodaemon", "start"],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: _answers(port))
        yield
    finally:
        process.terminate()
        process.wait(scaled(10))


def _values(stored: Path) -> list[float]:
    """The values in a file of Carbon's."""
    command = [needed("whisper-fetch"), "--drop=nulls", stored]
    lines = subprocess.run(command, capture_output=True, text=True, timeout=scaled(20), check=True).stdout.splitlines()
    return [float(line.split()[1]) for line in lines]


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True
