"""Servers that tests share (the machinery is in servers.py), and what a skip means (skips.py)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from scripts.ucondb_dev.postgres import PostgresError
from tests import in_process, servers
from tests.reliability.counts import pytest_terminal_summary
from tests.site import Site
from tests.skips import pytest_make_collect_report, pytest_runtest_makereport
from tests.waiting import scaled

__all__ = [
    "mongodb",
    "mongodb_alone",
    "mongodb_servers",
    "namespaced",
    "namespaced_server",
    "postgres",
    "pytest_make_collect_report",
    "pytest_runtest_makereport",
    "pytest_terminal_summary",
    "site",
    "ucondb",
    "ucondb_server",
]

# How long an example takes says nothing here: the machine is shared, and many examples write files. `make test` takes
# the same examples every time, `make test-long` looks for new ones.
settings.register_profile(
    "project",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("HYPOTHESIS_PROFILE") != "long",
)
settings.load_profile("project")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Let the limit of each test scale with the speed of the machine."""
    usual = float(config.getini("timeout"))
    for item in items:
        marker = item.get_closest_marker("timeout")
        seconds = float(marker.args[0]) if marker else usual
        item.add_marker(pytest.mark.timeout(scaled(seconds)), append=False)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """One PostgreSQL for the session (one per worker under xdist); its URI."""
    try:
        with servers.running_postgres() as uri:
            yield uri
    except PostgresError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def mongodb_servers() -> Iterator[tuple[str, str]]:
    """Two servers for the session that speak MongoDB's protocol; their URIs without a database."""
    with servers.running_mongodb() as uris:
        yield uris


@pytest.fixture(scope="session")
def mongodb(mongodb_servers: tuple[str, str]) -> str:
    """The one that is a replica set, and has transactions."""
    return mongodb_servers[0]


@pytest.fixture(scope="session")
def mongodb_alone(mongodb_servers: tuple[str, str]) -> str:
    """The one by itself, without transactions."""
    return mongodb_servers[1]


@pytest.fixture(scope="session")
def ucondb_server(postgres: str) -> Iterator[servers.DevServer]:
    """One UconDB development server for the session."""
    with servers.temporary_directory() as directory:
        server = servers.DevServer(directory, postgres)
        server.start()
        yield server
        server.stop()


@pytest.fixture
def ucondb(ucondb_server: servers.DevServer, request: pytest.FixtureRequest) -> Iterator[servers.Folder]:
    """A fresh folder on that server; a test may stop the server, the next one finds it running."""
    if ucondb_server.process is None:
        ucondb_server.start()
    return servers.Folder.fresh(ucondb_server, request.node.nodeid)


@pytest.fixture
def site(tmp_path: Path, ucondb: servers.Folder, request: pytest.FixtureRequest) -> Site:
    """Real records, real stores, the real command line; in the test's process if it is marked `in_process`."""
    return in_process.chosen(request)(tmp_path, ucondb)


@pytest.fixture(scope="session")
def namespaced_server(postgres: str) -> Iterator[servers.DevServer]:
    """One UconDB development server for the session whose folders are in a namespace of its own."""
    with servers.temporary_directory() as directory:
        server = servers.DevServer(directory, postgres, namespace="ucon_test")
        server.start()
        yield server
        server.stop()


@pytest.fixture
def namespaced(namespaced_server: servers.DevServer, request: pytest.FixtureRequest) -> servers.Folder:
    """A fresh folder in that namespace."""
    return servers.Folder.fresh(namespaced_server, request.node.nodeid)
