"""What a message after a cycle reports: what is wrong now, and what changed since the last message. Pure.

Runs that fail, and that no longer do; a fault that ends cycles, and its end; runs or cycles that are stuck.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

from rra_state.base import run_numbers
from rra_state.base.errors import ArchiverError, Interrupted
from rra_state.monitoring.cycle_history import History
from rra_state.reporting.counts import Counts, Oldest
from rra_state.reporting.failures import EVERY_STAGE
from rra_state.state.outcome import STAGES, Stage
from rra_state.state.tally import Ended

_Numbers = Annotated[
    frozenset[int],
    BeforeValidator(lambda value: run_numbers.parse(value) if isinstance(value, str) else value),
    PlainSerializer(run_numbers.text),
]
"""Runs, as ranges in JSON."""
Runs = Mapping[Stage, _Numbers]
WELL_SECONDS = 3600
"""A fault is over once cycles have gone well for so long: a fault that returns earlier is no news."""
REMINDER_SECONDS = 86400
"""A fault that lasts is reported again after so long."""
NO_RUNS: Runs = dict.fromkeys(EVERY_STAGE, frozenset())


@dataclass(frozen=True, slots=True)
class Fault:
    """What ended a cycle. stages: what that cycle was to do; it is over once a cycle of these goes well."""

    kind: str
    stages: tuple[Stage, ...]
    text: str = ""


@dataclass(frozen=True, slots=True)
class Episode:
    """Faults from the first message about one until cycles have gone well for an hour. Times in seconds since 1970.

    fault: the last one. kinds: of all faults that messages named. began: the first message; named: the last one.
    well: since when cycles go well; None: they do not.
    """

    fault: Fault
    kinds: frozenset[str]
    began: float
    named: float
    well: float | None = None

    def after(self, now: Condition) -> Episode | None:
        """The episode after one more cycle; None if it is over."""
        if now.fault is not None:
            known = replace(self, fault=now.fault, well=None)
            return replace(known, kinds=self.kinds | {now.fault.kind}, named=now.at) if self.is_due(now) else known
        if not now.good or not set(self.fault.stages) <= set(now.judged):
            return self
        well = now.at if self.well is None else self.well
        return None if now.at - well >= WELL_SECONDS else replace(self, well=well)

    def is_due(self, now: Condition) -> bool:
        """Whether a message names the fault: its kind is new, or it is time for a reminder."""
        if now.fault is None:
            return False
        return now.fault.kind not in self.kinds or now.at - self.named >= REMINDER_SECONDS


@dataclass(frozen=True, slots=True)
class Condition:
    """The condition of the archive after a cycle.

    failed: None if it is not known. stuck: per stage the run that has been waiting for too long; None if not known.
    silent: stages without a good cycle for too long, with the time of their last one. judged: the stages of this cycle.
    good: this cycle ended without a fault. at: when it ended, in seconds since 1970.
    """

    failed: Runs | None
    stuck: Mapping[Stage, Oldest] | None = field(default_factory=dict)
    silent: Mapping[Stage, datetime] = field(default_factory=dict)
    fault: Fault | None = None
    judged: tuple[Stage, ...] = STAGES
    good: bool = True
    at: float = 0.0


@dataclass(frozen=True, slots=True)
class Delivered:
    """What the messages to one recipient reported up to now."""

    failed: Runs = field(default_factory=lambda: NO_RUNS)
    stuck: frozenset[Stage] = frozenset()
    silent: frozenset[Stage] = frozenset()
    episode: Episode | None = None

    def after(self, now: Condition) -> Delivered:
        """The same once a message about `now` is delivered, or if there is no change to report."""
        judged = frozenset(now.judged)
        return Delivered(
            self.failed if now.failed is None else now.failed,
            self.stuck if now.stuck is None else (self.stuck - judged) | frozenset(now.stuck),
            (self.silent - judged) | frozenset(now.silent),
            self._episode_after(now),
        )

    def _episode_after(self, now: Condition) -> Episode | None:
        if self.episode is not None:
            return self.episode.after(now)
        return None if now.fault is None else Episode(now.fault, frozenset({now.fault.kind}), now.at, now.at)


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed. failed, recovered: runs per stage. moving: stages in which no run is stuck any more.

    over: the fault that no longer ends cycles. began: when the fault's episode began, if a message named it before.
    """

    failed: Runs
    recovered: Runs
    stuck: Mapping[Stage, Oldest]
    moving: frozenset[Stage]
    silent: Mapping[Stage, datetime]
    fault: Fault | None
    over: Fault | None
    began: float | None = None

    def __bool__(self) -> bool:
        return self.bad or any(self.recovered.values()) or bool(self.moving) or self.over is not None

    @property
    def bad(self) -> bool:
        """True if somebody has to do something."""
        return any(self.failed.values()) or bool(self.stuck) or bool(self.silent) or self.fault is not None


def condition(ended: Ended, history: History, counts: Counts | None, hours: float) -> Condition:
    """The condition of the archive. hours: runs that wait longer are stuck. counts: None if not known."""
    limit = hours * 3600
    silent = {
        stage: datetime.fromtimestamp(history.silent_since(stage), UTC)
        for stage in ended.stages
        if ended.at - history.silent_since(stage) > limit
    }
    stuck = None if counts is None or counts.source_error else dict(_stuck(ended, history, counts, limit))
    return Condition(
        None if counts is None else counts.failed,
        stuck,
        silent,
        _fault(ended),
        ended.stages,
        ended.fault is None,
        ended.at,
    )


def _stuck(ended: Ended, history: History, counts: Counts, limit: float) -> Iterator[tuple[Stage, Oldest]]:
    """Runs that could have been archived for longer than `limit` seconds, counted from when the archiver began."""
    for stage in ended.stages:
        oldest = counts.stages[stage].oldest_waiting
        if oldest is not None and ended.at - max(oldest.since.timestamp(), history.began) > limit:
            yield stage, oldest


def since(delivered: Delivered, now: Condition) -> Changes:
    """What changed since the last message that a recipient got."""
    failed = delivered.failed if now.failed is None else now.failed
    after, episode = delivered.after(now), delivered.episode
    return Changes(
        failed={stage: failed[stage] - delivered.failed[stage] for stage in EVERY_STAGE},
        recovered={stage: delivered.failed[stage] - failed[stage] for stage in EVERY_STAGE},
        stuck={stage: oldest for stage, oldest in (now.stuck or {}).items() if stage not in delivered.stuck},
        moving=delivered.stuck - after.stuck,
        silent={stage: when for stage, when in now.silent.items() if stage not in delivered.silent},
        fault=now.fault if episode is None or episode.is_due(now) else None,
        over=episode.fault if episode is not None and after.episode is None else None,
        began=None if episode is None else episode.began,
    )


def _fault(ended: Ended) -> Fault | None:
    """None for a cycle that a person or the system stopped."""
    if ended.fault is None or isinstance(ended.fault, Interrupted):
        return None
    known = isinstance(ended.fault, ArchiverError)
    text = str(ended.fault) if known else f"unexpected error: {ended.fault!r}"
    return Fault(type(ended.fault).__name__, ended.stages, text)
