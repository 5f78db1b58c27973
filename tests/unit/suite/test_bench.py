"""The bench's table and the page that holds it. How long anything takes is the bench's business, not a test's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bench import table
from tests.bench.__main__ import BLOCKS, MEASURES
from tests.bench.rows import EVERY, LONG_PARTS, PARTS, Measured, Row, at_least, at_most
from tests.bench.table import NOT_TAKEN, Part, Taken
from tests.paths import REPOSITORY

PAGE = REPOSITORY / "docs" / "design" / "performance.md"
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TAKEN = Taken("2026-11-25", "abc1234", "2 cores", "make bench", 3.0)


@pytest.mark.parametrize("name", BLOCKS)
def test_the_page_has_every_row_of_the_bench(name: str) -> None:
    lines = [line for line in table.block(PAGE.read_text(), name).splitlines() if line.startswith("| ")][2:]

    rows = [row for part in BLOCKS[name] for row in EVERY[part]]
    assert [line.split("|")[1].strip() for line in lines] == [row.what for row in rows]
    assert [line.split("|")[5].strip() for line in lines] == [table._target(row.target) for row in rows]


@pytest.mark.parametrize("name", BLOCKS)
def test_the_page_says_when_and_on_what_its_figures_were_taken(name: str) -> None:
    lines = table.block(PAGE.read_text(), name).splitlines()
    figures = [line for line in lines if line.startswith("| ") and NOT_TAKEN not in line][2:]

    told = [line for line in lines if line.startswith("- ")]
    assert bool(told) == bool(figures)
    for line in told:
        assert re.search(r"\d{4}-\d\d-\d\d, commit \w+, \d+ cores, Python \S+; `make [\w-]+`; load ", line)
        assert f"`make {name}`" in line


def test_every_row_is_measured_by_one_part() -> None:
    keys = [row.key for rows in EVERY.values() for row in rows]

    assert list(MEASURES) == list(PARTS | LONG_PARTS)
    assert len(keys) == len(set(keys))


def test_a_target_is_kept_by_the_median_and_a_missed_one_is_told() -> None:
    row = Row("idle", "idle cycle", "s", "a floor", at_most(1.5))

    kept = table.line(row, Measured("idle", [9.0, 1.4, 1.2], [1.0, 0.1, 0.1]))
    missed = table.line(row, Measured("idle", [1.6, 1.7, 0.1]))

    assert kept == "| idle cycle | 1.4 s | 0.1 s (a floor) | 12.0 | ≤ 1.5 | met |"
    assert missed.endswith("| ≤ 1.5 | **missed** |")
    assert "**missed**" in table.line(Row("rate", "rate", "runs/s", "", at_least(30)), Measured("rate", [29.0]))


def test_a_page_gets_new_figures_and_keeps_the_rest() -> None:
    page = f"before\n{table._BLOCK.format(name='bench', text='old')}\nafter\n"

    new = table.replaced(page, "bench", "new")

    assert new == page.replace("old", "new")
    with pytest.raises(ValueError, match="0 blocks named bench-long"):
        table.replaced(page, "bench-long", "new")


def test_parts_taken_at_different_times_say_so(tmp_path: Path) -> None:
    later = Taken("2026-11-26", "def5678", "2 cores", "make bench", 0.1)
    table.save(tmp_path, Part("migrations", TAKEN, {"migrate": Measured("migrate", [90.0], [100.0])}))
    table.save(tmp_path, Part("workers", later, {"two-workers": Measured("two-workers", [1.8], [1.9])}))

    parts = {name: part for name in EVERY if (part := table.load(tmp_path, name)) is not None}
    text = table.markdown(PARTS, parts)

    assert "| migrate with verification | 90.0 runs/s | 100 runs/s" in text
    assert "- migrations: 2026-11-25, commit abc1234, 2 cores; `make bench`; load before each part 3.0" in text
    assert "others were at work too\n- workers: 2026-11-26, commit def5678" in text


@pytest.mark.parametrize("part", MEASURES if LONG else ["migrations"])
def test_a_part_of_the_bench_measures_all_its_rows(part: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", part, "--scale", "0.005", "--output", str(tmp_path)]

    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / f"{part}.json").read_text())["figures"]
    wanted = [row.key for row in EVERY[part] if not row.key.endswith("-7027")]  # that record is not part of the project
    assert {each["key"] for each in figures} >= set(wanted)
    assert all(value > 0 for each in figures for value in each["values"] if "recover" not in each["key"])
    assert sorted(path.name for path in tmp_path.glob("*.md"))
