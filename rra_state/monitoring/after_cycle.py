"""What follows every cycle once its state files are written, whatever way it ended: metrics, status page, messages.

Nothing here fails a cycle or hides how it ended: what does not work is one line in the log, and is tried again after
the next cycle.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from rra_state.base import host_limits
from rra_state.base.concurrency import run_within
from rra_state.base.errors import ArchiverError
from rra_state.config.loading import Settings
from rra_state.monitoring import changes, channels, cycle_history, metrics
from rra_state.monitoring.cycle_history import History
from rra_state.state.counts import Census, Summary, counted
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Ended
from rra_state.state.planner import Planner

log = logging.getLogger("rra")

T = TypeVar("T")


def follow(settings: Settings, ended: Ended, planner: Planner | None = None) -> None:
    """Do all that is configured. The archive's lock is held, unless taking it was what failed.

    planner: one that has listed runs and tree since the cycle's last change.
    """
    known = _history(Tree(settings.app.work_dir), ended)
    ways = channels.channels(settings)
    measured = settings.carbon.enabled or settings.metrics.prometheus_file is not None
    census = _counted(partial(Census.take, settings, ended.at, planner), ended) if ways or measured else None
    summary = None if census is None else _counted(partial(counted, census), ended)
    if measured:
        _safely(partial(_metrics, settings, ended, known, summary))
    if settings.reporting.html_file is not None:
        _safely(partial(_page, settings, settings.reporting.html_file, ended))
    if ways:
        now = changes.condition(ended, known, _failed(census), summary, settings.reporting.alert_after_hours)
        _safely(partial(channels.tell, settings, ways, now, summary))


def _failed(census: Census | None) -> changes.Runs | None:
    if census is None:
        return None
    return {stage: frozenset(census.failed[stage]) for stage in STAGES} | {"refresh": census.outdated}


def _safely(step: Callable[[], None]) -> None:
    """Do a step; what goes wrong in it, foreseen or not, keeps no other one from being done."""
    try:
        step()
    except Exception as error:
        log.error("after the cycle: %r; report this", error)
        log.debug("", exc_info=True)


def _page(settings: Settings, path: Path, ended: Ended) -> None:
    from rra_state.reporting.page import file  # noqa: PLC0415 - the template engine is for those who want a page

    try:
        file.write(settings, path, ended)
    except OSError as error:
        log.warning("status page: %s cannot be written: %s", path, host_limits.reason(error))


def _history(tree: Tree, ended: Ended) -> History:
    try:
        return cycle_history.record(tree, ended)
    except ArchiverError as error:
        log.debug("the history of cycles is not remembered: %s", error)
        return cycle_history.after(tree, ended)


def _counted(count: Callable[[], T], ended: Ended) -> T | None:
    """What `count` gives; None if the tree cannot be read, which is then what ended the cycle, or is told here."""
    try:
        return count()
    except ArchiverError as error:
        if ended.fault is None:
            log.warning("the runs cannot be counted: %s", error)
        return None


def _metrics(settings: Settings, ended: Ended, known: History, summary: Summary | None) -> None:
    samples = metrics.samples(ended, known, summary)
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
