"""UconDB servers with a namespace of their own: the realm is learnt, folders are named with and without it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from pydantic import SecretStr
from requests.auth import HTTPDigestAuth

from rra_state.base.errors import AccessDenied, ConfigError
from rra_state.stores.ucondb.client import UconDB
from tests.servers import PASSWORD, USER, Folder

BLOB = b"Start of Record\nRun Number: 7\nPacked on Oct 17 10:08 UTC\n" + b"a: 1\n" * 4000


@pytest.fixture(params=["bare", "qualified"])
def name(request: pytest.FixtureRequest, namespaced: Folder) -> str:
    """The folder's name as a site may write it."""
    return namespaced.folder if request.param == "bare" else f"ucon_test.{namespaced.folder}"


# ---- the client ------------------------------------------------------------------------------------------------------


def test_case_d1_a_blob_is_stored_in_any_namespace(namespaced: Folder, name: str) -> None:
    store = UconDB(namespaced.settings(folder_name=name))

    first = store.put(7, BLOB)
    replaced = store.put(7, b"new", override_of=first.version)

    assert store.get(7) == (b"new", replaced.version)
    assert store.versions() == store.lookup([7]) == {7: replaced.version}
    assert namespaced.execute("select key from ucon_test.{folder}_versions order by id") == [(None,), ("7",)]


def test_check_finds_the_folder_by_name_with_namespace_too(namespaced: Folder, name: str) -> None:
    assert UconDB(namespaced.settings(folder_name=name)).check().endswith(f"folder {name}")


def test_a_public_folder_may_be_named_with_its_namespace(ucondb: Folder) -> None:
    store = UconDB(ucondb.settings(folder_name=f"public.{ucondb.folder}"))

    store.put(7, BLOB)

    assert store.check().endswith(f"folder public.{ucondb.folder}")
    assert UconDB(ucondb.settings()).get(7)[0] == BLOB


def test_a_folder_of_another_namespace_is_found_by_its_name(ucondb: Folder, namespaced: Folder) -> None:
    """The two servers share a database; a folder is found from both, if its namespace is given."""
    elsewhere = ucondb.settings(folder_name=f"ucon_test.{namespaced.folder}")

    UconDB(elsewhere).put(7, BLOB)

    assert UconDB(elsewhere).check().endswith(f"folder ucon_test.{namespaced.folder}")
    assert UconDB(namespaced.settings()).get(7)[0] == BLOB


@pytest.mark.parametrize("missing", ["nowhere", "ucon_test.nowhere", "other.nowhere"])
def test_a_folder_that_no_namespace_has_is_reported(namespaced: Folder, missing: str) -> None:
    store = UconDB(namespaced.settings(folder_name=missing))

    for ask in (store.check, store.runs, lambda: store.put(7, BLOB)):
        with pytest.raises(AccessDenied, match=rf"has no folder {missing}\. Correct .*create_folder\?folder={missing}"):
            ask()


def test_the_tables_of_a_namespace_are_listed_by_sql(namespaced: Folder) -> None:
    UconDB(namespaced.settings()).put(7, BLOB)
    uri = SecretStr(namespaced.server.pg())

    direct = UconDB(namespaced.settings(database_uri=uri, folder_name=f"ucon_test.{namespaced.folder}"))

    assert direct.runs() == {7}
    assert direct.read(7)[0] == BLOB


def test_case_d2_a_folder_of_another_namespace_is_refused(ucondb: Folder, namespaced: Folder) -> None:
    """Two namespaces of one database have a folder of this name; the server's own is empty."""
    assert ucondb.folder == namespaced.folder
    UconDB(ucondb.settings()).put(7, BLOB)
    direct = UconDB(namespaced.settings(database_uri=SecretStr(namespaced.server.pg())))

    for ask in (direct.check, direct.runs, direct.versions, lambda: direct.read(7)):
        with pytest.raises(AccessDenied) as caught:
            ask()

    own = f"ucon_test.{namespaced.folder}"
    assert f"its folder is {own}, but ucon_db.database_uri reads public.{namespaced.folder}" in str(caught.value)
    assert f"set ucon_db.folder_name: {own}" in str(caught.value)


def test_sql_without_the_namespace_of_the_folder_names_the_remedy(namespaced: Folder) -> None:
    direct = UconDB(namespaced.settings(database_uri=SecretStr(namespaced.server.pg())))

    with pytest.raises(AccessDenied, match=r"set ucon_db\.folder_name: ucon_test\."):
        direct.runs()


@pytest.mark.parametrize("folder", [".f", "f.", "."])
def test_half_a_name_with_namespace_is_never_put_into_sql(ucondb: Folder, folder: str) -> None:
    with pytest.raises(ConfigError, match=r"ucon_db\.folder_name"):
        UconDB(ucondb.settings(database_uri=SecretStr(ucondb.server.pg()), folder_name=folder))


# ---- the password ----------------------------------------------------------------------------------------------------


def test_a_wrong_password_in_a_namespace_is_reported_as_such(namespaced: Folder, name: str) -> None:
    store = UconDB(namespaced.settings(folder_name=name, writer_password=SecretStr("unguessable")))

    with pytest.raises(AccessDenied) as caught:
        store.put(7, BLOB)

    assert str(caught.value) == (
        f"UconDB at {namespaced.url}: wrong user or password for folder {name} (401). "
        "Set UCONDB_PASSWORD or ucon_db.writer_password."
    )
    assert namespaced.execute("select count(*) from {folder}_data") == [(0,)]


def test_fifty_puts_in_a_namespace_need_one_challenge(namespaced: Folder) -> None:
    store = UconDB(namespaced.settings())

    for run in range(1, 51):
        store.put(run, b"%d" % run)

    assert namespaced.refused() == 1
    assert store.runs() == set(range(1, 51))


def test_threads_share_the_challenge_of_a_namespace(namespaced: Folder) -> None:
    store = UconDB(namespaced.settings())

    with ThreadPoolExecutor(8) as threads:
        stored = list(threads.map(lambda run: store.put(run, b"%d" % run).already, range(1, 51)))

    assert not any(stored)
    assert namespaced.refused() == 1


def test_learning_the_namespace_stores_nothing(namespaced: Folder) -> None:
    """Not even where the challenge is refused, or the server asks for none: its request holds no time and no key."""
    UconDB(namespaced.settings()).put(7, BLOB)

    assert namespaced.execute("select key, data_size from {folder}_versions") == [("7", len(BLOB))]


def test_a_corrected_password_is_accepted_in_a_namespace(namespaced: Folder) -> None:
    settings = namespaced.settings(writer_password=SecretStr("unguessable"))
    with pytest.raises(AccessDenied):
        UconDB(settings).put(7, BLOB)

    assert not UconDB(namespaced.settings()).put(7, BLOB).already


# ---- the development server ------------------------------------------------------------------------------------------


def ask(ucondb: Folder, path: str, **query: str) -> requests.Response:
    return requests.get(f"{ucondb.url}/{path}", params=query, timeout=10)


def test_the_servers_realm_is_namespace_and_folder(namespaced: Folder, name: str) -> None:
    answer = requests.post(f"{namespaced.url}/data/{name}/o", timeout=10)

    assert (answer.status_code, answer.text) == (401, "Authorization required")
    assert answer.headers["WWW-Authenticate"].startswith(f'Digest realm="ucon_test.{namespaced.folder}", nonce="b\'')


def test_the_server_describes_a_version_with_its_namespace(namespaced: Folder, name: str) -> None:
    full = requests.post(
        f"{namespaced.url}/data/{name}/o",
        params={"key": "7", "full_meta": "yes"},
        data=b"blob",
        auth=HTTPDigestAuth(USER, PASSWORD),
        timeout=10,
    ).json()

    assert full["folder"] == f"ucon_test.{namespaced.folder}"
    assert ask(namespaced, "versions", folder=name, object="o").json() == [full]
    assert ask(namespaced, f"data/{name}/o", key="7").content == b"blob"


def test_the_server_lists_the_folders_of_one_namespace(ucondb: Folder, namespaced: Folder) -> None:
    own = ask(namespaced, "folders").json()
    public = ask(namespaced, "folders", namespace="public").json()

    assert namespaced.folder in own
    assert own == ask(namespaced, "folders", namespace="ucon_test").json()
    assert f"public.{ucondb.folder}" in public
    assert ask(namespaced, "versions", folder=ucondb.folder, object="o").status_code == 404
