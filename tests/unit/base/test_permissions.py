"""A marker tree that somebody else could have put there is not believed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rra_state.base import permissions
from rra_state.base.errors import WorkDirError
from rra_state.state.markers import Tree

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="not here: only root gives files away")


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    tree = Tree(tmp_path / "work")
    tree.prepare()
    return tree


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o750, 0o775, 0o2775, 0o1777])
def test_ordinary_modes_are_accepted(tree: Tree, mode: int) -> None:
    tree.root.chmod(mode)

    tree.prepare()


@pytest.mark.parametrize("directory", [".", "markers", "markers/import", "markers/migrate"])
def test_a_directory_that_anybody_may_write_to_is_refused(tree: Tree, directory: str) -> None:
    (tree.root / directory).chmod(0o777)

    with pytest.raises(WorkDirError, match=r"anybody may write here.*\(chmod o-w it\)"):
        tree.prepare()


@needs_root
def test_markers_that_another_user_made_first_are_refused(tree: Tree) -> None:
    tree.root.chmod(0o1777)
    os.chown(tree.root / "markers", 12345, -1)

    with pytest.raises(WorkDirError, match=r"belongs to another user \(12345\)"):
        tree.prepare()


def test_an_open_directory_above_is_refused_unless_sticky(tree: Tree) -> None:
    tree.root.parent.chmod(0o777)
    with pytest.raises(WorkDirError, match=r"anybody may write here"):
        tree.prepare()

    tree.root.parent.chmod(0o1777)
    tree.prepare()


@needs_root
def test_a_work_directory_made_by_another_user_is_refused(tree: Tree) -> None:
    tree.root.parent.chmod(0o1777)
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, 12345, -1)

    with pytest.raises(WorkDirError, match=r"belongs to another user \(12345\).*anybody could have made it in"):
        tree.prepare()


@needs_root
def test_root_may_work_in_the_tree_of_the_archivers_account(tree: Tree) -> None:
    for path in (tree.root, *tree.root.rglob("*")):
        os.chown(path, 12345, -1)

    tree.prepare()


@pytest.mark.parametrize(("mode", "exposed"), [(0o600, False), (0o400, False), (0o644, True), (0o602, True)])
def test_a_secret_that_others_may_read_or_change_is_exposed(tmp_path: Path, mode: int, *, exposed: bool) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "secret").chmod(mode)

    assert permissions.exposed(tmp_path / "secret") is exposed


@needs_root
@pytest.mark.parametrize(("owner", "exposed"), [(0, False), (12345, True)])
def test_only_roots_file_may_be_read_by_its_group(tmp_path: Path, owner: int, *, exposed: bool) -> None:
    (tmp_path / "secret").touch()
    (tmp_path / "secret").chmod(0o640)
    os.chown(tmp_path / "secret", owner, -1)

    assert permissions.exposed(tmp_path / "secret") is exposed
