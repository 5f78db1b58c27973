"""Which refusals of root's commands skip a test, and which fail it."""

from __future__ import annotations

import os
import sys

import pytest

from tests.rights import as_root, privileged

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root is refused nothing but by the kernel")


def saying(text: str, status: int) -> list[str]:
    return [sys.executable, "-c", f"import sys; print({text!r}, file=sys.stderr); sys.exit({status})"]


@needs_root
def test_what_the_kernel_refuses_root_is_skipped() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^not here: the kernel refuses even root"):
        privileged(*saying("mount: Operation not permitted", 32))


@needs_root
def test_another_failure_of_the_command_is_no_skip() -> None:
    with pytest.raises(RuntimeError, match="bad option"):
        privileged(*saying("mount: bad option", 32))


@needs_root
def test_a_program_to_install_is_no_skip_in_ci(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: "/usr/bin/apt-get" if name == "apt-get" else None)

    with pytest.raises(pytest.skip.Exception, match=r"^no-such-program is missing: make debian"):
        privileged("no-such-program")


def test_others_than_root_learn_what_root_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(pytest.skip.Exception, match=r"^not here: only root mounts a file system"):
        as_root("mounts a file system")
