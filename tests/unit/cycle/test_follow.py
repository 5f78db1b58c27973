"""Watching a cycle from another terminal."""

from __future__ import annotations

import io
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from rra_state.base.lock import Lock
from rra_state.cycle import current_cycle, follow
from rra_state.state.planner import Window
from tests.unit.archive_site import Site
from tests.waiting import wait_until


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def cycle(site: Site) -> Iterator[Lock]:
    """A cycle that has taken on runs 1 to 4, and has archived run 1; run 9 is archived since long."""
    site.archive("import", 9)
    lock = Lock(site.settings.app.work_dir, site.settings.app.lock_file).acquire()
    current_cycle.record_plan(
        site.tree, [Window(frozenset({1, 2}), frozenset({1})), Window(frozenset({3, 4}), frozenset({2}))]
    )
    site.archive("import", 1)
    yield lock
    lock.release()


@pytest.fixture(autouse=True)
def quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follow, "POLL_SECONDS", 0.02)
    monkeypatch.setattr(follow, "LINE_SECONDS", 0.0)


def snapshot(root: Path) -> dict[str, tuple[float, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in root.rglob("*") if path.is_file()}


@contextmanager
def ending(site: Site, lock: Lock, out: io.StringIO, *shown: str) -> Iterator[None]:
    """Fail run 2, archive 3 and 4, migrate run 1, and end. shown: what each step but the last waits for to be seen."""

    def work() -> None:
        steps = (lambda: site.fail("import", 2), lambda: (site.archive("import", 3, 4), site.archive("migrate", 1)))
        for text, step in zip(shown, steps, strict=True):
            wait_until(lambda text=text: text in out.getvalue())  # type: ignore[misc]
            step()
        lock.release()

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(work)
        yield
    done.result()


@contextmanager
def released_once(out: io.StringIO, lock: Lock) -> Iterator[None]:
    """End the cycle when something of it was shown."""

    def work() -> None:
        wait_until(out.getvalue)
        lock.release()

    with ThreadPoolExecutor(1) as threads:
        done = threads.submit(work)
        yield
    done.result()


def test_it_says_when_no_cycle_is_at_work(site: Site) -> None:
    out = io.StringIO()

    assert follow.follow(site.settings, out) is False
    assert out.getvalue() == f"no cycle is running in {site.settings.app.work_dir}\n"


def test_a_lock_file_that_nobody_holds_is_no_cycle(site: Site, cycle: Lock) -> None:
    cycle.release()

    assert current_cycle.at_work(site.tree) is False


def test_without_a_terminal_it_prints_lines_until_the_end(site: Site, cycle: Lock) -> None:
    out = io.StringIO()

    with ending(site, cycle, out, "1 of 4 runs into artdaqDB", "2 of 4 runs into artdaqDB (1 failed)"):
        assert follow.follow(site.settings, out) is True

    lines = out.getvalue().splitlines()
    assert lines[0] == "1 of 4 runs into artdaqDB, 0 of 2 runs into UconDB"
    assert "2 of 4 runs into artdaqDB (1 failed), 0 of 2 runs into UconDB" in lines
    assert lines[-1] == "the cycle has ended: 4 of 4 runs into artdaqDB (1 failed), 1 of 2 runs into UconDB"


def test_on_a_terminal_it_shows_bars(site: Site, cycle: Lock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    out = Terminal()

    with ending(site, cycle, out, "into artdaqDB", "into artdaqDB"):
        follow.follow(site.settings, out)

    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())
    assert "into artdaqDB" in plain
    assert "4/4" in plain
    assert plain.rstrip().endswith("1 of 2 runs into UconDB")


def test_watching_touches_nothing(site: Site, cycle: Lock) -> None:
    before, out = snapshot(site.root), io.StringIO()

    with released_once(out, cycle):
        follow.follow(site.settings, out)

    assert snapshot(site.root) == before


def test_failures_of_earlier_cycles_are_not_this_ones(site: Site) -> None:
    site.fail("import", 2)
    with_lock = Lock(site.settings.app.work_dir, site.settings.app.lock_file)
    time.sleep(0.05)
    with_lock.acquire()
    current_cycle.record_plan(site.tree, [Window(frozenset({1, 2}))])

    plan = current_cycle.plan(site.tree)

    assert plan is not None
    assert plan.done(site.tree, "import") == (0, 0)
    with_lock.release()


def test_the_plan_of_an_earlier_cycle_is_not_this_ones(site: Site, cycle: Lock) -> None:
    cycle.release()
    time.sleep(0.05)
    again = Lock(site.settings.app.work_dir, site.settings.app.lock_file).acquire()
    out = io.StringIO()

    with released_once(out, again):
        follow.follow(site.settings, out)

    assert out.getvalue().splitlines() == [
        "a cycle is running and still plans which runs it takes",
        "the cycle has ended",
    ]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"began": "x"}', '{"began": 1e12, "import": "-", "migrate": ""}'])
def test_a_damaged_plan_counts_as_none(site: Site, cycle: Lock, text: str) -> None:
    (site.settings.app.work_dir / "state" / "running.json").write_text(text)

    assert current_cycle.plan(site.tree) is None


@pytest.mark.parametrize(("holder", "expected"), [("own", True), ("4194304", False), ("", False)])
def test_without_the_kernels_list_the_process_in_the_lock_counts(
    site: Site, cycle: Lock, monkeypatch: pytest.MonkeyPatch, holder: str, expected: bool
) -> None:
    monkeypatch.setattr(current_cycle, "_LOCKS", site.root / "none")
    if holder != "own":
        (site.settings.app.work_dir / "markers" / ".lock").write_text(holder)

    assert current_cycle.at_work(site.tree) is expected
