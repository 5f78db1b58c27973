"""What follows every cycle once its state files are written, whatever way it ended: status page, metrics, messages.

Nothing here fails a cycle or hides how it ended: what does not work is one line in the log, and is tried again after
the next cycle.
"""

from __future__ import annotations

import logging

from rra_state import history, metrics
from rra_state.config import Settings
from rra_state.deadline import within
from rra_state.errors import ArchiverError
from rra_state.history import Ended, History
from rra_state.markers import Tree
from rra_state.summary import Summary, summary

log = logging.getLogger("rra")


def follow(settings: Settings, ended: Ended) -> None:
    """Do all that is configured. The archive's lock is held, unless taking it was what failed."""
    _page(settings, ended)
    known = _history(Tree(settings.app.work_dir), ended)
    if not _anything(settings):
        return
    counted = _summary(settings, ended)
    _metrics(settings, ended, known, counted)


def _page(settings: Settings, ended: Ended) -> None:
    path = settings.reporting.html_file
    if path is None:
        return
    from rra_state.page import file  # noqa: PLC0415 - the template engine is for those who want a page

    try:
        file.write(settings, path, ended)
    except OSError as error:
        log.warning("status page: %s cannot be written: %s", path, error.strerror or error)


def _anything(settings: Settings) -> bool:
    """Whether anybody wants to know."""
    return settings.carbon.enabled or settings.metrics.prometheus_file is not None


def _history(tree: Tree, ended: Ended) -> History:
    try:
        return history.record(tree, ended)
    except ArchiverError as error:
        log.debug("the history of cycles is not remembered: %s", error)
        return history.after(tree, ended)


def _summary(settings: Settings, ended: Ended) -> Summary | None:
    """The runs in numbers; None if they cannot be counted, which is then what ended the cycle, or is told here."""
    try:
        return summary(settings, ended.at)
    except ArchiverError as error:
        if ended.fault is None:
            log.warning("the runs cannot be counted: %s", error)
        return None


def _metrics(settings: Settings, ended: Ended, known: History, counted: Summary | None) -> None:
    samples = metrics.samples(ended, known, counted)
    path, carbon = settings.metrics.prometheus_file, settings.carbon
    if path is not None:
        try:
            metrics.write_prometheus(path, samples)
        except OSError as error:
            log.warning("metrics: %s cannot be written: %s", path, error.strerror)
    if carbon.enabled:
        sent = within(metrics.CARBON_SECONDS, {"carbon": lambda: metrics.send_carbon(carbon, samples, ended.at)})
        if sent["carbon"] is not None:
            log.warning("metrics: Carbon at %s:%d cannot be used: %s", carbon.host, carbon.port, sent["carbon"])
