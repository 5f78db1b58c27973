"""Hosts of a network of their own on this machine: network namespaces at one switch, whose links can be cut.

The first of them, `home`, holds the switch; nothing of it can be seen from this machine's own network. Needs root.
"""

from __future__ import annotations

import ctypes
import os
import socket
import subprocess
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from tests.rights import privileged

HOME = "home"
_SUBNET = "10.213.0"
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass
class Network:
    """Hosts by name, with their addresses."""

    prefix: str
    addresses: dict[str, str] = field(default_factory=dict)

    def add(self, name: str) -> str:
        """One more host at the switch; its address."""
        address = self.addresses[name] = f"{_SUBNET}.{len(self.addresses) + 1}"
        host = self._namespace(name)
        _ip("netns", "add", host)
        _ip("-n", host, "link", "set", "lo", "up")
        if name == HOME:
            _ip("-n", host, "link", "add", "switch", "type", "bridge")
            interface = "switch"
        else:
            _ip("-n", host, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns", self._namespace(HOME))
            self._at_switch(name, "master", "switch", "up")
            interface = "eth0"
        _ip("-n", host, "address", "add", f"{address}/24", "dev", interface)
        _ip("-n", host, "link", "set", interface, "up")
        return address

    def cut(self, name: str) -> None:
        """Nothing reaches this host any more, and nobody is told."""
        self._at_switch(name, "down")

    def mend(self, name: str) -> None:
        """The link is there again."""
        self._at_switch(name, "up")

    def sent_again(self, name: str) -> int:
        """How many segments this host has sent once more, since nobody said that they came."""
        told = subprocess.run([*self.at(name), "cat", "/proc/net/snmp"], check=True, capture_output=True, text=True)
        names, values = (line.split() for line in told.stdout.splitlines() if line.startswith("Tcp:"))
        return int(values[names.index("RetransSegs")])

    def at(self, name: str) -> tuple[str, ...]:
        """What to put before a command that is to run on this host."""
        return "ip", "netns", "exec", self._namespace(name)

    @contextmanager
    def forwarded(self, port: int) -> Iterator[int]:
        """Make a server of this machine's loopback one of `home`; the port it has there."""
        listener = self._listening(self.addresses[HOME])
        threading.Thread(target=_forward, args=(listener, port), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()

    def close(self) -> None:
        """Take it all down. What runs there has to have ended."""
        for name in reversed(self.addresses):
            subprocess.run(["ip", "netns", "del", self._namespace(name)], check=False, capture_output=True)

    def _listening(self, address: str) -> socket.socket:
        """A socket belongs to the namespace of the thread that made it."""
        made: list[socket.socket] = []
        thread = threading.Thread(target=lambda: made.append(self._made_at_home(address)))
        thread.start()
        thread.join()
        return made[0]

    def _made_at_home(self, address: str) -> socket.socket:
        with Path("/var/run/netns", self._namespace(HOME)).open() as namespace:
            if _libc.setns(namespace.fileno(), 0) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        return socket.create_server((address, 0))

    def _at_switch(self, name: str, *change: str) -> None:
        _ip("-n", self._namespace(HOME), "link", "set", name, *change)

    def _namespace(self, name: str) -> str:
        return f"{self.prefix}-{name}"


@contextmanager
def opened(*names: str) -> Iterator[Network]:
    """A network with `home` and these hosts. Skips the test where none may be made."""
    network = Network(f"rra{os.getpid()}")
    try:
        for name in (HOME, *names):
            network.add(name)
        yield network
    finally:
        network.close()


def _ip(*arguments: str) -> None:
    privileged("ip", *arguments)


def _forward(listener: socket.socket, port: int) -> None:
    with suppress(OSError):
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_joined, args=(client, port), daemon=True).start()


def _joined(client: socket.socket, port: int) -> None:
    with client, suppress(OSError), socket.create_connection(("127.0.0.1", port)) as server:
        ways: Sequence[tuple[socket.socket, socket.socket]] = ((client, server), (server, client))
        threads = [threading.Thread(target=_copied, args=way, daemon=True) for way in ways]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def _copied(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
