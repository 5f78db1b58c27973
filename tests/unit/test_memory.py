"""Who was told what is remembered over restarts, also when the work directory cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rra_state.base.errors import WorkDirError
from rra_state.monitoring import delivered
from rra_state.monitoring.changes import NO_RUNS, Delivered, Fault
from rra_state.monitoring.delivered import Memory
from rra_state.state.markers import Tree
from tests.unit.archive_site import Site

TOLD = Delivered(
    {"import": frozenset({1, 2, 3, 9}), "migrate": frozenset(), "refresh": frozenset({4})},
    frozenset({"migrate"}),
    frozenset({"import"}),
    Fault("AccessDenied", ("import", "migrate"), "wrong password"),
)


@pytest.fixture(autouse=True)
def spare(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path_factory.mktemp("spare")
    monkeypatch.setattr(delivered, "SPARE_DIRECTORY", directory)
    return directory


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise WorkDirError("cannot be written")

    monkeypatch.setattr(Tree, "write_note", refuse)


def test_what_was_told_is_known_after_a_restart(site: Site) -> None:
    Memory(site.tree).keep({"mail": TOLD})

    assert Memory(site.tree).of("mail") == TOLD
    assert Memory(site.tree).of("slack") == Delivered(NO_RUNS)


@pytest.mark.parametrize("damage", ["{", "[]", '{"mail": {"failed": {"import": "x"}}}', '{"mail": 1}'])
def test_a_damaged_note_counts_as_none(site: Site, damage: str) -> None:
    (site.tree.root / "state" / "delivered.json").write_text(damage)

    assert Memory(site.tree).of("mail") == Delivered()


def test_a_disk_that_is_full_does_not_make_everything_be_told_again(site: Site, full_disk: None) -> None:
    Memory(site.tree).keep({"mail": TOLD})

    assert Memory(site.tree).of("mail") == TOLD


def test_the_spare_memory_ends_with_the_trouble(site: Site, spare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as trouble:
        trouble.setattr(Tree, "write_note", _refuse)
        Memory(site.tree).keep({"mail": TOLD})
    assert len(list(spare.iterdir())) == 1

    Memory(site.tree).keep({"mail": Delivered()})

    assert list(spare.iterdir()) == []
    assert Memory(site.tree).of("mail") == Delivered()


def _refuse(*_: object) -> None:
    raise WorkDirError("cannot be written")


def test_a_file_that_somebody_else_put_there_is_not_believed(site: Site, spare: Path, full_disk: None) -> None:
    Memory(site.tree).keep({"mail": TOLD})
    [file] = spare.iterdir()
    target = spare / "target"
    file.rename(target)
    file.symlink_to(target)

    assert Memory(site.tree).of("mail") == Delivered()

    file.unlink()
    target.rename(file)
    if os.geteuid() == 0:
        os.chown(file, 65534, 65534)
        assert Memory(site.tree).of("mail") == Delivered()
