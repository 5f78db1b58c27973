"""When a cycle last went well, and counts over all cycles. They are kept in the note `state/cycles.json`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

import pydantic

from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Stage
from rra_state.state.tally import Ended

NOTE = "cycles"


@dataclass(frozen=True)
class History:
    """All cycles since the work directory was made, with the last one.

    began: end of the first cycle. succeeded: per stage the end of the last cycle that no error of a site ended early.
    totals: sums over all cycles, by name and stage.
    """

    began: float
    succeeded: Mapping[Stage, float] = field(default_factory=dict)
    totals: Mapping[str, Mapping[Stage, int]] = field(default_factory=dict)

    def silent_since(self, stage: Stage) -> float:
        """Since when no cycle went well in this stage, in seconds since 1970."""
        return self.succeeded.get(stage, self.began)


_HISTORY = pydantic.TypeAdapter(History)


def record(tree: Tree, ended: Ended) -> History:
    """Add this cycle to the note. Raises WorkDirError if it cannot be written."""
    history = after(tree, ended)
    tree.write_note(NOTE, asdict(history))
    return history


def after(tree: Tree, ended: Ended) -> History:
    """The history with this cycle in it. A missing or damaged note counts as none."""
    try:
        before = _HISTORY.validate_python(tree.note(NOTE))
    except pydantic.ValidationError:
        before = History(ended.at)
    succeeded = dict(before.succeeded)
    succeeded |= dict.fromkeys(ended.stages if ended.fault is None else ended.sound, ended.at)
    tally = ended.tally
    counted: dict[str, Mapping[Stage, int]] = {
        "archived": tally.archived,
        "failed": tally.failed,
        "retries": tally.retries,
        "stored": {"migrate": tally.stored},
    }
    totals = {
        name: {
            stage: before.totals.get(name, {}).get(stage, 0) + numbers[stage] for stage in STAGES if stage in numbers
        }
        for name, numbers in counted.items()
    }
    return History(before.began, succeeded, totals)
