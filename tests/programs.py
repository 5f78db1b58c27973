"""Programs of the system that tests need; `make test` installs them where it can (install_debian_packages.sh)."""

from __future__ import annotations

import os
import shutil

import pytest

from tests.skips import ALLOWED


def needed(name: str) -> str:
    """The path of a program. Without it the test is skipped; where it could have been installed, CI fails."""
    path = shutil.which(name)
    if path is None:
        installable = os.geteuid() == 0 and shutil.which("apt-get")
        pytest.skip(f"{name} is missing: make debian" if installable else f"{ALLOWED}{name}, nor root and apt-get")
    return path
