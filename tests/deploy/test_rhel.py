"""The whole role in check mode with the facts of an AlmaLinux 9, a closed umask and SELinux; dnf is played.

No such host can be booted here. What a check mode leaves out is in tests/integration/test_ansible_rhel.py.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.deploy.rollout import ANSIBLE

DNF = """#!/usr/bin/python
from ansible.module_utils.basic import AnsibleModule
module = AnsibleModule({"name": {"type": "list", "elements": "str"}, "state": {}}, supports_check_mode=True)
module.exit_json(changed=True)
"""
CALLBACK = """
import json, os
from ansible.plugins.callback import CallbackBase

class CallbackModule(CallbackBase):
    CALLBACK_VERSION, CALLBACK_TYPE, CALLBACK_NAME = 2.0, "aggregate", "recorded"

    def v2_runner_on_ok(self, result):
        arguments = result.result.get("invocation", {}).get("module_args", {})
        with open(os.environ["RECORDED"], "a") as file:
            print(json.dumps([result.task.action, arguments]), file=file)

    v2_runner_item_on_ok = v2_runner_on_ok
"""
FACTS = {
    "os_family": "RedHat",
    "distribution": "AlmaLinux",
    "distribution_major_version": "9",
    "pkg_mgr": "dnf",
    "service_mgr": "systemd",
    "selinux": {"status": "enabled", "mode": "enforcing"},
}


def checked(directory: Path, **variables: Any) -> list[tuple[str, dict[str, Any]]]:
    """What the role would do on such a host: each module with its arguments."""
    for name, text in (("library/dnf.py", DNF), ("callback/recorded.py", CALLBACK)):
        path = directory / name
        path.parent.mkdir()
        path.write_text(text)
    book = directory / "play.yml"
    facts = {"ansible.builtin.set_fact": FACTS | {"cacheable": True}}
    book.write_text(yaml.safe_dump([{"hosts": "all", "pre_tasks": [facts], "roles": ["run_record_archiver"]}]))
    (directory / "variables.yml").write_text(yaml.safe_dump(variables))
    places = {
        "ANSIBLE_LIBRARY": str(directory / "library"),
        "ANSIBLE_CALLBACK_PLUGINS": str(directory / "callback"),
        "ANSIBLE_CALLBACKS_ENABLED": "recorded",
        "ANSIBLE_HOME": str(directory),
        "RECORDED": str(directory / "recorded"),
    }
    words = ["-i", "localhost,", "-c", "local", str(book), "-e", f"@{directory}/variables.yml", "--check"]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("ansible-playbook")), *words],
        cwd=ANSIBLE,
        env={**os.environ, **places},
        umask=0o077,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    recorded = map(json.loads, (directory / "recorded").read_text().splitlines())
    return [(action, arguments) for action, arguments in recorded if arguments]


def test_rhel_9_is_followed_to_the_end_in_check_mode(tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    wheel = tmp_path / "run_record_archiver-0.2.0-py3-none-any.whl"
    wheel.touch()
    instance = {
        "name": "sbnd",
        "run_records_dir": str(tmp_path / "records"),
        "database_uri": f"filesystemdb://{tmp_path}/artdaqdb",
        "ucondb": {"server_url": "https://ucondb.example.org/app", "folder_name": "run_records", "writer_user": "a"},
        "ucondb_password": "secret",
    }

    done = checked(
        tmp_path,
        ansible_python_interpreter=sys.executable,
        rra_config_dir=str(tmp_path / "etc"),
        rra_instances=[instance],
        rra_python="/usr/bin/python3.12",
        rra_root=str(tmp_path / "opt"),
        rra_status_group="shifters",
        rra_wheel=str(wheel),
    )

    packages = next(arguments["name"] for action, arguments in done if action.endswith("package"))
    assert packages == ["python3.12", "python3.12-pip", "sudo", "policycoreutils", "diffutils", "tar"]
    written = [arguments for action, arguments in done if action.endswith((".file", ".copy", ".template"))]
    assert [each for each in written if each.get("state") not in ("absent", "link") and not each.get("mode")] == []
    assert sum(arguments.get("dest", "").startswith("/etc/systemd/system/") for arguments in written) > 5
