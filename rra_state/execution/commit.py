"""The driver's part of a chunk: make imported runs visible, then write markers and failure records.

Runs in one process at a time. Order matters: documents are durable before the index, the index before the markers.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rra_state.base.errors import ArchiverError, WorkDirError
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Failure, Marker, Outcome, Stage
from rra_state.stores.artdaqdb.base import ArtdaqDB

log = logging.getLogger("rra")


class Settler:
    """Turns what workers found out into what the archive and the marker tree say."""

    def __init__(self, tree: Tree, artdaqdb: ArtdaqDB) -> None:
        self._tree = tree
        self._artdaqdb = artdaqdb

    def settle(self, stage: Stage, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Record these outcomes durably; give them back as they finally are.

        A fault of the place (index or work directory not writable) turns those it kept from being recorded into
        untried ones.
        """
        final = {outcome.run: outcome for outcome in outcomes}
        try:
            if stage == "import":
                self._artdaqdb.publish([o.staged for o in outcomes if o.archived and o.staged and o.staged.changed])
            self._mark(stage, [outcome for outcome in outcomes if outcome.archived])
        except ArchiverError as error:
            final |= _untried([outcome for outcome in outcomes if outcome.archived], error)
        failed = [outcome for outcome in outcomes if not outcome.archived and not outcome.untried]
        try:
            self._tree.write_failures(
                Failure.of(stage, outcome, self._before(stage, outcome.run)) for outcome in failed
            )
        except ArchiverError as error:
            final |= _untried(failed, error)
        return list(final.values())

    def _mark(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        archived = [(o.run, self._complete(stage, o.run, o.facts)) for o in outcomes if o.facts]
        self._tree.write_markers(
            (Marker.of(stage, run, facts) for run, facts in archived),
            watch=[run for run, facts in archived if stage == "import" and facts.verified and not facts.stop_time],
        )

    def _before(self, stage: Stage, run: int) -> Failure | None:
        """The earlier failure record. A damaged one counts as none: it is about to be replaced."""
        try:
            return self._tree.failure(stage, run)
        except WorkDirError as error:
            log.warning("%s; it is written anew", error.message)
            return None

    def _complete(self, stage: Stage, run: int, facts: Facts) -> Facts:
        """Give a migration's marker what only the import knew of the record."""
        if stage == "import":
            return facts
        imported = self._tree.marker("import", run)
        return facts if imported is None else facts.completed(imported.facts)


def _untried(outcomes: Sequence[Outcome], error: ArchiverError) -> dict[int, Outcome]:
    """These outcomes, not recorded because of a fault of the place. Raises any other error."""
    if not error.stops_cycle:
        raise error
    return {outcome.run: Outcome(outcome.run, error=error) for outcome in outcomes}
