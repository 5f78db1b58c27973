"""Verify archived runs in worker processes, and write the findings, and the markers that are now `verified`.

For `--verify`, and for the end of a cycle, which verifies runs that were not compared yet.
Source: docs/design/state.md, Verification and findings.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from rra_state.base.errors import NotListed
from rra_state.base.wording import count, ranges
from rra_state.config.loading import Settings
from rra_state.execution.pool import in_chunks
from rra_state.state.changed_records import is_recent
from rra_state.state.markers import UNVERIFIED, WITHOUT_RECORD, Tree
from rra_state.state.outcome import NOT_LISTED, Facts, Failure, Finding, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.stores import artdaqdb
from rra_state.workers.verify_stage import RunVerification, verify_runs

CHUNK = 20
"""Runs handed to a worker at once by a verification."""

log = logging.getLogger("rra")


@dataclass(slots=True)
class Verified:
    """The results of a verification. equal: runs without a difference. facts: for their markers, by run.

    equal_to_record: those of them whose record is on disk. before: the findings of earlier verifications.
    """

    before: Mapping[int, object] = field(default_factory=dict)
    equal: set[int] = field(default_factory=set)
    equal_to_record: set[int] = field(default_factory=set)
    findings: dict[int, Finding] = field(default_factory=dict)
    facts: dict[int, Mapping[Stage, Facts]] = field(default_factory=dict)

    def add(self, found: RunVerification) -> None:
        """Add the result of one run."""
        if found.differences:
            before = self.before.get(found.run)
            earlier = before if isinstance(before, Failure) else None
            self.findings[found.run] = Finding.found(found.run, found.kind, found.differences, earlier)
        else:
            self.equal.add(found.run)
            if found.on_disk:
                self.equal_to_record.add(found.run)
            if found.facts:
                self.facts[found.run] = found.facts

    def write_findings(self, tree: Tree) -> None:
        """Write the findings; remove the earlier ones of runs that are equal again. Raises WorkDirError."""
        right = self.before.keys() & self.equal  # not a finding that a cycle wrote meanwhile
        if self.findings or right:
            tree.prepare()
            tree.write_findings(self.findings.values(), right)

    def complete_markers(self, settings: Settings) -> int:
        """Complete the markers of equal runs; return how many. The caller holds the lock. Raises WorkDirError.

        Their records are watched from now on if they may still change.
        """
        tree = Tree(settings.app.work_dir)
        incomplete = [
            (stored, known)
            for run, by_stage in self.facts.items()
            for stage, known in by_stage.items()
            if (stored := tree.newest_refresh(run) if stage == "refresh" else tree.marker(stage, run)) is not None
            and (not stored.facts.verified or (stored.facts.without_record and known.fingerprint))
        ]
        for stored, known in incomplete:
            if stored.stage == "refresh":
                tree.complete_refresh(stored, known)
        markers = [replace(stored, facts=known) for stored, known in incomplete if stored.stage != "refresh"]
        watch = [
            each.run
            for each in markers
            if each.stage == "import"
            and each.facts.fingerprint
            and (not each.facts.stop_time or is_recent(settings.source_files, each.run))
        ]
        tree.write_markers(markers, watch)
        for note, done in ((UNVERIFIED, self.equal), (WITHOUT_RECORD, self.equal_to_record)):
            noted = tree.noted_runs(note)
            if noted and noted & done:
                tree.write_noted_runs(note, noted - done)
        return len(incomplete)


def results(
    settings: Settings, chosen: Sequence[int], listed: Collection[int] | None = None
) -> Iterator[RunVerification]:
    """Verify these runs; yield each result as soon as it is there. listed: the runs that UconDB lists, if it was asked.

    Raises ArchiverError as soon as a store cannot be read.
    """
    store, tree = artdaqdb.open_store(settings.artdaq_db), Tree(settings.app.work_dir)
    unlisted = frozenset[int]() if listed is None else tree.archived("migrate") - frozenset(listed)
    for found in in_chunks(
        settings, chosen, CHUNK, lambda pool, numbers: pool.submit(verify_runs, numbers, store.locate(numbers))
    ):
        if found.error is not None:
            raise found.error
        if found.run in unlisted and not any(each.startswith("UconDB") for each in found.differences):
            yield replace(found, kind=NOT_LISTED, differences=(str(NotListed()), *found.differences))
        else:
            yield found


def verify_some(snapshot: Snapshot) -> tuple[int, Snapshot]:
    """Verify at most `verify_per_cycle` runs: those that were never compared first, then those with a finding.

    Return the number of new findings, and the snapshot after it. The caller holds the lock.
    Raises ArchiverError.
    """
    settings, tree, noted = snapshot.settings, snapshot.tree, snapshot.tree.noted_runs(UNVERIFIED)
    never = snapshot.unverified | snapshot.uncompared if noted is None else noted
    if noted is None:  # the markers are of an older version
        tree.write_noted_runs(UNVERIFIED, never)
    never |= snapshot.on_disk & (tree.noted_runs(WITHOUT_RECORD) or frozenset())
    order = sorted(never & snapshot.archived["migrate"] - snapshot.findings) + sorted(snapshot.findings)
    chosen = order[: settings.app.verify_per_cycle]
    if not chosen:
        return 0, snapshot
    done = Verified(snapshot.failures("verify"))
    for found in results(settings, chosen):
        done.add(found)
    done.write_findings(tree)
    completed = done.complete_markers(settings)
    if completed:
        log.info("read back and compared: %s", count(len(done.facts), "run"))
    if right := done.before.keys() & done.equal:
        log.info("right again: %s", ranges(right))
    new = [finding for run, finding in done.findings.items() if run not in done.before]
    for finding in new:
        log.error("run %d: %s", finding.run, finding.message)
    return len(new), snapshot.again()
