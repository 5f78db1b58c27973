"""A real sshd on the loopback interface, with keys of its own, and the `ssh` that reaches it as `daqhost`."""

from __future__ import annotations

import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import ports
from tests.programs import needed
from tests.rights import as_root
from tests.waiting import scaled

HOST = "daqhost"


@dataclass(frozen=True)
class SshServer:
    """bin: directory with an `ssh` that uses this server's configuration, for the front of PATH."""

    directory: Path
    bin: Path

    def forget_the_host_key(self) -> None:
        """As if nobody had ever been there."""
        (self.directory / "known_hosts").write_text("")

    def refuse_the_key(self) -> None:
        """As if the account were not let in."""
        (self.directory / "authorized_keys").write_text("")


@contextmanager
def running(directory: Path) -> Iterator[SshServer]:
    """Start it. Skips the test where there is no sshd."""
    with ports.reserved() as port, _started(directory, port) as server:
        yield server


@contextmanager
def _started(directory: Path, port: int) -> Iterator[SshServer]:
    as_root("starts sshd")
    sshd, ssh, keygen = map(needed, ("sshd", "ssh", "ssh-keygen"))
    directory.mkdir()
    for name in ("host", "user"):
        subprocess.run([keygen, "-q", "-t", "ed25519", "-N", "", "-f", directory / name], check=True)
    (directory / "authorized_keys").write_bytes((directory / "user.pub").read_bytes())
    (directory / "known_hosts").write_text(f"[127.0.0.1]:{port} {(directory / 'host.pub').read_text()}")
    (directory / "sshd_config").write_text(
        f"Port {port}\nListenAddress 127.0.0.1\nHostKey {directory}/host\nPidFile none\nUsePAM no\n"
        f"AuthorizedKeysFile {directory}/authorized_keys\nStrictModes no\nPermitRootLogin prohibit-password\n"
        "PasswordAuthentication no\nKbdInteractiveAuthentication no\n"
    )
    (directory / "ssh_config").write_text(
        f"Host {HOST}\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {directory}/user\n"
        f"  IdentitiesOnly yes\n  UserKnownHostsFile {directory}/known_hosts\n  GlobalKnownHostsFile /dev/null\n"
    )
    wrapper = directory / "bin" / "ssh"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\nexec {ssh} -F {directory}/ssh_config "$@"\n')
    wrapper.chmod(0o755)
    # It wants a user of its own and /run/sshd, which its Debian package would make when it is installed.
    users = Path("/etc/passwd").read_text().splitlines()
    (directory / "passwd").write_text("\n".join([*users, "sshd:x:65533:65533::/run/sshd:/usr/sbin/nologin", ""]))
    start = shlex.join([sshd, "-D", "-e", "-f", str(directory / "sshd_config")])
    mounts = f"mount --bind {directory}/passwd /etc/passwd && mount -t tmpfs run /run && mkdir /run/sshd"
    command = ["unshare", "--mount", "sh", "-c", f"{mounts} && exec {start}"]
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield SshServer(directory, wrapper.parent)
    finally:
        process.terminate()
        process.wait(scaled(10))


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            time.sleep(0.02)
        else:
            return
    raise RuntimeError("sshd did not start")
