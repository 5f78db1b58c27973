"""One run in one process: the job of a Snakemake rule when the workflow runs without its executor plugin."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Sequence

from rra_state.base import host_limits, log
from rra_state.base.concurrency import locked
from rra_state.base.errors import ArchiverError
from rra_state.base.wording import printable
from rra_state.config import loading
from rra_state.execution import events
from rra_state.execution.commit import Committer
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import Outcome, Stage
from rra_state.workers.refresh_stage import replace_blobs, stage_changed, version_to_replace, was_named
from rra_state.workers.worker import WorkerContext


def run_job(stage: Stage, function: Callable[..., list[Outcome]], arguments: Sequence[str]) -> None:
    """Do the work of worker and driver for one run; exit with status 1 if it failed.

    arguments: configuration and run.
    """
    path, number = arguments
    run = int(number)

    def archive(context: WorkerContext, committer: Committer) -> Outcome:
        outcomes = function([run], context, context.artdaqdb.locate([run]))
        with locked(context.settings.app.work_dir / "markers"):  # the driver's part is for one process at a time
            return committer.commit(stage, outcomes)[0]

    _do_job(stage, path, archive)


def run_refresh_job(arguments: Sequence[str]) -> None:
    """Archive a changed record again, as `run_job` archives a run. arguments: configuration, run and fingerprint."""
    path, run, fingerprint = arguments
    wanted = Refresh(int(run), fingerprint)
    _do_job("refresh", path, lambda context, committer: refresh_run(wanted, context, committer))


def refresh_run(wanted: Refresh, context: WorkerContext, committer: Committer) -> Outcome:
    """Archive a changed record, and write its marker last. After a crash the next call completes it."""
    run, store = wanted.run, context.artdaqdb
    try:
        replaced = version_to_replace(committer.tree, run)
        may_shrink = was_named(committer.tree, wanted)
        located = store.locate([run])
        [outcome] = stage_changed([run], context, located, wanted={run: wanted}, may_shrink=may_shrink)
        if outcome.archived:
            [outcome] = committer.publish_refreshes([outcome])
        if outcome.archived and outcome.facts is not None:
            facts = {run: outcome.facts}
            [outcome] = replace_blobs([run], context, store.locate([run]), facts=facts, replaced={run: replaced})
    except ArchiverError as error:
        outcome = Outcome(run, error=error, tries=error.tries)
    return committer.commit_refresh(wanted, outcome)


def _do_job(stage: Stage, path: str, action: Callable[[WorkerContext, Committer], Outcome]) -> None:
    try:
        settings = loading.load(path)
        level = logging.INFO if stage == "refresh" else logging.WARNING
        log.setup(settings.app.log_file, settings.app.log_level, console_level=level)
        tree = Tree(settings.app.work_dir)
        tree.prepare()
        context = WorkerContext(settings)
        host_limits.bound_memory(settings.app.worker_memory_bytes)
        outcome = action(context, Committer(tree, context.artdaqdb))
    except ArchiverError as error:
        sys.exit(printable(str(error)))
    for level, text in events.lines(stage, outcome):
        events.log.log(level, "%s", text)
    if outcome.untried:
        sys.exit(printable(str(outcome.error)))
    sys.exit(0 if outcome.archived else 1)
