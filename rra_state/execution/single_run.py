"""One run in a process of its own: what a Snakemake `script:` does when the workflow runs without its executor."""

from __future__ import annotations

import fcntl
import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rra_state.base import bounds, log
from rra_state.base.errors import ArchiverError
from rra_state.config import loading
from rra_state.execution import events
from rra_state.execution.commit import Settler
from rra_state.stages.worker import Bench
from rra_state.state.markers import Tree
from rra_state.state.outcome import Outcome, Stage


def run_job(stage: Stage, function: Callable[..., list[Outcome]], snakemake: Any) -> None:
    """Do the workers' and the driver's part for the run of this job; end with exit status 1 if it failed."""
    run = int(snakemake.wildcards.run)
    try:
        settings = loading.load(snakemake.params.config)
        log.setup(settings.app, level=logging.WARNING)
        outcome = _one(run, stage, function, settings)
    except ArchiverError as error:
        sys.exit(str(error))
    for level, text in events.lines(stage, outcome):
        events.log.log(level, "%s", text)
    if outcome.untried:
        sys.exit(str(outcome.error))
    sys.exit(0 if outcome.archived else 1)


def _one(run: int, stage: Stage, function: Callable[..., list[Outcome]], settings: loading.Settings) -> Outcome:
    tree = Tree(settings.app.work_dir)
    tree.prepare()
    bench = Bench(settings)
    bounds.bound_memory(settings.app.worker_memory_bytes)
    outcomes = function([run], bench, bench.artdaqdb.locate([run]))
    with _settling(settings.app.work_dir):
        return Settler(tree, bench.artdaqdb).settle(stage, outcomes)[0]


@contextmanager
def _settling(work_dir: Path) -> Iterator[None]:
    """The driver's part is for one process at a time."""
    descriptor = os.open(work_dir / "markers", os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
