"""The lock files hold what pyproject.toml asks for, in versions that it allows, each with its hashes."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.paths import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
OF_HOSTS = [*PROJECT["dependencies"], *EXTRAS["dask"], *EXTRAS["mongodb"]]


def locked(name: str) -> dict[str, set[str]]:
    """The versions of each package: more than one if they differ between versions of Python."""
    found: dict[str, set[str]] = {}
    for entry in re.split(r"\n(?=\S)", (REPOSITORY / name).read_text()):
        if match := re.match(r"([\w.-]+)==([^ ;]+)", entry):
            assert "--hash=sha256:" in entry, match[0]
            found.setdefault(canonicalize_name(match[1]), set()).add(match[2])
    return found


@pytest.mark.parametrize(
    ("file", "asked"),
    [("requirements.lock", OF_HOSTS), ("requirements-dev.lock", [each for extra in EXTRAS.values() for each in extra])],
)
def test_the_lock_file_has_everything_that_is_asked_for(file: str, asked: list[str]) -> None:
    versions = locked(file)

    for requirement in map(Requirement, asked):
        if requirement.name != PROJECT["name"]:
            of_package = versions.get(canonicalize_name(requirement.name), set())
            assert of_package, f"{requirement.name}: make lock"
            assert all(map(requirement.specifier.contains, of_package)), f"{requirement}: make lock"


def test_hosts_get_the_versions_that_were_tested() -> None:
    assert locked("requirements.lock").items() <= locked("requirements-dev.lock").items()
