"""FHiCL parameters of archived runs, and what differs between two: from each kind of artdaqDB, and from UconDB."""

from __future__ import annotations

import csv
import errno
import io
import json
import re
import shutil
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

import rra_state
from rra_state.reporting.page import run_changes
from rra_state.stores.ucondb.client import UconDB
from scripts.make_run_records import write_record
from tests.acceptance.guide import METADATA
from tests.paths import REPOSITORY
from tests.servers import new_database
from tests.site import Site
from tests.waiting import scaled

pytestmark = pytest.mark.in_process

FCL = """
BEGIN_PROLOG
receiver: {{ generator: "Kestrel{letter}" rate: {rate} }}
END_PROLOG
daq: {{ fragment_receiver: @local::receiver channels: [1, {second}] on: true }}
"""


in_each_kind = pytest.mark.parametrize("site", ["directory", "postgres", "mongodb"], indirect=True)


@pytest.fixture
def site(site: Site, request: pytest.FixtureRequest) -> Site:
    """Four archived runs: 1 and 2 are the same but for a comment, 3 has other values, 4 another component."""
    kind, name = getattr(request, "param", "directory"), f"parameters_{uuid4().hex}"
    if kind == "postgres":
        site.database = new_database(request.getfixturevalue("postgres"), name)
    elif kind == "mongodb":
        site.database = f"{request.getfixturevalue('mongodb')}/{name}"
    site.configure()
    first = FCL.format(letter="A", rate=2, second=2)
    take(site, 1, {"reader01.fcl": first})
    take(site, 2, {"reader01.fcl": f"# a comment\n{first}"})
    take(site, 3, {"reader01.fcl": FCL.format(letter="B", rate=2.5, second=2)}, level=3)
    take(site, 4, {"reader02.fcl": FCL.format(letter="A", rate=7, second=2)}, component="reader02")
    site.archive_runs()
    return site


def take(site: Site, run: int, fcl: dict[str, str], level: int = 1, component: str = "reader01") -> None:
    files = {name: text.encode() for name, text in fcl.items()}
    texts = {
        "boot.txt": f"debug level: {level}\n".encode(),
        "metadata.txt": METADATA.replace(b"component01", component.encode()),
    }
    write_record(site.records / str(run), files | texts)


@in_each_kind
def test_parameters_are_typed_and_missing_where_a_run_lacks_them(site: Site) -> None:
    frame = rra_state.parameters(site.config, None, ["*.fragment_receiver.*", "boot.debug_level", "reader01.daq.on"])

    assert {name: str(dtype) for name, dtype in frame.dtypes.items()} == {
        "run": "int64",
        "boot.debug_level": "Int64",
        "reader01.daq.fragment_receiver.generator": "string",
        "reader01.daq.fragment_receiver.rate": "Float64",
        "reader01.daq.on": "boolean",
        "reader02.daq.fragment_receiver.generator": "string",
        "reader02.daq.fragment_receiver.rate": "Int64",
    }
    assert frame["run"].tolist() == [1, 2, 3, 4]
    assert frame["reader01.daq.fragment_receiver.rate"].tolist()[:3] == [2, 2, 2.5]
    assert frame["reader01.daq.on"].isna().tolist() == [False, False, False, True]
    assert frame["boot.debug_level"].tolist() == [1, 1, 3, 1]
    assert rra_state.parameters(site.config, "1,3-9", "*.channels[1]")["run"].tolist() == [1, 3, 4]


def test_the_python_of_the_page_works(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    [code] = re.findall(r"^```python\n(.*?)^```", (REPOSITORY / "docs" / "parameters.md").read_text(), re.S | re.M)

    exec(code.replace('"config.yaml"', repr(str(site.config))).replace("12000-12999", "1-9"))

    assert capsys.readouterr().out.count("KestrelA") == 2


@in_each_kind
def test_a_parameters_history_names_the_runs_of_each_value(site: Site) -> None:
    frame = rra_state.history(site.config, "boot.debug_level")

    assert frame.to_dict("records") == [
        {"parameter": "boot.debug_level", "value": 1, "first": 1, "last": 2, "runs": 2},
        {"parameter": "boot.debug_level", "value": 3, "first": 3, "last": 3, "runs": 1},
        {"parameter": "boot.debug_level", "value": 1, "first": 4, "last": 4, "runs": 1},
    ]


def test_only_the_documents_that_a_pattern_names_are_read(site: Site) -> None:
    for path in (site.root / "artdaqdb" / "RunHistory").glob("*.json"):
        if path.name != "index.json" and json.loads(path.read_text())["origin"]["name"] != "boot":
            path.write_text("damaged")

    assert rra_state.parameters(site.config, None, ["boot.debug_level"])["boot.debug_level"].tolist() == [1, 1, 3, 1]


def test_a_run_that_artdaqdb_lost_is_read_from_ucondb(site: Site) -> None:
    shutil.rmtree(site.root / "artdaqdb")

    frame = rra_state.parameters(site.config, None, ["boot.debug_level"])

    assert frame["boot.debug_level"].tolist() == [1, 1, 3, 1]


def test_parameters_are_printed_as_text_csv_and_json(site: Site) -> None:
    options = ("--parameters", "*.rate", "--parameters", "boot.debug*", "--runs", "3-4")

    text = site.archive_runs(*options).stdout
    rows = list(csv.DictReader(io.StringIO(site.archive_runs(*options, "--format", "csv").stdout)))
    values = json.loads(site.archive_runs(*options, "--format", "json").stdout)

    assert [line.split() for line in text.splitlines()] == [
        ["run", "boot.debug_level", "reader01.daq.fragment_receiver.rate", "reader02.daq.fragment_receiver.rate"],
        ["3", "3", "2.5", "-"],
        ["4", "1", "-", "7"],
    ]
    assert [row["reader02.daq.fragment_receiver.rate"] for row in rows] == ["", "7"]
    assert values[0] == {"run": 3, "boot.debug_level": 3, "reader01.daq.fragment_receiver.rate": 2.5}


def test_an_unknown_pattern_or_run_is_an_error(site: Site) -> None:
    unknown = site.archive_runs("--parameters", "rate", status=1)
    run = site.archive_runs("--parameters", "*.rate", "--runs", "3,9", status=1)

    assert "no parameter of these runs matches rate (write *.NAME" in unknown.stderr
    assert "not archived: 9" in run.stderr
    assert "2.5" in run.stdout


def test_a_file_that_is_no_fhicl_is_named_once(site: Site) -> None:
    for run in (5, 6):
        take(site, run, {"reader01.fcl": "rate: {\n"})
    site.archive_runs()

    done = site.archive_runs("--parameters", "*.rate")

    assert done.stderr.count("its parameters are missing") == 1
    assert "runs 5-6: reader01.fcl: line" in done.stderr


def test_two_runs_are_compared_by_the_values_of_their_files(site: Site) -> None:
    done = site.archive_runs("--diff", "1", "3", status=1)

    assert done.stdout.splitlines() == [
        "run 1 (the disk) -> run 3 (the disk): different: 2 files, 3 parameters",
        "files",
        "  ~ boot.txt: 1 parameter",
        "  ~ reader01.fcl: 2 parameters",
        "parameters",
        "  ~ boot.debug_level: 1 -> 3",
        '  ~ reader01.daq.fragment_receiver.generator: "KestrelA" -> "KestrelB"',
        "  ~ reader01.daq.fragment_receiver.rate: 2 -> 2.5",
    ]


def test_equal_values_in_other_bytes_are_said_so(site: Site) -> None:
    assert "  ~ reader01.fcl: bytes differ, values equal" in site.archive_runs("--diff", "1", "2", status=1).stdout
    assert site.archive_runs("--diff", "1", "1").stdout.endswith("no difference\n")


def test_components_that_came_and_went_are_in_text_and_json(site: Site) -> None:
    text = site.archive_runs("--diff", "1", "4", status=1).stdout
    values = json.loads(site.archive_runs("--diff", "1", "4", "--format", "json", status=1).stdout)

    assert "components\n  + reader02\n  - reader01\n" in text
    assert "  + reader02.fcl: 5 parameters\n" in text
    assert values["components"] == {"came": ["reader02"], "went": ["reader01"]}
    assert values["equal"] is False
    came = next(each for each in values["files"] if each["name"] == "reader02.fcl")
    assert {"name": "reader02.daq.fragment_receiver.rate", "after": 7} in came["parameters"]


@in_each_kind
def test_each_source_gives_the_same_difference(site: Site) -> None:
    from_disk = site.archive_runs("--diff", "1", "3", status=1).stdout
    for run in (1, 3):
        site.remove(run)

    from_artdaqdb = site.archive_runs("--diff", "1", "3", status=1).stdout

    assert from_artdaqdb == from_disk.replace("the disk", "artdaqDB")
    if not site.database:
        shutil.rmtree(site.root / "artdaqdb")
        from_ucondb = site.archive_runs("--diff", "1", "3", status=1).stdout
        assert "run 1 (UconDB) -> run 3 (UconDB): different: 2 files, 3 parameters" in from_ucondb
        assert from_ucondb.splitlines()[-3:] == from_disk.splitlines()[-3:]


def test_a_name_from_disk_forges_no_terminal_sequence(site: Site) -> None:
    take(site, 5, {"evil\x1b[2J\u202e.fcl": "a: 1\n"})

    done = site.archive_runs("--diff", "1", "5", status=1)

    assert "\x1b" not in done.stdout
    assert "\u202e" not in done.stdout
    assert r"+ evil\x1B[2J\u202E.fcl: 1 parameter" in done.stdout


def test_what_could_not_be_compared_is_not_called_equal(site: Site) -> None:
    path = site.records / "1" / "boot.txt"
    take(site, 5, {each.name: each.read_text() for each in path.parent.glob("*.fcl")})
    (site.records / "5" / "boot.txt").write_bytes(b"# a comment\n" + path.read_bytes())
    site.archive_runs()
    for run in (1, 5):
        site.remove(run)
    shutil.rmtree(site.root / "artdaqdb")

    text = site.archive_runs("--diff", "1", "5").stdout
    values = json.loads(site.archive_runs("--diff", "1", "5", "--format", "json").stdout)

    assert text.startswith(
        "run 1 (UconDB) -> run 5 (UconDB): no difference in what could be compared\ncaution: run 1: "
    )
    assert (values["equal"], values["whole"]) == (True, False)


def test_an_unreadable_disk_leads_to_the_stores(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    exists = Path.exists

    def refused(path: Path) -> bool:
        if path.parent == site.records:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return exists(path)

    monkeypatch.setattr(Path, "exists", refused)
    text = site.archive_runs("--diff", "1", "3", status=1).stdout

    assert text.startswith("run 1 (artdaqDB) -> run 3 (artdaqDB): different: 2 files, 3 parameters")
    assert f"caution: run 1: not read from the disk: run 1: {site.records}/1: permission denied" in text


def test_a_run_that_is_nowhere_is_an_error(site: Site) -> None:
    assert "run 99 is nowhere" in site.archive_runs("--diff", "1", "99", status=1).stderr
    site.archive_runs("--diff", "1", status=2)


def test_the_page_has_what_changed_in_the_newest_runs(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_changes, "SECONDS", scaled(run_changes.SECONDS))
    path = site.root / "www" / "status.html"
    site.configure(reporting={"html_file": str(path)})

    site.archive_runs()
    first = changes_on(path)
    site.remove(3)
    take(site, 4, {"reader02.fcl": FCL.format(letter="A", rate=8, second=2)}, component="reader02", level=5)
    site.archive_runs("--refresh", "4")
    second = changes_on(path)

    assert first["3"]["of"][0] == 2
    assert '  ~ reader01.daq.fragment_receiver.generator: "KestrelA" -> "KestrelB"' in first["3"]["lines"]
    assert first["2"]["lines"] == ["files", "  ~ reader01.fcl: bytes differ, values equal"]
    assert second == {run: first[run] for run in ("2", "3")}  # 4 changed, and 3 is no more there to compare it with


def changes_on(page: Path) -> dict[str, Any]:
    found = re.search(r'<script[^>]*id="data"[^>]*>(.*?)</script>', page.read_text(), re.S)
    assert found is not None
    values: dict[str, Any] = json.loads(found[1])["changes"]
    return values


def test_a_run_that_no_store_can_give_is_named(site: Site) -> None:
    blobs = site.blobs()
    shutil.rmtree(site.root / "artdaqdb")
    ucondb = UconDB(site.ucondb.settings())
    options = ("--parameters", "boot.debug_level", "--runs", "1-3")

    for content, text in ((b"damaged", 'does not begin with "Start of Record"'), (blobs["1"], "is one of run 1")):
        ucondb.put(3, content, override_of=ucondb.versions()[3])
        done = site.archive_runs(*options, status=1)
        assert "run 3: UconDB: " in done.stderr
        assert text in done.stderr
        assert done.stdout == ""

    site.ucondb.execute(f"delete from {site.ucondb.folder}_versions where key = '3' returning key")
    assert "run 3: neither artdaqDB nor UconDB has it" in site.archive_runs(*options, status=1).stderr


def test_a_full_name_that_two_files_have_is_named(site: Site) -> None:
    take(site, 5, {"reader01.fcl": "daq: {rate: 1}\n", "reader01.daq.fcl": "rate: 2\n"})
    site.archive_runs()

    done = site.archive_runs("--parameters", "reader01.daq.rate", "--runs", "5", status=1)

    assert "run 5: reader01.daq.rate is in reader01.daq.fcl and in reader01.fcl" in done.stderr
