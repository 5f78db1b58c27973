"""What follows every cycle once its state files are written, whatever way it ended: metrics, status page, messages.

Nothing here fails a cycle or hides how it ended: an error is one line in the log, and the step is done again after the
next cycle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.concurrency import run_within
from rra_state.base.errors import ArchiverError
from rra_state.config.loading import Settings
from rra_state.monitoring import changes, channels, cycle_history, metrics
from rra_state.monitoring.cycle_history import History
from rra_state.reporting.counts import Counts, count_runs
from rra_state.state.markers import Tree
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended

log = logging.getLogger("rra")


def run(settings: Settings, ended: Ended, snapshot: Snapshot | None = None) -> None:
    """Do what the configuration asks for. The archive's lock is held, unless taking it was what failed.

    snapshot: taken after the cycle's last change, if there is one.
    """
    history = _history(Tree(settings.app.work_dir), ended)
    recipients = channels.channels(settings)
    measured = settings.carbon.enabled or settings.metrics.prometheus_file is not None
    page = settings.reporting.html_file
    if snapshot is None and (recipients or measured or page):
        snapshot = _look(settings, ended)
    counts = _counted(snapshot, ended) if recipients or measured else None
    if measured:
        _safely(partial(_metrics, settings, ended, history, counts))
    if page is not None:
        _safely(partial(_page, settings, page, ended, snapshot))
    if recipients:
        now = changes.condition(ended, history, counts, settings.reporting.alert_after_hours)
        _safely(partial(channels.notify, settings, recipients, now, counts))


def _safely(step: Callable[[], None]) -> None:
    """Do a step. Any error of it is logged, and the next step is done."""
    try:
        step()
    except Exception as error:
        log.error("after the cycle: %r; report this", error)
        log.debug("", exc_info=True)


def _look(settings: Settings, ended: Ended) -> Snapshot | None:
    """The tree as it is now; None if it cannot be read, which is logged unless a fault ended the cycle."""
    try:
        return Snapshot.take(settings, ended.at)
    except ArchiverError as error:
        _log_uncounted(error, ended)
        return None


def _counted(snapshot: Snapshot | None, ended: Ended) -> Counts | None:
    """The runs by state; None, likewise logged, if they cannot be counted or a state file is damaged."""
    if snapshot is None:
        return None
    try:
        counts = count_runs(snapshot)
        for stage in counts.stages:
            if (damage := snapshot.written(stage).error) is not None:
                raise damage
    except ArchiverError as error:
        _log_uncounted(error, ended)
        return None
    return counts


def _log_uncounted(error: ArchiverError, ended: Ended) -> None:
    if ended.fault is None:
        log.warning("the runs cannot be counted: %s", error)


def _page(settings: Settings, path: Path, ended: Ended, snapshot: Snapshot | None) -> None:
    from rra_state.reporting.page import render, run_changes  # noqa: PLC0415 - only a page needs these

    if snapshot is not None:
        try:
            run_changes.renew(snapshot)
        except ArchiverError as error:
            log.warning("status page: what changed between runs is not known: %s", error)
    try:
        render.write(settings, path, snapshot, ended)
    except OSError as error:
        log.warning("status page: %s cannot be written: %s", path, host_limits.reason(error))


def _history(tree: Tree, ended: Ended) -> History:
    try:
        return cycle_history.record(tree, ended)
    except ArchiverError as error:
        log.debug("the history of cycles is not remembered: %s", error)
        return cycle_history.after(tree, ended)


def _metrics(settings: Settings, ended: Ended, history: History, counts: Counts | None) -> None:
    samples = metrics.samples(ended, history, counts)
    path, carbon = settings.metrics.prometheus_file, settings.carbon
    if path is not None:
        try:
            metrics.write_prometheus(path, samples)
        except OSError as error:
            log.warning("metrics: %s cannot be written: %s", path, host_limits.reason(error))
    if carbon.enabled:
        sent = run_within(metrics.CARBON_SECONDS, {"carbon": lambda: metrics.send_carbon(carbon, samples, ended.at)})
        if sent["carbon"] is not None:
            log.warning("metrics: Carbon at %s:%d cannot be used: %s", carbon.host, carbon.port, sent["carbon"])
