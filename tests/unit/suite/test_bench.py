"""The bench's table and the page that holds it. How long anything takes is the bench's business, not a test's."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.bench import measure, table
from tests.bench.__main__ import MEASURES
from tests.bench.rows import EVERY, Measured, Row, at_least, at_most
from tests.bench.table import Part, Taken
from tests.paths import REPOSITORY
from tests.waiting import slowness

PAGE = REPOSITORY / "docs" / "design" / "performance.md"
LONG = os.environ.get("HYPOTHESIS_PROFILE") == "long"
TAKEN = Taken("2026-11-25", "abc1234", "2 cores", "make bench", 3.0, 0.9)


def test_the_page_has_every_row_of_the_bench() -> None:
    lines = [line for line in table.block(PAGE.read_text()).splitlines() if line.startswith("| ")][2:]

    rows = [row for rows in EVERY.values() for row in rows]
    assert [line.split("|")[1].strip() for line in lines] == [row.what for row in rows]
    assert [line.split("|")[5].strip() for line in lines] == [table._target(row.target) for row in rows]


def test_the_page_says_when_its_figures_were_taken() -> None:
    text = table.block(PAGE.read_text())

    occasions = [line for line in text.splitlines() if line.startswith("- ")]
    assert occasions
    for line in occasions:
        assert re.search(r": \d{4}-\d\d-\d\d, commit \w+, \d+ cores, Python \S+; `make bench(-long)?`; ", line)
        assert re.search(r"; `snakemake --version` took \d.* s, load before each part \d", line)


def test_every_row_is_measured_by_one_part() -> None:
    keys = [row.key for rows in EVERY.values() for row in rows]

    assert list(MEASURES) == list(EVERY)
    assert len(keys) == len(set(keys))


def test_a_target_is_met_by_the_median() -> None:
    row = Row("idle", "idle cycle", "s", "a floor", at_most(1.5, "figure"))

    met = table.line(row, Measured("idle", [9.0, 1.4, 1.2], [1.0, 0.1, 0.1]))
    missed = table.line(row, Measured("idle", [1.6, 1.7, 0.1]))

    assert met == "| idle cycle | 1.4 s | 0.1 s (a floor) | 12 | ≤ 1.5 | met |"
    assert missed.endswith("| ≤ 1.5 | **missed** |")


def test_a_small_ratio_is_shown_and_judged_in_percent() -> None:
    row = Row("cpu", "CPU per run", "ms", "a start", at_most(0.022))

    met = table.line(row, Measured("cpu", [20.0, 40.0, 38.0], [1000.0, 2000.0, 2000.0]))

    assert met == "| CPU per run | 38.0 ms | 2,000 ms (a start) | 2 % | ratio ≤ 2.2 % | met |"
    assert "**missed**" in table.line(row, Measured("cpu", [46.0], [2000.0]))
    assert "**missed**" in table.line(
        Row("rate", "rate", "runs/s", "", at_least(0.3)), Measured("rate", [29.0], [100.0])
    )


def test_a_page_gets_new_figures_and_keeps_the_rest() -> None:
    page = f"before\n{table._BLOCK.format(text='old')}\nafter\n"

    new = table.replaced(page, "new")

    assert new == page.replace("old", "new")
    with pytest.raises(ValueError, match="0 blocks of the bench"):
        table.replaced("no block", "new")


def test_parts_taken_at_different_times_say_so(tmp_path: Path) -> None:
    later = Taken("2026-11-26", "def5678", "2 cores", "make bench", 0.1, 1.0)
    table.save(tmp_path, Part("stages", TAKEN, {"migrate": Measured("migrate", [90.0], [100.0])}))
    table.save(tmp_path, Part("cycles", later, {"cycle-2000": Measured("cycle-2000", [1.8], [1.9])}))

    text = table.markdown(table.load_all(tmp_path))

    assert "| migrate with verification | 90.0 runs/s | 100 runs/s" in text
    assert (
        "- stages: 2026-11-25, commit abc1234, 2 cores; `make bench`; `snakemake --version` took 0.9 to 0.9 s" in text
    )
    assert "other programs ran too\n- cycles: 2026-11-26, commit def5678" in text


def test_an_older_version_gets_a_column_of_what_is_judged() -> None:
    now = {"stages": Part("stages", TAKEN, {"migrate": Measured("migrate", [90.0], [100.0])})}
    then = {"stages": Part("stages", replace(TAKEN, commit="0123abc"), {"migrate": Measured("migrate", [7.0], [10.0])})}

    head, _, *lines = table.markdown(now, then).splitlines()

    assert head.endswith("| verdict | 0123abc |")
    [line] = [line for line in lines if "| 90.0 runs/s |" in line]
    assert line.endswith("| ratio ≥ 0.85 | met | 0.7 |")


def test_cpu_of_a_process_that_nobody_waits_for_counts() -> None:
    spin = f"import time\nwhile time.process_time() < {0.5 * slowness()}: pass"
    start = (
        "import signal, subprocess, sys\n"
        "signal.signal(signal.SIGCHLD, signal.SIG_IGN)\n"
        f"subprocess.Popen([sys.executable, '-I', '-S', '-c', {spin!r}]).wait()"
    )

    used = measure.usage(
        [sys.executable, "-I", "-S", "-c", f"import subprocess, sys; subprocess.run([sys.executable, '-c', {start!r}])"]
    )

    assert used.cpu > 0.4 * slowness()
    assert used.driver_cpu < 0.4 * slowness()


@pytest.mark.parametrize("part", MEASURES if LONG else ["cycles"])
def test_a_part_of_the_bench_measures_all_its_rows(part: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.bench", part, "--scale", "0.005", "--output", str(tmp_path)]

    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr
    figures = json.loads((tmp_path / f"{part}.json").read_text())["figures"]
    assert {each["key"] for each in figures} == {row.key for row in EVERY[part]}
    assert all(value > 0 for each in figures for value in each["values"])
    assert (tmp_path / "bench.md").exists()
