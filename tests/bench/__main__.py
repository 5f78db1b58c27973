"""`make bench`, `make bench-long`: measure, print the table, write JSON and Markdown.

    python -m tests.bench [--show] [--long] [PART...] [--output DIR] [--before DIR] [--page PAGE] [--scale 0.01]

Every figure comes from real stores and the command line as an operator starts it, with its floor taken beside it.
"""

from __future__ import annotations

import argparse
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tests.bench import cycles, mongodb, parameters, sites, stages, table
from tests.bench.measure import snakemake
from tests.bench.rows import EVERY, LONG_PARTS, PARTS, Measured
from tests.bench.table import Part, Taken
from tests.paths import REPOSITORY

MEASURES: dict[str, Callable[[sites.Hall], Iterator[Measured]]] = {
    "fhicl": stages.parsing,
    "stages": stages.stages,
    "cycles": cycles.cycles,
    "restore": cycles.restore,
    "one-run": cycles.one_run,
    "many": cycles.many,
    "mongodb": mongodb.mongodb,
    "large": cycles.large,
    "parameters": parameters.parameters,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what was asked for; then print and write all that was ever measured into the same directory."""
    options = _parser().parse_args(arguments)
    if options.page and options.scale != 1:
        raise SystemExit("a page gets the figures of full size only: leave --scale or --page out")
    wanted = options.parts or (LONG_PARTS if options.long else PARTS)
    for name in () if options.show else wanted:
        print(f"\n{name}", flush=True)
        table.save(options.output, _measured(name, options))
    before = table.load_all(options.before) if options.before else None
    text = table.markdown(table.load_all(options.output), before)
    print(f"\n{text}")
    (options.output / "bench.md").write_text(text + "\n")
    if options.page:
        options.page.write_text(table.replaced(options.page.read_text(), text))
    return 0


def _measured(name: str, options: argparse.Namespace) -> Part:
    rows, taken = {row.key: row for row in EVERY[name]}, _taken(name, options)
    figures = {}
    with sites.opened(options.scale) as hall:
        for found in MEASURES[name](hall):
            figures[found.key] = found
            print(table.line(rows[found.key], found), flush=True)
        if hall.peaks:
            figures[f"memory-{name}"] = Measured(f"memory-{name}", [max(hall.peaks)])
    return Part(name, taken, figures)


def _taken(name: str, options: argparse.Namespace) -> Taken:
    """Read before the part begins: a commit made meanwhile is not the one that is measured."""
    scale = "" if options.scale == 1 else f", sizes times {options.scale:g}"
    return Taken(
        time.strftime("%Y-%m-%d"),
        _commit(),
        f"{os.cpu_count()} cores, Python {platform.python_version()}{scale}",
        "make bench-long" if name in LONG_PARTS else "make bench",
        os.getloadavg()[0],
        snakemake().seconds,
    )


def _commit() -> str:
    command = ["git", "rev-parse", "--short", "HEAD"]
    found = subprocess.run(command, capture_output=True, text=True, check=False, cwd=REPOSITORY)
    return found.stdout.strip() or "unknown"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description="Measure.")
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *MEASURES], help=", ".join(MEASURES))
    parser.add_argument("--show", action="store_true", help="measure nothing, show what was measured before")
    parser.add_argument("--long", action="store_true", help="the long parts")
    parser.add_argument("--output", type=Path, default=REPOSITORY / "build" / "bench", help="directory of the results")
    parser.add_argument("--before", type=Path, help="results of an older version, for a column of their own")
    parser.add_argument("--page", type=Path, help="a page whose marked block is to be rewritten")
    parser.add_argument("--scale", type=float, default=1.0, help="smaller sizes, to try the bench itself")
    return parser


if __name__ == "__main__":
    sys.exit(main())
