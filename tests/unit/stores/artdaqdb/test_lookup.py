from __future__ import annotations

from pathlib import Path

import pytest

from rra_state.stores.artdaqdb.base import Location
from rra_state.stores.artdaqdb.filesystem import FilesystemDB
from rra_state.stores.artdaqdb.lookup import version_name, version_number
from tests.unit.stores.artdaqdb.artdaqdb_helpers import MD5, Artdaq, record, store


def located(path: Path, run: int) -> Location:
    return FilesystemDB(path).locate([run])[run]


def entities(location: Location) -> dict[str, str]:
    return {item.entity: item.oid for item in location.items if item.collection == "RunHistory"}


@pytest.mark.parametrize("number", [0, 1, 9, 10, 12345])
def test_version_names_and_numbers_belong_together(number: int) -> None:
    assert version_number("300/a", version_name("300/a", number)) == number


@pytest.mark.parametrize(
    "name", ["300/b", "300/a1", "300/av", "300/avx", "300/av-1", "300/av\u0661", "300/av1v2", "300/"]
)
def test_another_name_is_no_version(name: str) -> None:
    assert version_number("300/a", name) is None


def test_version_ten_comes_after_nine(path: Path, artdaq: Artdaq) -> None:
    for number in (0, 2, 9, 10, 1, 12):
        newest = artdaq.write(300, "boot", version=version_name("300/standard", number), configuration="300/standard")

    location = located(path, 300)

    assert location.version == "300/standardv12"
    assert entities(location) == {"boot": newest}


def test_an_update_of_the_existing_archiver_keeps_other_documents(path: Path, artdaq: Artdaq) -> None:
    base = {name: artdaq.write(300, name) for name in ("boot", "RunHistory", "RunHistory2")}
    update = artdaq.write(300, "RunHistory2", configuration="300/standard", version="300/standardv1")
    artdaq.write(300, "schema", configuration="300/standard", version="300/standardv1", collection="SystemLayout")

    location = located(path, 300)

    assert location.version == "300/standardv1"
    assert entities(location) == base | {"RunHistory2": update}


def test_a_removed_file_is_not_taken_from_older_versions(path: Path, db: FilesystemDB) -> None:
    store(db, record(300, {"a.fcl": b"a: 1\n", "b.fcl": b"b: 1\n"}))
    store(db, record(300, {"a.fcl": b"a: 2\n"}))

    assert set(entities(located(path, 300))) == {"a"}


def test_an_update_of_our_version_is_merged(path: Path, db: FilesystemDB, artdaq: Artdaq) -> None:
    store(db, record(300, {"boot.fcl": b"a: 1\n", "RunHistory2.fcl": b"b: 1\n"}))
    update = artdaq.write(300, "RunHistory2", configuration="300/standard", version="300/standardv1")

    found = entities(located(path, 300))

    assert set(found) == {"boot", "RunHistory2"}
    assert found["RunHistory2"] == update


def test_of_foreign_duplicates_the_smallest_object_id_is_taken(path: Path, artdaq: Artdaq) -> None:
    for oid in ("c" * 24, "a" * 24, "b" * 24):
        artdaq.write(300, "boot", oid=oid)

    assert entities(located(path, 300)) == {"boot": "a" * 24}


def test_of_a_duplicate_of_ours_ours_is_taken(path: Path, db: FilesystemDB, artdaq: Artdaq) -> None:
    store(db, record(300, {"boot.fcl": b"a: 1\n"}))
    artdaq.write(300, "boot", oid="0" * 24)

    assert db.export(located(path, 300)).files == {"boot.fcl": b"a: 1\n"}


def test_the_configuration_assigned_last_is_read(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot", configuration="300/z", assigned="2024-11-23T20:20:41.006+0000")
    chosen = artdaq.write(300, "boot", configuration="300/a", assigned="2024-11-23T14:20:41.007-0600")

    location = located(path, 300)

    assert (location.configuration, entities(location)) == ("300/a", {"boot": chosen})


def test_a_name_like_a_version_is_its_own_configuration(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot", configuration="300/av1", assigned="2024-11-23T20:20:41.006+0000")
    chosen = artdaq.write(300, "setup", configuration="300/a", assigned="2025-11-23T20:20:41.006+0000")

    location = located(path, 300)

    assert (location.version, entities(location)) == ("300/a", {"setup": chosen})


@pytest.mark.parametrize("configuration", ["300/a b", "300/a/b", '300/\u00e9 "q"', "300/v1", "300/"])
def test_foreign_configuration_names_are_found(path: Path, artdaq: Artdaq, configuration: str) -> None:
    artdaq.write(300, "boot", configuration=configuration)

    assert located(path, 300).configuration == configuration


def test_a_configuration_without_run_number_is_found(path: Path, artdaq: Artdaq) -> None:
    oids = {run: artdaq.write(run, "boot", configuration="shared") for run in (300, 301)}

    found = FilesystemDB(path).locate([300, 301, 302])

    assert {run: entities(each)["boot"] for run, each in found.items()} == oids


def test_case_d7b_a_document_assigned_elsewhere_moves_no_run(path: Path, artdaq: Artdaq) -> None:
    """The tools' assignment of one document is newer than the configuration that holds the run."""
    boot = artdaq.write(300, "boot", configuration="300/cosmics")
    setup = artdaq.write(300, "setup", configuration="300/cosmics")
    artdaq.assign(boot, "300/golden", "2030-01-01T00:00:00.000+0000")

    location = located(path, 300)

    assert (location.version, entities(location)) == ("300/cosmics", {"boot": boot, "setup": setup})
    assert location.passed_over == ("documents of it are assigned to 300/golden as well",)
    assert set(FilesystemDB(path).export(location).files) == {"boot.fcl", "setup.fcl"}


def test_documents_without_a_run_name_still_count(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot", runs_name=False)

    assert FilesystemDB(path).runs() == {300}
    assert located(path, 300).run == 300


def test_a_version_with_a_foreign_name_is_oldest(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot", configuration="300/standard", version="notprovided")
    newer = artdaq.write(300, "boot", configuration="300/standard", version="300/standard")
    old = artdaq.write(300, "setup", configuration="300/standard", version="notprovided")

    assert entities(located(path, 300)) == {"boot": newer, "setup": old}


def test_checksums_are_not_a_file_but_our_hashes_fcl_is(path: Path, db: FilesystemDB, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot")
    artdaq.write(300, "hashes", {"boot": MD5})
    store(db, record(301, {"hashes.fcl": b"boot: " + MD5.encode() + b"\n"}))

    assert set(db.export(located(path, 300)).files) == {"boot.fcl"}
    assert set(db.export(located(path, 301)).files) == {"hashes.fcl"}


def test_case_d6b_a_hashes_document_of_another_kind_is_a_file(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "boot")
    artdaq.write(300, "hashes", {"algorithm": "md5", "boot": MD5})

    assert set(FilesystemDB(path).export(located(path, 300)).files) == {"boot.fcl", "hashes.fcl"}


def test_a_run_with_schema_or_checksums_only_is_ignored(path: Path, artdaq: Artdaq) -> None:
    artdaq.write(300, "schema", collection="SystemLayout")
    artdaq.write(301, "hashes")

    assert FilesystemDB(path).locate([300, 301]) == {}
