"""The Ansible collection without a host: syntax, and the example inventory against the argument specifications."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ANSIBLE = Path(__file__).resolve().parents[2] / "ansible"
VALIDATE = """
- hosts: "{group}"
  gather_facts: false
  connection: local
  tasks:
    - ansible.builtin.validate_argument_spec:
        argument_spec: "{{{{ (lookup('ansible.builtin.file', specs) | from_yaml).argument_specs.main.options }}}}"
      vars:
        specs: {specs}
"""


def play(tmp_path: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """ansible-playbook, in the collection's directory."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *arguments],
        cwd=ANSIBLE,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "ANSIBLE_LOCAL_TEMP": str(tmp_path), "ANSIBLE_HOME": str(tmp_path), "ANSIBLE_NOCOLOR": "1"},
    )


def validate(tmp_path: Path, group: str, role: str, **variables: Any) -> subprocess.CompletedProcess[str]:
    """The variables of a group of the example inventory, as the role will check them."""
    playbook = tmp_path / "validate.yml"
    playbook.write_text(VALIDATE.format(group=group, specs=ANSIBLE / f"roles/{role}/meta/argument_specs.yml"))
    extra = tmp_path / "extra.yml"
    extra.write_text(yaml.safe_dump(variables))
    return play(tmp_path, "-i", "inventory/hosts.yml", str(playbook), "-e", f"@{extra}")


def test_the_playbooks_are_sound(tmp_path: Path) -> None:
    done = play(tmp_path, "-i", "inventory/hosts.yml", "--syntax-check", "site.yml", "rollback.yml")

    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(("group", "role"), [("archivers", "run_record_archiver"), ("ucondb_dev", "ucondb_dev")])
def test_the_example_inventory_has_what_the_roles_ask_for(tmp_path: Path, group: str, role: str) -> None:
    done = validate(tmp_path, group, role)

    assert done.returncode == 0, done.stdout + done.stderr


def test_a_misspelt_variable_of_an_instance_is_named(tmp_path: Path) -> None:
    instance = {"name": "sbnd", "run_record_dir": "/daq", "database_uri": "x", "ucondb": {}, "ucondb_password": "x"}

    done = validate(tmp_path, "sbnd", "run_record_archiver", rra_instances=[instance])

    assert done.returncode != 0
    assert "run_record_dir" in done.stdout + done.stderr
