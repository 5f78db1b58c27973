"""A host as tests need it: small file systems of its own, limits, and an account that is not root."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tests.paths import REPOSITORY
from tests.rights import as_root, privileged
from tests.waiting import wait_until

FILLER = ".filler"
STRANGER = 54321
"""Number of a user and a group that nobody has."""


@dataclass(frozen=True)
class SmallDisk:
    """A mounted file system."""

    path: Path

    def fill(self, leave: int) -> None:
        """Take all space but for `leave` pages of 4 kB."""
        with open(self.path / FILLER, "wb") as stream:
            status = os.statvfs(self.path)
            os.posix_fallocate(stream.fileno(), 0, max(1, (status.f_bavail - leave)) * status.f_frsize)

    def use_up_inodes(self) -> None:
        """Make empty files until no more can be made."""
        with suppress(OSError):
            for number in itertools.count():
                (self.path / f"{FILLER}{number}").touch()

    def make_room(self) -> None:
        """What an operator does about a full disk."""
        for path in self.path.glob(f"{FILLER}*"):
            path.unlink()

    def used(self) -> int:
        """Pages that hold something."""
        status = os.statvfs(self.path)
        return status.f_blocks - status.f_bavail


@contextmanager
def mounted(path: Path, *, options: str = "size=64m") -> Iterator[SmallDisk]:
    """A file system in memory at `path`."""
    as_root("mounts a file system")
    path.mkdir(parents=True, exist_ok=True)
    privileged("mount", "-t", "tmpfs", "-o", f"{options},mode=755", "rra-test", str(path))
    try:
        yield SmallDisk(path)
    finally:
        subprocess.run(["umount", "--lazy", str(path)], check=False)


@dataclass(frozen=True)
class FailingDisk:
    """A mounted ext4, on a loop device, that does what a real one does when its disk fails: it turns read only."""

    path: Path
    device: str

    def fail(self) -> None:
        """The kernel finds an error on it."""
        Path(f"/sys/fs/ext4/{Path(self.device).name}/trigger_fs_error").write_text("a test")

    def mend(self) -> None:
        """What an operator does about it."""
        wait_until(lambda: not subprocess.run(["umount", str(self.path)], check=False, capture_output=True).returncode)
        # The kernel may hold the device for a moment after it is unmounted.
        wait_until(lambda: subprocess.run(["e2fsck", "-fy", self.device], check=False).returncode in (0, 1))
        self.mount()

    def mount(self) -> None:
        """Bring it into use."""
        privileged("mount", "-o", "errors=remount-ro", self.device, str(self.path))


@contextmanager
def failing_disk(path: Path, image: Path) -> Iterator[FailingDisk]:
    """A file system at `path`, kept in the file `image`."""
    as_root("mounts a file system")
    path.mkdir(parents=True)
    with image.open("wb") as stream:
        stream.truncate(96 * 2**20)
    device = privileged("losetup", "--find", "--show", str(image))
    try:
        privileged("mkfs.ext4", "-q", device)
        disk = FailingDisk(path, device)
        disk.mount()
        try:
            yield disk
        finally:
            subprocess.run(["umount", "--lazy", str(path)], check=False)
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)


def as_stranger(command: Sequence[str]) -> list[str]:
    """The command under another account. What Python needs of a closed home directory is shown to it all the same,
    in a mount namespace of its own.
    """
    as_root("becomes somebody else")
    needed = [os.path.realpath(place) for place in (sys.base_prefix, sys.prefix, REPOSITORY)]
    parents = {parent for place in needed for parent in Path(place).parents}
    closed = min((str(parent) for parent in parents if not parent.stat().st_mode & 1), default=None)
    hidden = sorted({place for place in needed if closed and place.startswith(f"{closed}/")})
    lines = ["mount -t tmpfs none /mnt"]
    lines += [f"mkdir /mnt/{number}; mount --bind '{place}' /mnt/{number}" for number, place in enumerate(hidden)]
    lines += [f"mount -t tmpfs -o mode=755 none '{closed}'"] if closed else []
    lines += [f"mkdir -p '{place}'; mount --move /mnt/{number} '{place}'" for number, place in enumerate(hidden)]
    lines += [f'exec setpriv --reuid={STRANGER} --regid={STRANGER} --clear-groups "$@"']
    return ["unshare", "--mount", "sh", "-ec", "\n".join(lines), "sh", *command]
