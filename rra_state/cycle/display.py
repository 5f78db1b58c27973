"""Show a running cycle: progress bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self, TextIO

from rra_state.base.wording import count
from rra_state.execution.events import log, stopping_message
from rra_state.state.outcome import STAGES, STORES, Stage
from rra_state.state.tally import Tally

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID


class Display:
    """Shows events of `events.EventSender`, and counts them. `totals`: runs of the whole cycle per stage."""

    def __init__(self, totals: Mapping[Stage, int], *, quiet: bool) -> None:
        self.tally = Tally()
        self.tried_in_window: dict[Stage, int] = _zeros()
        self.postponed = 0
        self.problems = 0
        self.stopped: str | None = None
        self.stopped_stages: dict[str, str] = {}
        self._totals = totals
        self._quiet = quiet
        self._bars: dict[Stage, TaskID] = {}
        self._progress: Progress | None = None

    def begin_window(self) -> int:
        """Start to count a window's runs; return the number of runs tried before."""
        self.tried_in_window = _zeros()
        return self.tally.tried

    def __enter__(self) -> Self:
        """Show the bars if standard error is a terminal."""
        if not self._quiet and sys.stderr.isatty():
            self._progress = bars(sys.stderr)
            for stage in STAGES:
                if self._totals[stage]:
                    total = self._totals[stage]
                    self._bars[stage] = self._progress.add_task(f"into {STORES[stage]}", total=total, rate="")
            self._progress.start()
            self._log_to(sys.stderr)  # rich has replaced it: lines appear above the bars
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bars."""
        if self._progress is not None:
            self._progress.stop()
            self._log_to(sys.stderr)

    def _log_to(self, stream: TextIO) -> None:
        for handler in log.handlers:
            if type(handler) is logging.StreamHandler:
                handler.setStream(stream)

    def show(self, event: Mapping[str, Any]) -> None:
        """Count and show one event."""
        if "stopped" in event:
            if event["stage"] is None:
                self.stopped = str(event["stopped"])
            else:
                self.stopped_stages[event["stage"]] = str(event["stopped"])
            return
        if "stopping" in event:
            log.warning("%s", stopping_message(event["stopping"]))
            return
        stage: Stage = event["stage"]
        archived, failed = len(event["archived"]), len(event["failed"])
        self.tried_in_window[stage] += archived + failed + event["postponed"]
        self.postponed += event["postponed"]
        for level, text in event["lines"]:
            self.problems += level >= logging.ERROR
            log.log(level, "%s", text)
        if stage == "refresh":
            self.tally.refreshed += archived
            self.tally.not_refreshed += failed
            return
        self.tally.archived[stage] += archived
        self.tally.found += event["found"]
        self.tally.failed[stage] += failed
        self.tally.retries[stage] += event["retries"]
        self.tally.stored += event["stored"]
        self._advance(stage, archived + failed)

    def _advance(self, stage: Stage, number: int) -> None:
        if self._progress is None:
            done = self.tally.archived[stage] + self.tally.failed[stage]
            failed = f", {self.tally.failed[stage]} failed" if self.tally.failed[stage] else ""
            log.info("%s: %d of %s%s", stage, done, count(self._totals[stage], "run"), failed)
            return
        bar = self._bars[stage]
        self._progress.update(bar, advance=number, rate=rate(self._progress, bar))


def _zeros() -> dict[Stage, int]:
    return dict.fromkeys((*STAGES, "refresh"), 0)


def bars(stream: TextIO) -> Progress:
    """Progress bars on a terminal, with rate and time left; tasks need a field `rate`."""
    from rich.console import Console  # noqa: PLC0415 - a timer's cycle needs none
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415

    return Progress(
        TextColumn("{task.description:>14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
        console=Console(file=stream),
    )


@contextmanager
def progress(label: str, total: int | None = None) -> Iterator[Callable[[], None]]:
    """A function to call after each run. It advances a progress bar if standard error is a terminal."""
    if not sys.stderr.isatty():
        yield lambda: None
        return
    with bars(sys.stderr) as shown:
        task = shown.add_task(label, total=total, rate="")
        yield lambda: shown.update(task, advance=1, rate=rate(shown, task))


def rate(progress: Progress, bar: TaskID) -> str:
    """The speed of a bar, `12 runs/s`."""
    speed = next(task.speed for task in progress.tasks if task.id == bar)
    return f"{speed:.0f} runs/s" if speed else ""
