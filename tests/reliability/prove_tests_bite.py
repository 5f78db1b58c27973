"""Shows that the tests of this directory bite: the archiver is broken on a copy, and they have to fail.

    .venv/bin/python -m tests.reliability.prove_tests_bite

Each breakage is one that nobody sees as long as nothing goes wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from tests.paths import REPOSITORY


@dataclass(frozen=True)
class Breakage:
    """One edit of one file, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


BREAKAGES = (
    Breakage(
        "fsync of files removed",
        "rra_state/base/files.py",
        '            announce("fsync", path)\n            os.fsync(stream.fileno())\n',
        "            pass\n",
        ("tests/reliability/test_power_loss.py",),
    ),
    Breakage(
        "sync of a batch removed",
        "rra_state/base/files.py",
        "            _sync_file_system(directory)\n",
        "            pass\n",
        ("tests/reliability/test_power_loss.py",),
    ),
    Breakage(
        "fsync of directories removed",
        "rra_state/base/files.py",
        '    announce("fsync directory", path)\n',
        "    return\n",
        ("tests/reliability/test_power_loss.py",),
    ),
    Breakage(
        "comparison with what is read back removed",
        "rra_state/stores/ucondb/client.py",
        "        if content != blob or version.id != identity:\n",
        "        if False:\n",
        ("tests/reliability/test_read_back.py",),
    ),
    Breakage(
        "lock removed",
        "rra_state/base/lock.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        except BlockingIOError:",
        "            pass\n        except BlockingIOError:",
        ("tests/reliability/test_two_at_once.py",),
    ),
)


def main() -> int:
    """Try every breakage; 1 if one was not noticed, or if the tests fail on the tree as it is."""
    tests = dict.fromkeys(test for each in BREAKAGES for test in each.tests)
    good = _outcome(None, tuple(tests)) == 0
    print(f"{'unbroken':45} {'tests pass' if good else 'TESTS FAIL'}", flush=True)
    for each in BREAKAGES:
        noticed = _outcome(each, each.tests) == 1
        print(f"{each.name:45} {'noticed' if noticed else 'NOT NOTICED'} by {' '.join(each.tests)}", flush=True)
        good = good and noticed
    return 0 if good else 1


def _outcome(breakage: Breakage | None, tests: tuple[str, ...]) -> int:
    """Exit status of pytest on a copy of the tree: 0 all passed, 1 some failed."""
    with tempfile.TemporaryDirectory(prefix="rra-bite-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "build", "dist", "__pycache__"))
        if breakage is not None:
            file = copy / breakage.file
            text = file.read_text()
            if text.count(breakage.old) != 1:
                raise SystemExit(f"{breakage.name}: {breakage.file} has changed; correct this script")
            file.write_text(text.replace(breakage.old, breakage.new))
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        # The environment's own installation is the tree that is not broken: the copy comes first.
        environment = os.environ | {"PYTHONPATH": f"{copy}:{copy}/workflow/executor"}
        return subprocess.run(command, cwd=copy, env=environment, check=False, capture_output=True).returncode


if __name__ == "__main__":
    sys.exit(main())
