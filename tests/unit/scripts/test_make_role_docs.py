"""The tables of the roles' README.md, and the agreement of each role's two lists of variables."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from scripts import make_role_docs


def test_the_pages_are_up_to_date() -> None:
    assert make_role_docs.main(["--check"]) == 0


def test_an_outdated_page_is_reported(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(make_role_docs.ROLES, tmp_path / "roles")
    page = tmp_path / "roles/run_record_archiver/README.md"
    page.write_text(page.read_text().replace("`rra_purge`", "`rra_purge_all`"))
    monkeypatch.setattr(make_role_docs, "ROLES", tmp_path / "roles")

    assert make_role_docs.main(["--check"]) == 1

    assert capsys.readouterr().out == f"{page} is out of date: .venv/bin/python -I -m scripts.make_role_docs\n"


@pytest.mark.parametrize("role", make_role_docs.NAMES)
def test_every_default_is_specified_and_every_specified_default_is_set(role: str) -> None:
    directory = make_role_docs.ROLES / role

    assert set(make_role_docs.defaults(directory)) <= set(make_role_docs.specs(directory))


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"rra_keep_releases": 4}, "rra_keep_releases is 4 by default"),
        ({"rra_keep_relaeses": 3}, "rra_keep_relaeses has a default and no specification"),
        ({"rra_purge": None}, "rra_purge"),
    ],
)
def test_a_default_that_differs_from_its_specification_is_refused(
    tmp_path: Path, changed: dict[str, object], message: str
) -> None:
    role = tmp_path / "run_record_archiver"
    shutil.copytree(make_role_docs.ROLES / "run_record_archiver", role)
    found = yaml.safe_load((role / "defaults/main.yml").read_text())
    (role / "defaults/main.yml").write_text(yaml.safe_dump(found | changed))

    with pytest.raises(ValueError, match=message):
        make_role_docs.defaults(role)
