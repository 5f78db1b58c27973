"""Booted Debian hosts for the tests of the deployment: systemd as pid 1, in network namespaces of their own.

A host is a copy of a base tree made once by debootstrap, booted by systemd-nspawn on a bridge, and reached by ssh. Its
packages come through the network of this machine, by this machine's own apt configuration. Needs root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import wait_until

CACHE = Path(os.environ.get("RRA_TEST_HOSTS", "/var/cache/rra-test-hosts"))
BRIDGE, NETWORK = "rra0", "10.77.0"
PACKAGES = "systemd,systemd-sysv,dbus,openssh-server,python3,python3-apt,iproute2,ca-certificates"
BOOT_SECONDS = 60
# Everything on a host dies with this process, or with the one that it is a child of.
_ITS_OWN_PIDS = ("setpriv", "--pdeathsig", "KILL", "unshare", "--fork", "--pid", "--kill-child", "--mount-proc")
_MASQUERADE = f"""
table ip {BRIDGE} {{
    chain out {{
        type nat hook postrouting priority 100
        ip saddr {NETWORK}.0/24 oifname != "{BRIDGE}" masquerade
    }}
}}
"""
_SSH = (
    "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR",
    "-o", "ConnectTimeout=3", "-o", "BatchMode=yes",
)  # fmt: skip


def _run(*command: object, **options: object) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise RuntimeError(f"{' '.join(map(str, command))}: {done.stderr or done.stdout}")
    return done


def base_tree() -> Path:
    """The tree that hosts are copies of; made once, since that takes a minute or two."""
    tree, partial = CACHE / "base", CACHE / "base.partial"
    if tree.is_dir():
        return tree
    shutil.rmtree(partial, ignore_errors=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    _run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", "bookworm", partial, timeout=900)
    for name in ("sources.list.d", "keyrings", "apt.conf.d"):  # this machine's own apt configuration
        source = Path("/etc/apt") / name
        if source.is_dir():
            shutil.copytree(source, partial / "etc/apt" / name, dirs_exist_ok=True)
    for foreign in (partial / "etc/apt/sources.list.d").glob("*"):
        if "debian.org" not in foreign.read_text():
            foreign.unlink()
    wanted = partial / "etc/systemd/system/multi-user.target.wants/systemd-networkd.service"
    wanted.symlink_to("/lib/systemd/system/systemd-networkd.service")
    for noise in ("apt-daily.timer", "apt-daily-upgrade.timer"):  # they would hold apt's lock
        (partial / "etc/systemd/system" / noise).symlink_to("/dev/null")
    partial.rename(tree)
    return tree


class Network:
    """A bridge that hosts are plugged into, with a way out for their package manager."""

    def __enter__(self) -> Network:
        self.__exit__()
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
        _run("ip", "address", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
        _run("ip", "link", "set", BRIDGE, "up")
        Path("/proc/sys/net/ipv4/ip_forward").write_text("1")
        _run("nft", "-f", "-", input=_MASQUERADE)
        return self

    def __exit__(self, *_: object) -> None:
        for command in (("nft", "delete", "table", "ip", BRIDGE), ("ip", "link", "delete", BRIDGE)):
            with suppress(RuntimeError):
                _run(*command)


@dataclass
class Host:
    """One booted system. directory: where its tree, key and console log are."""

    name: str
    number: int
    directory: Path
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def address(self) -> str:
        """Its address on the bridge."""
        return f"{NETWORK}.{self.number}"

    @property
    def tree(self) -> Path:
        """Its root directory, seen from here."""
        return self.directory / self.name

    @property
    def key(self) -> Path:
        """The private key that root on the host accepts."""
        return self.directory / "key"

    def make(self) -> None:
        """Copy the base tree and give it a name, an address and a key."""
        _run("cp", "--archive", "--reflink=auto", base_tree(), self.tree)
        if not self.key.exists():
            _run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", self.key)
        (self.tree / "root/.ssh").mkdir(mode=0o700, exist_ok=True)
        shutil.copy(self.key.with_suffix(".pub"), self.tree / "root/.ssh/authorized_keys")
        (self.tree / "etc/hostname").write_text(f"{self.name}\n")
        (self.tree / "etc/hosts").write_text(f"127.0.0.1 localhost\n127.0.1.1 {self.name}\n")
        (self.tree / "etc/machine-id").write_text("")
        (self.tree / "etc/systemd/network/10-host0.network").write_text(
            f"[Match]\nName=host0\n[Network]\nAddress={self.address}/24\nGateway={NETWORK}.1\n"
        )

    def boot(self) -> float:
        """Boot, and wait until it says that it is up; the seconds that took."""
        begun = time.monotonic()
        with (self.directory / f"{self.name}.console").open("ab") as console:
            self._process = subprocess.Popen(
                [
                    *_ITS_OWN_PIDS,
                    "systemd-nspawn", "--register=no", "--keep-unit", "--boot", "--console=pipe", "--quiet",
                    "--bind=/var/cache/apt/archives", "--resolv-conf=replace-host",
                    f"--directory={self.tree}", f"--machine={self.name}", f"--network-bridge={BRIDGE}",
                ],
                stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
            )  # fmt: skip
        self.wait_until_up()
        return time.monotonic() - begun

    def wait_until_up(self) -> None:
        """Wait for the end of its start. Raises AssertionError."""
        wait_until(self._is_up, BOOT_SECONDS, f"{self.name} is not up; see {self.name}.console", every=0.3)

    def _is_up(self) -> bool:
        state = self.ssh("systemctl is-system-running --wait", check=False).stdout.strip()
        return state in {"running", "degraded"}

    def reboot(self) -> None:
        """Shut down in order and boot again (nspawn's own reboot does not work in a second mount namespace)."""
        assert self._process is not None
        self.ssh("systemctl poweroff", check=False)
        self._process.wait(BOOT_SECONDS)
        self.power_off()
        self.boot()

    def ssh(self, command: str, *, check: bool = True, user: str = "root") -> subprocess.CompletedProcess[str]:
        """Run a command line on the host. Raises RuntimeError if it fails and `check`."""
        done = subprocess.run(
            ["ssh", "-i", str(self.key), *_SSH, f"{user}@{self.address}", command],
            capture_output=True, text=True, check=False, timeout=300, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        if check and done.returncode:
            raise RuntimeError(f"{self.name}: {command}: exit {done.returncode}: {done.stdout}{done.stderr}")
        return done

    def power_off(self) -> None:
        """Pull the plug: everything on the host is killed at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
            with suppress(RuntimeError):
                _run("ip", "link", "delete", f"vb-{self.name}")
