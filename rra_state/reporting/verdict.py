"""Whether everything is safe, and what to type if it is not: one judgement for text, page and machines."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from rra_state.base import run_numbers
from rra_state.base.wording import count, ranges
from rra_state.reporting.status import Status
from rra_state.state.outcome import PLACES

Level = Literal["safe", "unsafe", "unsure", "unknown", "empty"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The judgement. word: in capitals, for a glance. reason: the rest of the sentence."""

    level: Level
    word: str
    reason: str

    @property
    def text(self) -> str:
        """The sentence."""
        return f"{self.word} {self.reason}" if self.level == "empty" else f"{self.word}: {self.reason}"


@dataclass(frozen=True, slots=True)
class Step:
    """Something to type: the options after the configuration, and why."""

    options: str
    why: str

    def command(self, status: Status) -> str:
        """The whole command line."""
        return f"./run_archiver.sh {shlex.quote(str(status.settings.path))} {self.options}".strip()


def verdict(status: Status) -> Verdict:
    """Judge. Nothing is called safe that a place does not show, or that the archiver itself calls failed."""
    disk, artdaqdb, ucondb = (place.runs for place in status.places)
    waiting, unproven, halfway = status.complete - ucondb, status.unproven, artdaqdb - ucondb - disk
    if not status.readable:
        return Verdict("unknown", "NOT KNOWN", "a place cannot be read (see below).")
    if waiting:
        return Verdict("unsafe", "NOT SAFE YET", f"{count(len(waiting), 'run')} on disk not in UconDB.")
    if halfway:
        return Verdict(
            "unsafe", "NOT SAFE YET", f"{count(len(halfway), 'run')} in artdaqDB only, not on disk any more."
        )
    if unproven:
        return Verdict(
            "unsure", "NOT SURE", f"UconDB lists these, but they were not verified or failed: {ranges(unproven)}"
        )
    if not disk:
        where = status.settings.source_files.run_records_dir
        return Verdict("empty", "NO RUN ON DISK", f"in {where}: is it mounted?")
    return Verdict("safe", "SAFE", f"every complete run on disk ({len(status.complete)}) is in UconDB.")


def steps(status: Status) -> Iterator[Step]:
    """What helps, in the order in which it has to be done."""
    if not status.readable:
        yield Step("--check", "once what the lines above say is mended")
        return
    _, artdaqdb, ucondb = (place.runs for place in status.places)
    missing = {"import": status.complete - artdaqdb, "migrate": artdaqdb - ucondb}
    held = {"import": artdaqdb, "migrate": ucondb}
    new, passed = False, False
    for progress in status.progress:
        if progress.archived - held[progress.stage]:
            yield Step(f"--recover-{progress.stage}-state", f"{PLACES[progress.stage]} lost runs that have a marker")
    for progress in status.progress:
        if progress.log:
            yield Step(f"--retry-failed-{progress.stage}", "once the reasons are mended")
        open_ends = missing[progress.stage] - set(progress.log) - progress.archived
        new |= any(run > progress.state.start for run in open_ends)
        passed |= any(run <= progress.state.start for run in open_ends)
    if status.outdated:
        numbers = run_numbers.text({failure.run for failure in status.outdated})
        yield Step(f"--runs {numbers}", "records that changed, once the reasons are mended")
    if new:
        yield Step("--incremental", "new runs wait")
    if passed:
        yield Step("", "runs below the state's numbers wait")
