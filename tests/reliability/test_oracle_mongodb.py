"""The histories of test_oracle.py over an artdaqDB in MongoDB, and what artdaq's tools do there to our documents."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule, run_state_machine_as_test

from tests.reliability import oracle, oracle_mongodb
from tests.reliability.conftest import reliability_settings
from tests.reliability.counts import count
from tests.reliability.test_oracle import LONG, Archive, numbers, record
from tests.servers import Folder
from tests.unit.stores.artdaqdb.artdaq_mongo import ArtdaqMongo

HISTORIES = 500 if LONG else 8
"""On each of the two servers."""


class MongoArchive(Archive):
    """One archive's history, in a database of its own."""

    server: str

    def __init__(self) -> None:
        super().__init__()
        self.artdaq = ArtdaqMongo(self.artdaqdb())

    def artdaqdb(self) -> str:
        return f"{self.server}/{self.object}_archive"

    def teardown(self) -> None:
        try:
            super().teardown()
        finally:
            self.artdaq.client.drop_database(self.artdaq.database)
            self.artdaq.client.close()

    def in_artdaqdb(self) -> dict[int, oracle.Files]:
        return oracle_mongodb.in_artdaqdb(self.artdaq.database)

    def of_others(self) -> dict[int, set[str]]:
        return oracle_mongodb.of_other_programs(self.artdaq.database)

    def ours(self) -> list[int]:
        """Runs whose newest version is the archiver's."""
        return sorted(self.in_artdaqdb().keys() - self.of_others().keys())

    @contextmanager
    def unmounted(self, name: str) -> Iterator[None]:
        if name == "run_records":
            with super().unmounted(name):
                yield
            return
        exported = self.artdaq.export_database()
        self.artdaq.client.drop_database(self.artdaq.database)
        try:
            yield
        finally:
            self.artdaq.client.drop_database(self.artdaq.database)
            self.artdaq.import_database(exported)

    @precondition(lambda self: self.ours())
    @rule(place=numbers, name=st.sampled_from(sorted(record(1))))
    def artdaq_assigns_a_document(self, place: int, name: str) -> None:
        for tree in self.documents_of(place, name):
            entity = tree["entities"][0]["name"]
            self.artdaq.assign(tree["version"], entity, f"{tree['runs'][0]['name']}/golden")
        self.run("--incremental")

    @precondition(lambda self: self.ours())
    @rule(place=numbers, name=st.sampled_from(sorted(record(1))))
    def a_document_is_deleted_by_hand(self, place: int, name: str) -> None:
        for tree in self.documents_of(place, name):
            self.artdaq.database["RunHistory"].delete_one({"_id": tree["_id"]})
            if tree["version"] != tree["configurations"][0]["name"]:
                return self.seen_only_by_verification()  # an older version of the run is listed
        self.run("--incremental")  # which looks for it
        return None

    @precondition(lambda self: self.ours())
    @rule(place=numbers, name=st.sampled_from(["boot", "extra"]))
    def another_program_loads_a_document_beside_ours(self, place: int, name: str) -> None:
        for tree in self.documents_of(place, "boot.txt"):
            self.artdaq.load(int(tree["runs"][0]["name"]), [name], configuration=tree["version"])
        self.seen_only_by_verification()

    def documents_of(self, place: int, name: str) -> Iterator[dict[str, Any]]:
        """The document of a file in the newest version of one of our runs; none if that has no such file."""
        for run in self.one_of(self.ours(), place):
            found = self.artdaq.database["RunHistory"].find(
                {"runs.name": str(run), "entities.name": name.partition(".")[0], "origin.rawdata": "rra:base64"}
            )
            yield from sorted(found, key=lambda tree: len(tree["version"]))[-1:]


@pytest.fixture
def machine(ucondb: Folder, memory: Any) -> Iterator[Callable[[str], type[MongoArchive]]]:
    with psycopg.connect(ucondb.server.pg(), autocommit=True) as connection:
        shared = {"ucondb": ucondb, "connection": connection, "memory": memory}
        yield lambda server: type("MongoArchive", (MongoArchive,), {**shared, "server": server})


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("server", ["mongodb", "mongodb_alone"])
def test_the_oracle_agrees_on_mongodb_with_safe_and_advice(
    machine: Callable[[str], type[MongoArchive]], server: str, request: pytest.FixtureRequest
) -> None:
    archive = machine(request.getfixturevalue(server))
    profile = settings(reliability_settings(), stateful_step_count=12, max_examples=HISTORIES)
    run_state_machine_as_test(archive, settings=profile)
    count(request, f"histories over {server} that the oracle followed", archive.histories)
    count(request, f"reports over {server} that said SAFE in them", archive.safe)
    assert archive.safe > archive.histories / 2
