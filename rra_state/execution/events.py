"""What a cycle tells while it works: one line per failed run, kept file and the like, and counts for a progress bar.

A Snakemake process started by the command line sends events through a pipe, and the command line shows them; one that
an operator started logs them itself.
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
from rra_state.base.wording import done_of, first_of
from rra_state.state import tally
from rra_state.state.outcome import PLACES, Outcome, Stage

VARIABLE = "RRA_EVENTS_FD"
"""Environment variable with the descriptor that events go to."""

log = logging.getLogger("rra")


class Teller(Protocol):
    """Where news of a cycle goes."""

    def settled(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """These runs are done with, one way or the other."""

    def stopped(self, error: ArchiverError) -> None:
        """The cycle ends early because of this."""


class Sender:
    """Writes JSON lines to a pipe: `{"stage", "archived", "failed", ..., "lines"}`, `{"stopped", ...}`."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def settled(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """See Teller."""
        self._send(
            stage=stage,
            archived=[outcome.run for outcome in outcomes if outcome.archived],
            failed=[outcome.run for outcome in outcomes if not outcome.archived and not outcome.untried],
            postponed=sum(outcome.error is not None and outcome.error.postpones for outcome in outcomes),
            retries=tally.retries(outcomes),
            stored=tally.stored(outcomes),
            lines=[line for outcome in outcomes for line in lines(stage, outcome)],
        )

    def stopped(self, error: ArchiverError) -> None:
        """See Teller."""
        self._send(stopped=str(error), interrupted=isinstance(error, Interrupted))

    def _send(self, **event: Any) -> None:
        data = memoryview(json.dumps(event).encode() + b"\n")
        while data:
            data = data[os.write(self._descriptor, data) :]


class Logger:
    """Logs the lines, and a count per chunk."""

    def __init__(self, totals: Mapping[Stage, int]) -> None:
        self._totals = totals
        self._done: dict[Stage, int] = {"import": 0, "migrate": 0}
        self._failed: dict[Stage, int] = {"import": 0, "migrate": 0}

    def settled(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """See Teller."""
        for outcome in outcomes:
            for level, text in lines(stage, outcome):
                log.log(level, "%s", text)
        self._done[stage] += sum(outcome.archived for outcome in outcomes)
        self._failed[stage] += sum(not outcome.archived and not outcome.untried for outcome in outcomes)
        failed = f", {self._failed[stage]} failed" if self._failed[stage] else ""
        done = done_of(self._done[stage], self._totals[stage], "run")
        log.info("%s: %s in %s%s", stage, done, PLACES[stage], failed)

    def stopped(self, error: ArchiverError) -> None:
        """See Teller."""
        log.error("%s", error)


def teller(environ: Mapping[str, str], totals: Mapping[Stage, int]) -> Teller:
    """The Sender if a command line listens, else a Logger. totals: runs per stage in this window."""
    return Sender(int(environ[VARIABLE])) if VARIABLE in environ else Logger(totals)


def when_nobody_listens(environ: Mapping[str, str], action: Callable[[], None]) -> None:
    """Call `action` when the command line that reads the events is gone (killed): its workflow must not outlive it."""
    if VARIABLE not in environ:
        return
    poll = select.poll()
    poll.register(int(environ[VARIABLE]), 0)  # no event asked for: only the closing of the other end is told

    def watch() -> None:
        poll.poll()
        action()

    threading.Thread(target=watch, name="rra-parent-watch", daemon=True).start()


def lines(stage: Stage, outcome: Outcome) -> Iterator[tuple[int, str]]:
    """Level and text of everything worth telling about one run."""
    if outcome.error is not None and outcome.error.stops_cycle:
        return
    if outcome.error is not None and outcome.error.postpones:
        yield logging.WARNING, f"{outcome.error}; the next cycle takes it"
        return
    if outcome.error is not None:
        text = str(outcome.error)
        yield logging.ERROR, text if outcome.error.run is not None else f"run {outcome.run}: {text}"
        return
    if outcome.note:
        yield logging.INFO, outcome.note
    if outcome.facts is None:
        return
    if stage == "import":
        if kept := outcome.facts.kept:
            yield logging.WARNING, f"run {outcome.run}: {first_of(kept)}; kept as text"
        if skipped := outcome.facts.skipped:
            reasons = {name: f"is not archived: {reason}" for name, reason in skipped.items()}
            yield logging.WARNING, f"run {outcome.run}: {first_of(reasons)}"
    for problem in outcome.facts.problems:
        yield logging.ERROR, f"run {outcome.run}: validation: {problem}"
    yield logging.DEBUG, f"run {outcome.run}: in {PLACES[stage]}"
