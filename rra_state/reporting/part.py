"""The part of a report that is asked for: `--since` and `--stage`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rra_state.base.wording import utc
from rra_state.records.model import Remark
from rra_state.reporting import failures
from rra_state.reporting.assessment import Assessment
from rra_state.reporting.verdict import DISK
from rra_state.state.outcome import STORES, Stage
from rra_state.state.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Part:
    """since: seconds since 1970. stage: only this one. Verdict and sites are always those of the whole archive."""

    since: float | None = None
    stage: Stage | None = None

    def of(self, assessment: Assessment, snapshot: Snapshot) -> Assessment:
        """The assessment without older entries, and without those of the other stage."""
        found = assessment
        if self.since is not None:
            first = utc(self.since).date()
            found = replace(
                found,
                failures=failures.groups(snapshot, self.since),
                days=tuple(day for day in found.days if day.day >= first),
                remarks=replace(found.remarks, of_runs=self._late(found.remarks.of_runs, snapshot)),
            )
        if self.stage is not None:
            found = replace(
                found,
                gaps=tuple(gap for gap in found.gaps if gap.place in (DISK, STORES[self.stage])),
                failures=tuple(group for group in found.failures if group.stage == self.stage),
                counts=replace(found.counts, stages={self.stage: found.counts.stages[self.stage]}),
            )
        return found

    def _late(self, entries: Mapping[int, tuple[Remark, ...]], snapshot: Snapshot) -> dict[int, tuple[Remark, ...]]:
        """The entries of runs that were imported since then, or at an unknown time."""
        columns, since = snapshot.columns("import"), self.since or 0
        archived = columns.by_run(columns.archived)
        return {run: remarks for run, remarks in entries.items() if archived.get(run, since) >= since}


WHOLE = Part()
