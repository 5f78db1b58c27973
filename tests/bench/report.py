"""What a report costs: python -m tests.bench.report [RUNS]. Everything is made up below a temporary directory."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from rra_state.state.outcome import STAGES, Facts, Failure, Marker
from tests.unit.archive_site import Site

QUESTIONS = ("runs", "stages", "gaps", "failures", "throughput")


def make_tree(root: Path, runs: int) -> Site:
    """A site with so many runs; every 500th failed, every 300th is missing."""
    site = Site(root)
    for run in range(1, runs + 1):
        if run % 300 == 0:
            continue
        (site.records / str(run)).mkdir()
        when = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(1_764_000_000 + run * 600))
        if run % 500 == 0:
            message = f"run {run}: {site.records}/{run}: metadata.txt is missing (put the file back)"
            failure = Failure(run, "import", "RecordError", message, 3, when, when)
            site.tree.failure_path("import", run).write_text(json.dumps(failure.mapping()))
            continue
        digest = hashlib.sha256(str(run).encode()).hexdigest()
        facts = Facts(
            True, "standard00012", "standard/00012", "standard00012", digest, *["Thu Oct 17 10:00:00 UTC 2024"] * 2
        )
        stored = replace(
            facts, size=27_000 + run % 999, adler32=run, sha256=digest, ucondb_id=run, ucondb_data_key=str(run)
        )
        for stage, each in zip(STAGES, (facts, stored), strict=True):
            marker = Marker(run, stage, when, "0.1.0", "daq07", each)
            site.tree.marker_path(stage, run).write_text(json.dumps(marker.mapping(), indent=1))
    return site


def main(runs: int) -> None:
    """Print a table: CPU, wall clock and memory of each question, and of report and page."""
    with TemporaryDirectory(prefix="rra-bench-") as directory:
        site = make_tree(Path(directory), runs)
        print(f"{runs} runs, {os.cpu_count()} cores\n\n| what | CPU | wall | memory |\n| --- | --- | --- | --- |")
        for name in QUESTIONS:
            _measure(f"rra_state.{name}", f"import rra_state; rra_state.{name}({str(site.root / 'config.yaml')!r})")
        look = (
            "from rra_state.config import loading; from rra_state.state.snapshot import Snapshot\n"
            f"from rra_state.reporting.assessment import assess; s = loading.load({str(site.root / 'config.yaml')!r})\n"
            "snapshot = Snapshot.take(s); found = assess(snapshot)\n"
        )
        part = "from rra_state.reporting.assessment import WHOLE\n"
        _measure("report as text", f"{look}from rra_state.reporting import text; text.report(found)")
        _measure("page", f"{look}from rra_state.reporting.page import render; render.html(snapshot, found)")
        _measure(
            "JSON", f"{look}{part}from rra_state.reporting import export; export.json_text(snapshot, found, WHOLE)"
        )
        _measure("CSV", f"{look}{part}from rra_state.reporting import export; export.csv_text(snapshot, found, WHOLE)")


def _measure(name: str, question: str) -> None:
    """One question, asked by a fresh Python."""
    code = (
        "import resource, time\n"
        "began = time.time()\n"
        f"{question}\n"
        "used = resource.getrusage(resource.RUSAGE_SELF)\n"
        "print(used.ru_utime + used.ru_stime, time.time() - began, used.ru_maxrss / 1024)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    cpu, wall, memory = map(float, done.stdout.split())
    print(f"| {name} | {cpu:.2f} s | {wall:.2f} s | {memory:.0f} MB |", flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
