"""What a cycle did: numbers per stage, and how it ended."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from rra_state.base import wording
from rra_state.state.outcome import STAGES, STORES, Outcome, Stage


def _none_yet() -> dict[Stage, int]:
    return dict.fromkeys(STAGES, 0)


@dataclass(slots=True)
class Tally:
    """Numbers per stage. retries: tries of a run beyond its first. stored: bytes put into UconDB.

    found: those of the imported runs that artdaqDB held already. refreshed, not_refreshed: changed records that were,
    and could not be, archived again.
    """

    archived: dict[Stage, int] = field(default_factory=_none_yet)
    failed: dict[Stage, int] = field(default_factory=_none_yet)
    retries: dict[Stage, int] = field(default_factory=_none_yet)
    stored: int = 0
    found: int = 0
    refreshed: int = 0
    not_refreshed: int = 0

    @property
    def tried(self) -> int:
        """Runs archived or failed."""
        return sum(self.archived.values()) + sum(self.failed.values())

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in which a run was tried."""
        return tuple(stage for stage in STAGES if self.archived[stage] or self.failed[stage])

    def lines(self, stages: Iterable[Stage]) -> list[str]:
        """What was done in each of these stages, and with changed records."""
        found = {"import": self.found, "migrate": 0}
        lines = [
            f"{wording.count(self.archived[stage] - found[stage], 'run')} into {STORES[stage]}"
            + _besides({"already there": found[stage], "failed": self.failed[stage]})
            for stage in stages
        ]
        if self.refreshed or self.not_refreshed:
            again = f"{wording.count(self.refreshed, 'changed record')} again"
            lines.append(again + _besides({"failed": self.not_refreshed}))
        return lines

    def add(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """Count these runs."""
        if stage == "refresh":
            self.refreshed += sum(outcome.archived for outcome in outcomes)
            self.not_refreshed += sum(not outcome.archived and not outcome.untried for outcome in outcomes)
            return
        self.found += sum(outcome.found for outcome in outcomes) if stage == "import" else 0
        self.archived[stage] += sum(outcome.archived for outcome in outcomes)
        self.failed[stage] += sum(not outcome.archived and not outcome.untried for outcome in outcomes)
        self.retries[stage] += retries(outcomes)
        self.stored += stored(outcomes)


def _besides(numbers: Mapping[str, int]) -> str:
    shown = ", ".join(f"{number} {what}" for what, number in numbers.items() if number)
    return f" ({shown})" if shown else ""


def retries(outcomes: Sequence[Outcome]) -> int:
    """How often these runs were tried again."""
    return sum(outcome.tries - 1 for outcome in outcomes)


def stored(outcomes: Sequence[Outcome]) -> int:
    """Bytes of these runs' blobs."""
    return sum(outcome.facts.size or 0 for outcome in outcomes if outcome.facts is not None)


@dataclass(frozen=True, slots=True)
class Ended:
    """A cycle that has just ended.

    stages: those it was asked for. seconds: its duration. fault: the error that ended it early, or all but the stages
    in `sound`. at: its end, seconds since 1970.
    """

    stages: tuple[Stage, ...]
    seconds: float
    tally: Tally = field(default_factory=Tally)
    fault: Exception | None = None
    at: float = field(default_factory=time.time)
    sound: tuple[Stage, ...] = ()

    @property
    def text(self) -> str:
        """How it ended, in one line."""
        if self.fault is not None:
            return str(self.fault)
        parts = self.tally.lines(self.tally.stages)
        return f"{', '.join(parts)} in {self.seconds:.1f} s" if parts else "nothing to do"
