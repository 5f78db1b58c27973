"""Permission checks: refuse marker trees and secret files that other accounts could modify or read.

The archiver's own account, root and members of a directory's group are trusted (docs/security.md). Only reads.
"""

from __future__ import annotations

import os
import stat
from itertools import pairwise
from pathlib import Path

from rra_state.base.errors import WorkDirError


def check_tree(work_dir: Path) -> None:
    """Raise WorkDirError if another account could replace or modify the marker tree, or what there is of it.

    That is the case if everybody may write to one of its directories, or to a directory above it without the sticky
    bit, or if another account made it in a sticky directory.
    """
    _check_above(work_dir)
    tree = [each for each in (work_dir, work_dir / "markers", *(work_dir / "markers").glob("*/")) if each.exists()]
    owners = {0, os.geteuid(), *(directory.stat().st_uid for directory in tree[:1])}
    for directory in tree:
        status = directory.stat()
        sticky = directory == work_dir and status.st_mode & stat.S_ISVTX
        if status.st_mode & stat.S_IWOTH and not sticky:
            raise WorkDirError("anybody may write here, and so forge what is archived", path=directory, hint=_CLOSE)
        if status.st_uid not in owners:
            raise WorkDirError(
                f"belongs to another user ({status.st_uid}), who could forge what is archived",
                path=directory,
                hint="chown it to the archiver's account if it is yours, else choose another app.work_dir",
            )


def _check_above(work_dir: Path) -> None:
    """The same for the directories above: only a sticky bit keeps other accounts from renaming what is not theirs."""
    whole = work_dir.resolve()
    for directory, parent in pairwise((whole, *whole.parents)):
        if not parent.exists():
            continue
        mode = parent.stat().st_mode
        if not mode & stat.S_IWOTH:
            continue
        if not mode & stat.S_ISVTX:
            raise WorkDirError("anybody may write here, and so forge what is archived", path=parent, hint=_CLOSE)
        owner = directory.stat().st_uid if directory.exists() else os.geteuid()
        if owner not in (0, os.geteuid()):
            raise WorkDirError(
                f"belongs to another user ({owner}), who could forge what is archived",
                path=directory,
                hint=f"anybody could have made it in {parent}: choose another app.work_dir",
            )


def exposed(file: Path) -> bool:
    """True if other accounts may read or change this file. The group of a file of root's may read it: the archiver's
    account is in that group. Raises OSError.
    """
    status = file.stat()
    return bool(status.st_mode & (0o027 if status.st_uid == 0 else 0o077))


_CLOSE = "chmod o-w it"
