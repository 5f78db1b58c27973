"""A release on a host like RHEL 9 with a closed umask and a proxy: installed for real, as root, below a directory.

What only such a host has (dnf, SELinux) is followed in check mode by tests/deploy/test_rhel.py.
"""

from __future__ import annotations

import os
import re
import stat
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.integration.test_ansible import play
from tests.skips import ALLOWED

ROLE = Path(__file__).resolve().parents[2] / "ansible/roles/run_record_archiver"
CASES = {
    ("Debian", ""): {"python3", "python3-venv"},
    ("Debian", "/usr/local/bin/python3.13"): set(),
    ("RedHat", ""): {"python3.11", "python3.11-pip"},
    ("RedHat", "/usr/bin/python3.12"): {"python3.12", "python3.12-pip"},
    ("RedHat", "/opt/python/bin/python3.12"): set(),
}
"""Packages of the interpreter, by family of the distribution and `rra_python`."""


def tasks() -> list[dict[str, Any]]:
    """Print the packages of each case, then install the release."""
    found: list[dict[str, Any]] = [{"ansible.builtin.include_vars": str(ROLE / "vars/main.yml")}]
    for family, python in CASES:
        said = {"msg": f"{family} {python}: {{{{ _rra_packages | select('match', 'python') | join(' ') }}}};"}
        found.append({"ansible.builtin.include_vars": str(ROLE / f"vars/{family}.yml")})
        found.append({"ansible.builtin.debug": said, "vars": {"rra_python": python}})
    return [*found, {"ansible.builtin.include_role": {"name": "run_record_archiver", "tasks_from": "release"}}]


PIP = """#!/bin/sh
echo "$(umask),$TMPDIR,$https_proxy" >> {log}
exec {python} -m pip --python {release}/bin/python "$@"
"""
INTERPRETER = """#!/bin/sh
{python} -m venv --without-pip "$3"
cp {pip} "$3/bin/pip"
"""


def wheel(directory: Path) -> Path:
    """A wheel of nothing but a lock file."""
    path = directory / "run_record_archiver-0.2.0-py3-none-any.whl"
    info = "run_record_archiver-0.2.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("rra_state/requirements.lock", "")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: run-record-archiver\nVersion: 0.2.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


def program(path: Path, text: str) -> Path:
    """An executable script."""
    path.write_text(text)
    path.chmod(0o755)
    return path


@pytest.mark.skipif(os.geteuid() != 0, reason=f"{ALLOWED}root, who owns a release")
def test_a_release_installs_under_a_closed_umask_by_proxy(tmp_path: Path) -> None:
    root, log = tmp_path / "opt", tmp_path / "pip.log"
    release = root / "releases/0.2.0"
    pip = program(tmp_path / "pip", PIP.format(log=log, python=sys.executable, release=release))
    variables = {
        "_rra_release": "0.2.0",
        "_rra_release_path": str(release),
        "_rra_wheel_file": str(wheel(tmp_path)),
        "_rra_wheel_checksum": "0" * 64,
        "_rra_selinux": False,
        "ansible_python_interpreter": sys.executable,
        "rra_pip_environment": {"https_proxy": "http://proxy.example.org:3128"},
        "rra_root": str(root),
    }
    book, extra = tmp_path / "play.yml", tmp_path / "extra.yml"
    python = program(tmp_path / "python3.12", INTERPRETER.format(python=sys.executable, pip=pip))
    hosts = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars": {"rra_python": str(python)}}
    book.write_text(yaml.safe_dump([hosts | {"tasks": tasks()}]))
    extra.write_text(yaml.safe_dump(variables))

    before = os.umask(0o077)
    try:
        done = play(tmp_path, "-i", "localhost,", str(book), "-e", f"@{extra}")
    finally:
        os.umask(before)

    assert done.returncode == 0, done.stdout + done.stderr
    assert packages(done.stdout) == CASES
    assert [path for path in [root, *root.rglob("*")] if not path.is_symlink() and not _is_open(path)] == []
    calls = [line.split(",") for line in log.read_text().splitlines()]
    assert {(mask, proxy) for mask, _, proxy in calls} == {("0022", "http://proxy.example.org:3128")}
    assert all(Path(temporary).is_relative_to(release) for _, temporary, _ in calls)
    assert not any(Path(temporary).exists() for _, temporary, _ in calls)


def packages(output: str) -> dict[tuple[str, str], set[str]]:
    """Packages of the interpreter that the role asks for, by case."""
    printed = re.findall(r"(Debian|RedHat) (\S*): ([^;]*);", output)
    return {(family, python): set(names.split()) for family, python, names in printed}


def _is_open(path: Path) -> bool:
    """Whether every account may read it, and enter it if it is a directory."""
    mode = path.stat().st_mode
    return bool(mode & stat.S_IROTH) and (not path.is_dir() or bool(mode & stat.S_IXOTH))
