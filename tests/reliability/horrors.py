"""Records as no DAQ writes them, each made from a whole one: by accident, a broken disk, or somebody who means it.

What may come of each: refused, in the failure log with a reason; archived exactly, with a remark for what is no file;
ignored, since it is no record.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Literal

Fate = Literal["archived", "refused", "ignored"]
Horror = Callable[[Path], object]

METADATA = "metadata.txt"
SPARSE = 10 * 2**30


def _instead(path: Path, make: Callable[[Path], object]) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink()
    make(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, contextlib.chdir(path.parent):
        server.bind(path.name)  # an address holds 100 characters only


def _device(path: Path) -> None:
    os.mknod(path, stat.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero: a reader would never come to an end


def _disk(path: Path) -> None:
    os.mknod(path, stat.S_IFBLK | 0o666, os.makedev(7, 255))


def _loop(path: Path) -> None:
    path.symlink_to(path.name)


def _sparse(path: Path) -> None:
    with open(path, "wb") as stream:
        stream.truncate(SPARSE)


def _beside(*makes: Callable[[Path], object]) -> Horror:
    """What is no file of a record lies beside those that are."""

    def make(record: Path) -> None:
        for number, each in enumerate(makes):
            each(record / f"beside{number}.fcl")

    return make


def _metadata(make: Callable[[Path], object]) -> Horror:
    return lambda record: _instead(record / METADATA, make)


def _record(make: Callable[[Path], object]) -> Horror:
    return lambda record: _instead(record, make)


def _file(name: str, content: bytes) -> Horror:
    return lambda record: (record / name).write_bytes(content)


def _many(record: Path) -> None:
    for number in range(1000):
        (record / f"component{number:05}.fcl").write_bytes(b"a: %d\n" % number)


def _strangers(record: Path) -> None:
    for number in range(10_000):
        (record / f"core.{number}").touch()


def _every_byte(record: Path) -> None:
    """Names that no store can hold as they are."""
    for byte in (*range(1, 0x20), *range(0x7F, 0x100)):
        (Path(os.fsdecode(os.fsencode(record) + b"/x%cx" % byte))).write_bytes(b"a: 1\n")
        (Path(os.fsdecode(os.fsencode(record) + b"/x%cx.fcl" % byte))).write_bytes(b"a: 1\n")


def _printable_bytes(record: Path) -> None:
    for byte in range(0x20, 0x7F):
        if chr(byte) not in "/\"\\'":
            (record / f"x{byte:02x}{chr(byte)}x.fcl").write_bytes(b"a: 1\n")


def _closed(record: Path) -> None:
    shutil.rmtree(record)
    record.mkdir()


HORRORS: dict[str, tuple[Horror, Fate]] = {
    "a FIFO, a socket, links and a directory beside": (
        _beside(os.mkfifo, _socket, _loop, lambda path: path.symlink_to("/etc/shadow"), Path.mkdir), "archived"),
    "a FIFO for metadata": (_metadata(os.mkfifo), "archived"),
    "a socket for metadata": (_metadata(_socket), "archived"),
    "a link loop for metadata": (_metadata(_loop), "archived"),
    "a link to metadata": (_metadata(lambda path: path.symlink_to("/etc/hostname")), "archived"),
    "a directory for metadata": (_metadata(Path.mkdir), "archived"),
    "sparse metadata of 10 GB": (_metadata(_sparse), "refused"),
    "a sparse file of 10 GB": (lambda record: _sparse(record / "sparse.fcl"), "refused"),
    "a FIFO for the record": (_record(os.mkfifo), "ignored"),
    "a socket for the record": (_record(_socket), "ignored"),
    "a link loop for the record": (_record(_loop), "ignored"),
    "a link for the record": (_record(lambda path: path.symlink_to("..")), "ignored"),
    "a file for the record": (_record(Path.touch), "ignored"),
    "an empty record": (_closed, "refused"),
    "1,000 files": (_many, "archived"),
    "10,000 strangers": (_strangers, "archived"),
    "names of every byte that cannot be printed": (_every_byte, "archived"),
    "a name beyond ASCII": (_file("\u00fc.fcl", b"a: 1\n"), "archived"),
    "a name with a quote": (_file('"\\.fcl', b"a: 1\n"), "archived"),
    "names of every printable byte": (_printable_bytes, "archived"),
    "10,000 levels, closed": (_file("deep.fcl", b"a: " + b"[" * 10_000 + b"]" * 10_000 + b"\n"), "archived"),
    "10,000 levels, open": (_file("deep.fcl", b"a: {" * 10_000), "archived"),
    "a line of 5 MB": (_file("long.fcl", b'a: "' + b"x" * 5_000_000 + b'"\n'), "archived"),
    "quotes without end": (_file("quotes.fcl", b'a: "' + b'\\"' * 1_000_000), "archived"),
    "metadata of line ends": (_metadata(lambda path: path.write_bytes(b"\n" * 5_000_000)), "archived"),
    "two million values": (_file("values.fcl", b"a: [" + b"1," * 2_000_000 + b"1]\n"), "refused"),
    "too many lines": (_file("ranks.txt", b"host.example.org 5 a b 1\n" * 100_000), "refused"),
}  # fmt: skip

OF_ROOT: dict[str, tuple[Horror, Fate]] = {
    "devices beside": (_beside(_device, _disk), "archived"),
    "a device for metadata": (_metadata(_device), "archived"),
    "a device for the record": (_record(_device), "ignored"),
}
"""Only root makes devices."""
