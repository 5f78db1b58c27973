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
def test_what_the_kernel_refuses_even_root_skips_for_a_reason_that_ci_cannot_cure() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"^not here: the kernel refuses even root"):
        privileged(*saying("mount: Operation not permitted", 32))


@needs_root
def test_any_other_failure_of_the_command_is_no_reason_to_skip() -> None:
    with pytest.raises(RuntimeError, match="bad option"):
        privileged(*saying("mount: bad option", 32))


@needs_root
def test_a_program_that_could_be_installed_is_no_reason_that_ci_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.which", lambda name, **_: "/usr/bin/apt-get" if name == "apt-get" else None)

    with pytest.raises(pytest.skip.Exception, match=r"^no-such-program is missing: make debian"):
        privileged("no-such-program")


def test_somebody_else_than_root_is_told_what_root_would_have_done(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)

    with pytest.raises(pytest.skip.Exception, match=r"^not here: only root mounts a file system"):
        as_root("mounts a file system")
