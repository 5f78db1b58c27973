"""Commit a chunk: publish imported runs in artdaqDB, then write markers and failure records.

One process does this at a time. Documents are durable before the index is written, the index before the markers.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

from rra_state.base.errors import ArchiverError, StillArriving, WorkDirError
from rra_state.state import newer_versions
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import ARRIVING, Tree
from rra_state.state.outcome import Facts, Failure, Marker, Outcome, Stage
from rra_state.stores.artdaqdb.base import ArtdaqDB

log = logging.getLogger("rra")


class Committer:
    """Writes the workers' outcomes into the index of artdaqDB and into the marker tree."""

    def __init__(self, tree: Tree, artdaqdb: ArtdaqDB) -> None:
        self.tree = tree
        self._artdaqdb = artdaqdb

    def commit(self, stage: Stage, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Record these outcomes durably; return what became of them.

        If the index or the work directory cannot be written, the outcomes that are not recorded become untried.
        """
        final = {outcome.run: outcome for outcome in outcomes}
        try:
            if stage == "import":
                self._artdaqdb.publish([o.staged for o in outcomes if o.archived and o.staged and o.staged.changed])
            archived = [(o.run, self._complete(stage, o.run, o.facts)) for o in outcomes if o.archived and o.facts]
            self.tree.write_markers(
                (Marker.of(stage, run, facts) for run, facts in archived),
                watch=[run for run, facts in archived if stage == "import" and facts.verified],
            )
        except ArchiverError as error:
            final |= _untried([outcome for outcome in outcomes if outcome.archived], error)
        failed = [outcome for outcome in outcomes if not outcome.archived and not outcome.untried]
        try:
            self._note_arriving(final.values())
            self.tree.write_failures(
                Failure.of(stage, outcome, self._earlier_failure(stage, outcome.run)) for outcome in failed
            )
        except ArchiverError as error:
            final |= _untried(failed, error)
        return list(final.values())

    def publish_refreshes(self, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Publish the new versions of changed records; if the store fails, they become untried."""
        staged = [each.staged for each in outcomes if each.staged and each.staged.changed]
        try:
            if staged:
                newer_versions.begin(self.tree, {each.location.run: each.location.version for each in staged})
            self._artdaqdb.publish(staged)
        except ArchiverError as error:
            return list(_untried(outcomes, error).values())
        return list(outcomes)

    def commit_refresh(self, wanted: Refresh, outcome: Outcome) -> Outcome:
        """Record the outcome of a refresh durably; return what became of it."""
        name = str(wanted)
        try:
            if outcome.facts is not None and outcome.archived:
                self.tree.write_refresh(Marker.of("refresh", outcome.run, outcome.facts), name)
            elif not outcome.untried:
                earlier = self._earlier_failure("refresh", name)
                self.tree.write_failed_refresh(Failure.of("refresh", outcome, earlier), name)
        except ArchiverError as error:
            return _untried([outcome], error)[outcome.run]
        return outcome

    def _earlier_failure(self, stage: Stage, name: int | str) -> Failure | None:
        """The earlier failure record; a damaged one counts as none, since it is about to be replaced."""
        try:
            return self.tree.failure(stage, name)
        except WorkDirError as error:
            log.warning("%s; it is written anew", error.message)
            return None

    def _note_arriving(self, outcomes: Iterable[Outcome]) -> None:
        """Update the list of runs that another program is still storing: add runs found so, remove other runs tried."""
        noted = self.tree.noted_runs(ARRIVING) or frozenset()
        tried = {each.run for each in outcomes if not each.untried}
        arriving = (noted - tried) | {each.run for each in outcomes if isinstance(each.error, StillArriving)}
        if arriving != noted:
            self.tree.write_noted_runs(ARRIVING, arriving)

    def _complete(self, stage: Stage, run: int, facts: Facts) -> Facts:
        """Add to a migration's facts what only the marker of the same version in artdaqDB holds."""
        if stage == "import" or (imported := self.tree.marker("import", run)) is None:
            return facts
        if imported.facts.version in (None, facts.version):
            return facts.completed(imported.facts)
        refreshed = self.tree.newest_refresh(run)  # UconDB lost the run after it was archived again
        if refreshed is not None and refreshed.facts.version == facts.version:
            return facts.completed(refreshed.facts)
        return facts.completed(replace(imported.facts, fingerprint=None))


def _untried(outcomes: Sequence[Outcome], error: ArchiverError) -> dict[int, Outcome]:
    """These outcomes as untried ones, if `error` stops the cycle. Raises any other error."""
    if not error.stops_cycle:
        raise error
    return {outcome.run: Outcome(outcome.run, error=error) for outcome in outcomes}
