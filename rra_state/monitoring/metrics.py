"""Metrics of the archive after a cycle: a text file for Prometheus' node_exporter, and lines for Graphite's Carbon.

One list of samples serves both. docs/monitoring.md says what each means.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import Metric

from rra_state.base import files
from rra_state.base.version import __version__
from rra_state.config.models import Carbon
from rra_state.monitoring.cycle_history import History
from rra_state.reporting import failures
from rra_state.reporting.counts import Counts, StageCounts
from rra_state.state.outcome import Stage
from rra_state.state.tally import Ended

CARBON_SECONDS = 5.0
"""Longest wait for Carbon."""

Kind = Literal["gauge", "counter"]
FAMILIES: dict[str, tuple[Kind, str]] = {
    "rra_info": ("gauge", "Version of the archiver; always 1."),
    "rra_runs": ("gauge", "Runs by state, over both stages."),
    "rra_stage_runs": ("gauge", "Runs by stage and state."),
    "rra_failure_log_runs": ("gauge", "Lines in the failure log of a stage."),
    "rra_failures": ("gauge", "Runs in the failure log by class of their failure, and findings."),
    "rra_last_contiguous_run": ("gauge", "From the lowest archived run up to this one nothing is missing."),
    "rra_last_attempted_run": ("gauge", "Highest run that was tried."),
    "rra_oldest_waiting_timestamp_seconds": ("gauge", "Since when the run of a stage has waited that waits longest."),
    "rra_oldest_failed_timestamp_seconds": ("gauge", "First failure of the run that has been failing longest."),
    "rra_cycle_end_timestamp_seconds": ("gauge", "End of the last cycle, however it ended."),
    "rra_cycle_duration_seconds": ("gauge", "Duration of the last cycle."),
    "rra_cycle_good": ("gauge", "1 if no error of a site and no signal ended the last cycle early, else 0."),
    "rra_cycle_runs": ("gauge", "Runs that the last cycle took, by stage and result."),
    "rra_success_timestamp_seconds": ("gauge", "End of the last good cycle of a stage."),
    "rra_archived_runs_total": ("counter", "Runs archived by cycles."),
    "rra_failed_attempts_total": ("counter", "Runs that failed in a cycle; each time counts."),
    "rra_retries_total": ("counter", "Tries of a run beyond its first in a cycle."),
    "rra_stored_bytes_total": ("counter", "Bytes put into UconDB."),
}
"""Every metric with its kind and its meaning."""

_TOTALS = {
    "rra_archived_runs_total": "archived",
    "rra_failed_attempts_total": "failed",
    "rra_retries_total": "retries",
    "rra_stored_bytes_total": "stored",
}


@dataclass(frozen=True, slots=True)
class Sample:
    """One number. labels: in the order in which they are written."""

    name: str
    value: float
    labels: Mapping[str, str]


def samples(ended: Ended, history: History, counts: Counts | None) -> list[Sample]:
    """Everything after this cycle. counts: None if the runs could not be counted; then they are left out."""
    found = [*_of_cycle(ended, history)]
    if counts is not None and counts.source_error is None:
        found += _of_runs(counts)
    return found


def write_prometheus(path: Path, found: Iterable[Sample]) -> None:
    """Replace the text file atomically; readable by all, since node_exporter is another account. Raises OSError."""
    files.write_atomic(path, prometheus(found).encode(), for_all=True)


def send_carbon(carbon: Carbon, found: Iterable[Sample], now: float) -> None:
    """Send all samples over one connection. Raises OSError."""
    text = "".join(f"{line}\n" for line in carbon_lines(carbon.metric_prefix, found, now))
    with socket.create_connection((carbon.host, carbon.port), timeout=CARBON_SECONDS) as connection:
        connection.sendall(text.encode())


def prometheus(found: Iterable[Sample]) -> str:
    """The samples in Prometheus' text format, a family at a time."""
    families: dict[str, Metric] = {}
    for sample in found:
        kind, meaning = FAMILIES[sample.name]
        family = families.setdefault(sample.name, Metric(sample.name.removesuffix("_total"), meaning, kind))
        family.add_sample(sample.name, dict(sample.labels), sample.value)
    return generate_latest(_Collected(families.values())).decode()


class _Collected(CollectorRegistry):
    """A registry of families that are complete."""

    def __init__(self, families: Iterable[Metric]) -> None:
        super().__init__(auto_describe=False)
        self._families = families

    def collect(self) -> Iterator[Metric]:
        """See CollectorRegistry."""
        yield from self._families


def carbon_lines(prefix: str, found: Iterable[Sample], now: float) -> Iterator[str]:
    """The samples as `prefix.name.label value time`. Times become ages, since Graphite does not know the present."""
    for sample in found:
        name, value = sample.name.removeprefix("rra_"), sample.value
        if name.endswith("_timestamp_seconds"):
            name, value = name.removesuffix("_timestamp_seconds") + "_age_seconds", max(0.0, now - value)
        path = ".".join((prefix.strip("."), name, *(label.replace(".", "_") for label in sample.labels.values())))
        yield f"{path} {value:.15g} {int(now)}"


def _of_cycle(ended: Ended, history: History) -> Iterator[Sample]:
    yield Sample("rra_info", 1, {"version": __version__})
    yield Sample("rra_cycle_end_timestamp_seconds", ended.at, {})
    yield Sample("rra_cycle_duration_seconds", ended.seconds, {})
    yield Sample("rra_cycle_good", ended.fault is None, {})
    for stage in ended.stages:
        for result, number in (("archived", ended.tally.archived[stage]), ("failed", ended.tally.failed[stage])):
            yield Sample("rra_cycle_runs", number, {"stage": stage, "result": result})
    for stage, when in history.succeeded.items():
        yield Sample("rra_success_timestamp_seconds", when, {"stage": stage})
    for name, key in _TOTALS.items():
        for stage, number in history.totals[key].items():
            yield Sample(name, number, {"stage": stage})


def _of_runs(counts: Counts) -> Iterator[Sample]:
    for state, number in counts.numbers.items():
        yield Sample("rra_runs", number, {"state": state})
    for stage, found in counts.stages.items():
        yield from _of_stage(stage, found)
    for group in failures.by_class(counts.groups):
        if group.stage == "verify":
            yield Sample("rra_failures", len(group.runs), {"stage": group.stage, "class": group.kind})


def _of_stage(stage: Stage, found: StageCounts) -> Iterator[Sample]:
    numbers = {"archived": found.archived, "waiting": found.waiting, "failed": found.failed}
    for state, number in numbers.items():
        yield Sample("rra_stage_runs", number, {"stage": stage, "state": state})
    yield Sample("rra_failure_log_runs", len(found.derived.log), {"stage": stage})
    for kind, number in found.classes.items():
        yield Sample("rra_failures", number, {"stage": stage, "class": kind})
    yield Sample("rra_last_contiguous_run", found.derived.state.last_contiguous_run, {"stage": stage})
    yield Sample("rra_last_attempted_run", found.derived.state.last_attempted_run, {"stage": stage})
    for state, oldest in (("waiting", found.oldest_waiting), ("failed", found.oldest_failed)):
        if oldest is not None:
            yield Sample(f"rra_oldest_{state}_timestamp_seconds", oldest.since.timestamp(), {"stage": stage})
