"""The driver's part of a chunk: make imported runs visible, then write markers and failure records.

Runs in one process at a time. Order matters: documents are durable before the index, the index before the markers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rra_state.errors import ArchiverError
from rra_state.markers import Tree
from rra_state.outcome import Facts, Failure, Marker, Outcome, Stage
from rra_state.stores.artdaqdb.base import ArtdaqDB


class Settler:
    """Turns what workers found out into what the archive and the marker tree say."""

    def __init__(self, tree: Tree, artdaqdb: ArtdaqDB) -> None:
        self._tree = tree
        self._artdaqdb = artdaqdb

    def settle(self, stage: Stage, outcomes: Sequence[Outcome]) -> list[Outcome]:
        """Record these outcomes durably; give them back as they finally are.

        A fault of the place (index or work directory not writable) turns every outcome it touches into an untried one.
        """
        try:
            if stage == "import":
                self._artdaqdb.publish([o.staged for o in outcomes if o.archived and o.staged and o.staged.changed])
            self._write(stage, outcomes)
        except ArchiverError as error:
            if not error.stops_cycle:
                raise
            return [replace(outcome, error=error, facts=None) for outcome in outcomes]
        return list(outcomes)

    def _write(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        archived = [(o.run, self._complete(stage, o.run, o.facts)) for o in outcomes if o.archived and o.facts]
        self._tree.write_markers(
            (Marker.of(stage, run, facts) for run, facts in archived),
            watch=[run for run, facts in archived if stage == "import" and facts.verified and not facts.stop_time],
        )
        failed = [outcome for outcome in outcomes if not outcome.archived and not outcome.untried]
        self._tree.write_failures(
            Failure.of(stage, outcome, self._tree.failure(stage, outcome.run)) for outcome in failed
        )

    def _complete(self, stage: Stage, run: int, facts: Facts) -> Facts:
        """Give a migration's marker what only the import knew of the record."""
        if stage == "import":
            return facts
        imported = self._tree.marker("import", run) or {}
        names = ("config_name", "fingerprint", "start_time", "stop_time", "kept")
        return replace(facts, **{name: imported[name] for name in names if imported.get(name)})
