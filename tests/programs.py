"""Programs of the system that tests need; `make debian` unpacks the missing ones (unpack_debian_packages.sh)."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import pytest

from tests.skips import ALLOWED

_PATH = os.pathsep.join([os.environ["PATH"], "/usr/sbin", "/sbin", str(Path(sys.prefix) / "debian" / "bin")])


def needed(name: str) -> str:
    """The path of a program. Without it the test is skipped; where it could have been unpacked, CI fails."""
    path = shutil.which(name, path=_PATH)
    if path is None:
        pytest.skip(f"{name} is missing: make debian" if shutil.which("apt-get") else f"{ALLOWED}{name}, nor apt-get")
    return path
