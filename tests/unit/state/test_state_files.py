"""State files and failure logs on the disk: what operators do to them, and how they are written."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from rra_state.base import files
from rra_state.base.errors import StateFileError
from rra_state.state.state_files import State, StateFiles
from tests.unit.archive_site import Site, edit_state, known, written

FILES = ("importer_state.json", "import_failures.log", "state/import.json")


# ---- what operators write ------------------------------------------------------------------------------------------


def test_a_reset_state_is_held_until_something_is_attempted(site: Site) -> None:
    before = known(range(11990, 12011), range(11990, 12006))
    site.keeper().update(before, attempted=True)
    edit_state(site, 12000, 12000)

    for _ in range(3):
        held = site.keeper().update(before)

    assert held.state == State(12000, 12000)
    assert held.state.start == 12000
    assert written(site)[0] == {"last_contiguous_run": 12000, "last_attempted_run": 12000}


def test_a_reset_counts_from_the_operators_number(site: Site) -> None:
    source = [11000, 11001, *range(12001, 12011)]
    site.keeper().update(known(source, [11000], [11001]), attempted=True)
    edit_state(site, 12000, 12000)
    site.keeper().update(known(source, [11000], [11001]))

    site.keeper().update(known(source, [11000, 12001, 12002, 12004], [11001, 12003]), attempted=True)

    assert written(site) == ({"last_contiguous_run": 12002, "last_attempted_run": 12004}, [12003])


def test_nothing_below_a_reset_is_touched(site: Site) -> None:
    edit_state(site, 12000, 12000)

    derived = site.keeper().update(known(range(11000, 12003), [], [11001]), attempted=True)

    assert derived.log == ()


def test_a_reset_to_zero_counts_from_the_lowest_run(site: Site) -> None:
    site.keeper().update(known([5, 6], [5, 6]), attempted=True)
    edit_state(site, 0, 0)

    held = site.keeper().update(known([5, 6], [5, 6]))
    then = site.keeper().update(known([5, 6, 7], [5, 6, 7]), attempted=True)

    assert (held.state, then.state) == (State(0, 0), State(7, 7))


def test_the_same_numbers_in_other_words_are_an_edit_too(site: Site) -> None:
    site.keeper().update(known([5, 6], [6]), attempted=True)
    site.settings.app.import_state_file.write_text('{"last_attempted_run":6,"last_contiguous_run":6,"note":"by hand"}')

    site.keeper().update(known([5, 6], [6]))

    assert json.loads((site.tree.note_path("import")).read_text())["base"] == 6


def test_an_added_line_stays_until_its_run_is_archived(site: Site) -> None:
    log = site.settings.app.import_failure_log
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    log.write_text("6\n900\n 4 \n\n")

    for _ in range(2):
        site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    listed = written(site)[1]
    site.keeper().update(known([5, 6, 900], [5, 900], [6]), attempted=True)

    assert listed == [4, 6, 900]
    assert written(site)[1] == [4, 6]


def test_a_removed_line_comes_back_while_its_run_misses(site: Site) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    site.settings.app.import_failure_log.write_text("")

    site.keeper().update(known([5, 6], [5], [6]))

    assert written(site)[1] == [6]


def test_the_existing_archivers_files_are_taken_over(site: Site) -> None:
    edit_state(site, 12500, 12550)
    site.settings.app.import_failure_log.write_text("12501\n12510\n")

    derived = site.keeper().update(known(range(12400, 12600), []))

    assert derived.state == State(12500, 12550)
    assert set(derived.log) == set(range(12501, 12551))


def test_a_missing_state_file_is_derived_again(site: Site) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    for name in FILES[:2]:
        (site.settings.app.work_dir / name).unlink()

    site.keeper().update(known([5, 6], [5], [6]))

    assert written(site) == ({"last_contiguous_run": 5, "last_attempted_run": 6}, [6])


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"{corrupted data",
        b"[]",
        b"12",
        b'{"last_contiguous_run": 5}',
        b'{"last_contiguous_run": "5", "last_attempted_run": 6}',
        b'{"last_contiguous_run": 5.0, "last_attempted_run": 6}',
        b'{"last_contiguous_run": true, "last_attempted_run": 6}',
        b'{"last_contiguous_run": -1, "last_attempted_run": 6}',
        b"\xff\xfe{}",
    ],
)
def test_an_invalid_state_file_is_named_with_its_recovery(site: Site, text: bytes) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    site.settings.app.import_state_file.write_bytes(text)
    before = {name: (site.settings.app.work_dir / name).read_bytes() for name in FILES}

    with pytest.raises(StateFileError) as caught:
        site.keeper().update(known([5, 6], [5, 6]), attempted=True)

    assert str(site.settings.app.import_state_file) in str(caught.value)
    assert "--recover-import-state" in str(caught.value)
    assert {name: (site.settings.app.work_dir / name).read_bytes() for name in FILES} == before


def test_the_migration_names_its_own_recovery(site: Site) -> None:
    site.settings.app.migrate_state_file.write_text("{")

    with pytest.raises(StateFileError, match=r"migrator_state\.json: .*--recover-migrate-state"):
        site.keeper("migrate").update(known([], []))


def test_a_bad_line_of_a_failure_log_is_named(site: Site) -> None:
    site.settings.app.import_failure_log.write_text("12101\nrun 12103\n")

    with pytest.raises(StateFileError, match=r'import_failures\.log line 2: "run 12103" is no run number'):
        site.keeper().update(known([], []))

    assert site.settings.app.import_failure_log.read_text() == "12101\nrun 12103\n"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        '{"added": [], "unknown": 1}',
        '{"added": [], "held": 5}',
        "[]",
        '{"added": [], "base": "5"}',
    ],
)
def test_a_damaged_ledger_is_no_fresh_start(site: Site, text: str) -> None:
    site.tree.note_path("import").write_text(text)

    with pytest.raises(StateFileError, match=r"state/import\.json"):
        site.keeper().update(known([], []))


# ---- writing -------------------------------------------------------------------------------------------------------


def test_nothing_is_written_when_nothing_changed(site: Site) -> None:
    site.keeper().update(known([5, 6], [5], [6]), attempted=True)
    before = [(site.settings.app.work_dir / name).stat().st_ino for name in FILES]

    site.keeper().update(known([5, 6], [5], [6]), attempted=True)

    assert [(site.settings.app.work_dir / name).stat().st_ino for name in FILES] == before


def test_files_elsewhere_get_their_directories(make_site: Callable[..., Site], tmp_path: Path) -> None:
    site = make_site(import_state_file="elsewhere/state.json", import_failure_log="elsewhere/log/failed.txt")

    site.keeper().update(known([5], [], [5]), attempted=True)

    assert (tmp_path / "elsewhere" / "log" / "failed.txt").read_text() == "5\n"


def test_an_unwritable_state_file_has_the_guides_message(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, data: bytes) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(files, "write_atomic", refuse)

    with pytest.raises(StateFileError, match="Failed to write state file: Permission denied"):
        site.keeper().update(known([5], [5]), attempted=True)


@pytest.mark.parametrize("survivors", [0, 1, 2, 3])
def test_a_crash_between_two_writes_is_no_edit(site: Site, monkeypatch: pytest.MonkeyPatch, survivors: int) -> None:
    first, second = known([3, 4, 5, 6], [5], [3]), known([3, 4, 5, 6], [5, 6], [3, 4])
    site.keeper().update(first, attempted=True)
    write, count = files.write_atomic, iter(range(99))

    def crash(path: Path, data: bytes) -> None:
        if next(count) >= survivors:
            raise KeyboardInterrupt
        write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(files, "write_atomic", crash)
        with contextlib.suppress(KeyboardInterrupt):
            site.keeper().update(second, attempted=True)
    site.keeper().update(second, attempted=True)

    assert written(site) == ({"last_contiguous_run": 6, "last_attempted_run": 6}, [3, 4])


def test_after_a_kill_attempted_is_not_below_contiguous(site: Site) -> None:
    site.keeper().update(known([5, 6, 7], [5]), attempted=True)

    after_kill = site.keeper().update(known([5, 6, 7], [5, 6, 7]))

    assert after_kill.state == State(7, 7)


def test_the_two_stages_keep_their_own_files(site: Site) -> None:
    StateFiles(site.settings, "import").update(known([5], [5]), attempted=True)
    StateFiles(site.settings, "migrate").update(known([5], [], [5]), attempted=True)

    assert written(site) == ({"last_contiguous_run": 5, "last_attempted_run": 5}, [])
    assert json.loads(site.settings.app.migrate_state_file.read_text())["last_contiguous_run"] == 0
    assert site.settings.app.migrate_failure_log.read_text() == "5\n"
