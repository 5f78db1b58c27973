"""Events of a cycle: a message for each failed run, kept file and the like, and counts for a progress bar.

A Snakemake process that the command line started sends its events through a pipe, and the command line shows them. One
that an operator started logs them itself.
"""

from __future__ import annotations

import json
import logging
import os
import select
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

from rra_state.base.errors import ArchiverError, Interrupted
from rra_state.base.wording import count, first_of
from rra_state.records.model import KEPT
from rra_state.state.outcome import STORES, Outcome, Stage
from rra_state.state.tally import Tally, retries, stored

VARIABLE = "RRA_EVENTS_FD"
"""Environment variable with the descriptor of the pipe for events."""

log = logging.getLogger("rra")


class EventSink(Protocol):
    """Takes the events of a cycle."""

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """These runs are archived, failed or untried."""

    def stopping(self, number: int) -> None:
        """The cycle was interrupted, and about `number` begun runs will be finished."""

    def stopped(self, error: ArchiverError) -> None:
        """The cycle, or the stage `error.stage` of it, ends early because of this."""


class EventSender:
    """Writes JSON lines to a pipe: `{"stage", "archived", ...}`, `{"stopping"}`, `{"stopped", ...}`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """See EventSink."""
        self._send(
            stage=stage,
            archived=[outcome.run for outcome in outcomes if outcome.archived],
            failed=[outcome.run for outcome in outcomes if not outcome.archived and not outcome.untried],
            found=sum(outcome.found for outcome in outcomes) if stage == "import" else 0,
            postponed=sum(outcome.error is not None and outcome.error.postpones for outcome in outcomes),
            retries=retries(outcomes),
            stored=stored(outcomes),
            lines=[line for outcome in outcomes for line in lines(stage, outcome)],
        )

    def stopping(self, number: int) -> None:
        """See EventSink."""
        self._send(stopping=number)

    def stopped(self, error: ArchiverError) -> None:
        """See EventSink."""
        self._send(stopped=str(error), stage=error.stage, interrupted=isinstance(error, Interrupted))

    def _send(self, **event: Any) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        while data:
            data = data[os.write(self._descriptor, data) :]


class EventLogger:
    """Logs a message per event, and the counts after each chunk."""

    def __init__(self, totals: Mapping[Stage, int]) -> None:
        self._totals, self._tally = totals, Tally()

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """See EventSink."""
        for outcome in outcomes:
            for level, text in lines(stage, outcome):
                log.log(level, "%s", text)
        self._tally.add(stage, outcomes)
        if stage == "refresh":
            return
        failed = f", {self._tally.failed[stage]} failed" if self._tally.failed[stage] else ""
        done = f"{self._tally.archived[stage]} of {count(self._totals[stage], 'run')}"
        log.info("%s: %s in %s%s", stage, done, STORES[stage], failed)

    def stopping(self, number: int) -> None:
        """See EventSink."""
        log.warning("%s", stopping_message(number))

    def stopped(self, error: ArchiverError) -> None:
        """See EventSink."""
        log.error("%s", error)


def event_sink(environ: Mapping[str, str], totals: Mapping[Stage, int]) -> EventSink:
    """An EventSender if the command line started this process, else an EventLogger. totals: runs of this window."""
    return EventSender(int(environ[VARIABLE])) if VARIABLE in environ else EventLogger(totals)


def parent_is_gone(environ: Mapping[str, str]) -> bool:
    """Whether the command line that started this process was killed; False if no command line did."""
    return VARIABLE in environ and bool(_other_end(environ).poll(0))


def when_parent_ends(environ: Mapping[str, str], action: Callable[[], None]) -> None:
    """Call `action` if the command line that started this process is killed: the workflow must not go on without it."""
    if VARIABLE not in environ:
        return
    poll = _other_end(environ)

    def watch() -> None:
        poll.poll()
        action()

    threading.Thread(target=watch, name="rra-parent-watch", daemon=True).start()


def _other_end(environ: Mapping[str, str]) -> select.poll:
    """Polls the pipe of events without any event: it returns something once the other end is closed."""
    poll = select.poll()
    poll.register(int(environ[VARIABLE]), 0)
    return poll


def stopping_message(number: int) -> str:
    """What an interrupted cycle waits for."""
    return f"finishing {count(number, 'run')}; Ctrl-C twice more to stop now"


def lines(stage: Stage, outcome: Outcome) -> Iterator[tuple[int, str]]:
    """Log level and text of each message about one run."""
    if outcome.error is not None and outcome.error.stops_cycle:
        return
    if outcome.error is not None and outcome.error.postpones:
        yield logging.WARNING, str(outcome.error) if stage == "refresh" else f"{outcome.error}; the next cycle takes it"
        return
    if outcome.error is not None:
        text = str(outcome.error)
        if stage == "refresh":
            reason = f"{type(outcome.error).__name__}: {text.removeprefix(f'run {outcome.run}: ')}"
            text = f"run {outcome.run}: its record has changed and could not be archived again: {reason}"
        elif outcome.error.run is None:
            text = f"run {outcome.run}: {text}"
        yield logging.ERROR, text
        return
    if stage == "refresh":
        foreign = outcome.facts is not None and outcome.facts.foreign
        what = "another program stored a newer version" if foreign else "its record has changed"
        yield logging.INFO, f"run {outcome.run}: {what}; both stores hold it as it is now"
    if outcome.note:
        yield logging.INFO, outcome.note
    if outcome.facts is None:
        return
    if stage == "import" and (remarks := outcome.facts.remarks):
        usual = all(remark.text == KEPT for remark in remarks)
        yield logging.INFO if usual else logging.WARNING, f"run {outcome.run}: {first_of(remarks)}"
    for problem in outcome.facts.problems:
        yield logging.ERROR, f"run {outcome.run}: validation: {problem}"
    yield logging.DEBUG, f"run {outcome.run}: in {STORES[stage]}"
