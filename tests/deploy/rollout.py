"""What the tests of the deployment do with their hosts: play, wait, look."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, ClassVar

import testinfra
import yaml

from rra_state import __version__
from tests.deploy.hosts import Host, Network
from tests.waiting import wait_until

ROOT = Path(__file__).resolve().parents[2]
ANSIBLE = ROOT / "ansible"
WHEELHOUSE = Path(os.environ.get("RRA_WHEELHOUSE", ROOT / "build/wheelhouse"))
FIRST_RELEASE = "2911493"
"""The commit of 0.1.0."""
PASSWORD = "s3cret-of-the-test-stand"
OPT = "/opt/run-record-archiver"
WORK = "/var/lib/run_record_archiver"
UNIT = "run-record-archiver@sbnd.service"


@dataclass(frozen=True)
class Played:
    """What a playbook did. changed: tasks that changed something, by host."""

    code: int
    output: str

    @property
    def changed(self) -> dict[str, int]:
        """From the recap."""
        return {name: int(count) for name, count in re.findall(r"^(\w+) +: ok=.*?changed=(\d+)", self.output, re.M)}


@dataclass
class Rollout:
    """A DAQ host, a test stand with UconDB, and the controller that this machine is."""

    directory: Path
    daq: Host
    stand: Host
    variables: dict[str, Any] = field(default_factory=dict)
    """Variables of the archivers, as a site would have them in group_vars."""
    password: str = PASSWORD
    told: ClassVar[list[str]] = []
    """Lines for the end of the test run."""
    _network: Network = field(default_factory=Network)

    @classmethod
    def of(cls, directory: Path) -> Rollout:
        """Hosts in `directory`."""
        rollout = cls(directory, Host("daq", 11, directory), Host("stand", 12, directory))
        rollout.variables = {
            "rra_wheelhouse": str(WHEELHOUSE),
            "rra_cycle_calendar": "*:*:0/15",
            "rra_random_delay": 0,
            "rra_status_group": "shifters",
            "rra_metrics_textfile_dir": "/var/lib/prometheus/node-exporter",
            "rra_alert_command": "tee -a /var/log/rra-alerts",
            "rra_alert_interval": "1s",
            "rra_instances": [rollout.instance("sbnd", "/daq/run_records", "/daq/artdaqdb")],
        }
        return rollout

    def instance(self, name: str, records: str, archive: str) -> dict[str, Any]:
        """An entry of rra_instances."""
        return {
            "name": name,
            "run_records_dir": records,
            "database_uri": f"filesystemdb://{archive}",
            "ucondb": {
                "server_url": f"http://{self.stand.address}:9080/ucondb",
                "folder_name": "run_records",
                "object_name": "configuration" if name == "sbnd" else name,
                "writer_user": "archiver",
            },
            "ucondb_password": self.password,
            "settings": {"source_files": {"quiet_seconds": 0, "settle_seconds": 0}, "app": {"parallel_workers": 2}},
        }

    def __enter__(self) -> Rollout:
        self._network.__enter__()
        try:
            for host in (self.stand, self.daq):
                host.make()
                self.told.append(f"{host.name} booted to multi-user with sshd in {host.boot():.1f} s")
                host.ssh("apt-get -qq update")
            self.daq.ssh(
                "groupadd shifters; useradd --groups shifters shifter; mkdir -p /var/lib/prometheus/node-exporter"
            )
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for host in (self.daq, self.stand):
            host.power_off()
        self._network.__exit__()
        shutil.rmtree(self.daq.tree, ignore_errors=True)
        shutil.rmtree(self.stand.tree, ignore_errors=True)

    def play(
        self, playbook: str, *arguments: str, check: bool = True, directory: Path = ANSIBLE, **extra: object
    ) -> Played:
        """Run a playbook from the controller. Raises AssertionError with its output if it fails and `check`.

        directory: where the playbook and its roles are.
        """
        inventory = self.directory / "inventory.yml"
        inventory.write_text(yaml.safe_dump(self._inventory()))
        done = subprocess.run(
            [
                str(Path(sys.executable).with_name("ansible-playbook")), "-i", str(inventory), playbook, *arguments,
                *(("-e", json.dumps(extra)) if extra else ()),
            ],
            cwd=directory, capture_output=True, text=True, check=False, timeout=1200,
            env={**os.environ, "ANSIBLE_NOCOLOR": "1", "ANSIBLE_LOCAL_TEMP": str(self.directory / "ansible")},
        )  # fmt: skip
        played = Played(done.returncode, done.stdout + done.stderr)
        assert not check or played.code == 0, played.output[-6000:]
        return played

    def _inventory(self) -> dict[str, Any]:
        reached = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null"
        return {
            "all": {
                "vars": {
                    "ansible_user": "root",
                    "ansible_ssh_private_key_file": str(self.daq.key),
                    "ansible_ssh_common_args": reached,
                },
                "children": {
                    "archivers": {"hosts": {"daq": {"ansible_host": self.daq.address}}, "vars": self.variables},
                    "ucondb_dev": {
                        "hosts": {"stand": {"ansible_host": self.stand.address}},
                        "vars": {"ucondb_dev_password": self.password},
                    },
                },
            }
        }

    def look(self, host: Host) -> Any:
        """The host through testinfra."""
        return testinfra.get_host(
            f"ssh://root@{host.address}",
            ssh_identity_file=str(host.key),
            ssh_extra_args="-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR",
        )

    def records(self, count: int, first: int, directory: str = "/daq/run_records") -> range:
        """Have the DAQ take `count` runs from run `first` on; those runs."""
        kept = self.directory / f"records-{first}"
        maker = [sys.executable, "-m", "scripts.make_run_records", str(count), str(kept), "--first-run", str(first)]
        subprocess.run(maker, cwd=ROOT, check=True, capture_output=True)
        there = self.daq.tree / directory.lstrip("/")
        there.mkdir(parents=True, exist_ok=True)
        for record in sorted(kept.iterdir()):
            record.rename(there / record.name)
        return range(first, first + count)

    def wheel(self, version: str, replaced: Mapping[str, tuple[str, str]] = MappingProxyType({})) -> str:
        """A wheel of this source tree under another version. replaced: by module, a text and the one in its place."""
        tree = self.directory / f"source-{version}"
        files = subprocess.run(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
            cwd=ROOT, capture_output=True, text=True, check=True,
        ).stdout.split("\n")  # fmt: skip
        for name in filter(None, files):
            if (ROOT / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, tree / name)
        versions = (f'"{__version__}"', f'"{version}"')
        for module, (old, new) in {"base/version": versions, **replaced}.items():
            path = tree / f"rra_state/{module}.py"
            text = path.read_text()
            assert old in text
            path.write_text(text.replace(old, new, 1))
        dist = tree / "dist"
        command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(dist), str(tree)]
        subprocess.run(command, check=True, capture_output=True)
        return str(next(dist.glob("*.whl")))

    def first_release(self) -> Path:
        """The source tree of 0.1.0, with a wheelhouse in `wheels`."""
        tree = self.directory / "source-0.1.0"
        tree.mkdir()
        packed = subprocess.run(["git", "archive", FIRST_RELEASE], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["tar", "--extract", "--directory", str(tree)], input=packed, check=True)
        pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--wheel-dir", str(tree / "wheels")]
        subprocess.run([*pip, f"{tree}[postgres]"], check=True, capture_output=True)
        return tree

    def archived(self, stage: str = "migrate", work: str = WORK) -> set[int]:
        """Runs with a marker of the stage."""
        names = self.daq.ssh(f"ls {work}/markers/{stage} 2>/dev/null", check=False).stdout.split()
        return {int(name.removesuffix(".json")) for name in names if name.endswith(".json")}

    def in_ucondb(self, object_name: str = "configuration") -> list[int]:
        """Keys in UconDB, one for each version: read from its PostgreSQL, not by way of the archiver."""
        query = f"select key from run_records_versions where object = '{object_name}' and not deleted"
        told = self.stand.ssh(f'cd /; runuser -u postgres -- psql ucondb_dev -Atc "{query}"').stdout
        return sorted(int(key) for key in told.split())

    def release(self) -> str:
        """The version that `current` points to."""
        return self.daq.ssh("readlink /opt/run-record-archiver/current").stdout.strip().removeprefix("releases/")

    def property(self, name: str, unit: str = UNIT) -> str:
        """A property of a unit on the DAQ host."""
        return self.daq.ssh(f"systemctl show --value --property={name} {unit}").stdout.strip()

    @staticmethod
    def wait(what: str, condition: Callable[[], bool], seconds: float = 120) -> None:
        """Wait until it is so, looking as seldom as a look through ssh deserves. Raises AssertionError."""
        wait_until(condition, seconds, f"not so: {what}", every=0.5)

    def wait_for_cycle(self, begun: bool = True) -> None:
        """Wait until a cycle runs, or until none does."""
        states = {"activating"} if begun else {"inactive", "failed"}
        self.wait(f"a cycle is {states}", lambda: self.property("ActiveState") in states)
