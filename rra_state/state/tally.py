"""What a cycle did, in numbers: runs archived and failed, tries that had to be repeated, bytes stored."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from rra_state.state.outcome import STAGES, Outcome, Stage


def _none_yet() -> dict[Stage, int]:
    return dict.fromkeys(STAGES, 0)


@dataclass(slots=True)
class Tally:
    """Numbers per stage. retries: tries of a run beyond its first. stored: bytes put into UconDB."""

    archived: dict[Stage, int] = field(default_factory=_none_yet)
    failed: dict[Stage, int] = field(default_factory=_none_yet)
    retries: dict[Stage, int] = field(default_factory=_none_yet)
    stored: int = 0

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The stages in which a run was tried."""
        return tuple(stage for stage in STAGES if self.archived[stage] or self.failed[stage])

    def add(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """Count these runs."""
        self.archived[stage] += sum(outcome.archived for outcome in outcomes)
        self.failed[stage] += sum(not outcome.archived and not outcome.untried for outcome in outcomes)
        self.retries[stage] += retries(outcomes)
        self.stored += stored(outcomes)


def retries(outcomes: Sequence[Outcome]) -> int:
    """How often these runs were tried again."""
    return sum(outcome.tries - 1 for outcome in outcomes)


def stored(outcomes: Sequence[Outcome]) -> int:
    """Bytes of these runs' blobs."""
    return sum(outcome.facts.size or 0 for outcome in outcomes if outcome.facts is not None)
