"""Rebuild markers, state file and failure log of a stage from what the sites hold.

For state that was lost or damaged, and for runs that other programs archived. Every site is read before anything is
changed; content is not compared, so the markers made here say `verified: false`.
Source: docs/design/state.md, Recovery.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path

from rra_state.base import files, run_numbers
from rra_state.base.errors import ArchiverError, StateFileError
from rra_state.base.lock import Lock
from rra_state.base.wording import count, ranges
from rra_state.config.loading import Settings
from rra_state.state import lost_runs, shrunk_sites
from rra_state.state.markers import Tree
from rra_state.state.outcome import MARKER_DIFFERS, STAGES, STORES, Damaged, Facts, Failure, Marker, Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.state_files import Derived, Known, Ledger, StateFiles
from rra_state.stores import artdaqdb
from rra_state.stores.artdaqdb.base import Outline
from rra_state.stores.ucondb.client import UconDB
from rra_state.stores.ucondb.values import BlobVersion

log = logging.getLogger("rra")
Say = Callable[[str], None]

SMALL_BLOB = 8192
"""Bytes below which a blob can hardly be a whole run's: nothing but schema.fcl and a frame is 4 kB."""
NEEDED_DOCUMENTS = frozenset({"metadata", "RunHistory"})
"""Entities that every complete run has in artdaqDB."""
SHOWN = 10
_RULE = "=" * 70
_BATCH = 5000
"""Markers per write: one sync of the file system each, and no more than so many in memory."""


@dataclass(frozen=True, slots=True)
class _Words:
    """Texts of a stage's recovery. source, destination: what is done, where runs were found, the summary's label."""

    title: str
    source: tuple[str, str, str]
    destination: tuple[str, str, str]


_ARTDAQDB = ("Querying artdaqDB for available runs...", "in artdaqDB", "ArtdaqDB runs")
_WORDS: dict[Stage, _Words] = {
    "import": _Words(
        "IMPORT", ("Scanning filesystem for run records...", "in filesystem", "Filesystem runs"), _ARTDAQDB
    ),
    "migrate": _Words("MIGRATION", _ARTDAQDB, ("Querying UconDB for migrated runs...", "in UconDB", "UconDB runs")),
}


@dataclass
class RecoverySites:
    """The three sites, each read once, when it is first asked for. Raises ArchiverError.

    accept_loss: also a site that shrank.
    """

    settings: Settings
    accept_loss: bool = False

    @cached_property
    def snapshot(self) -> Snapshot:
        """Records and tree as they were before anything was changed."""
        return Snapshot.take(self.settings, accept_loss=self.accept_loss)

    @property
    def on_disk(self) -> frozenset[int] | None:
        """Runs on disk; None if the disk cannot be read."""
        return self.snapshot.on_disk if self.snapshot.source_error is None else None

    def _not_shrunk(self, name: str, stage: Stage, held: Set[int]) -> None:
        shrunk = shrunk_sites.store(name, stage, self.snapshot.archived[stage], held)
        if shrunk is not None and not self.accept_loss:
            raise shrunk

    @cached_property
    def artdaqdb(self) -> Mapping[int, Outline | None]:
        """Runs in artdaqDB; None where the index names a run but no document of it."""
        store, made = artdaqdb.open_store(self.settings.artdaq_db), self.settings.fhiclize_generate
        shown = store.runs()
        self._not_shrunk(store.describe(), "import", shown)
        needed = NEEDED_DOCUMENTS if made is None else NEEDED_DOCUMENTS & set(made)
        return dict.fromkeys(shown) | {outline.run: outline for outline in store.outlines(shown, needed)}

    @cached_property
    def ucondb(self) -> Mapping[int, BlobVersion]:
        """Runs in UconDB."""
        store = UconDB(self.settings.ucon_db)
        listed = store.versions()
        self._not_shrunk(store.describe(), "migrate", listed.keys())
        return listed

    def source(self, stage: Stage) -> Set[int]:
        """Runs that a stage has to archive."""
        return self.snapshot.records if stage == "import" else self.artdaqdb.keys()

    def archived(self, stage: Stage) -> Set[int]:
        """Runs that a stage has archived."""
        return self.artdaqdb.keys() if stage == "import" else self.ucondb.keys()

    def accepted(self, stage: Stage) -> frozenset[int]:
        """The same without the runs that failed because the store holds other content: a retry decides about them."""
        failures = self.snapshot.failures(stage).items()
        conflicts = {run for run, failure in failures if isinstance(failure, Failure) and failure.conflict}
        return frozenset(self.archived(stage)) - conflicts

    @cached_property
    def wrong_markers(self) -> frozenset[int]:
        """Runs of which only a marker is wrong, as a verification found. The next cycle verifies the new one."""
        found = self.snapshot.failures("verify").items()
        return frozenset(run for run, each in found if isinstance(each, Failure) and each.kind == MARKER_DIFFERS)

    @cached_property
    def outdated_refreshes(self) -> frozenset[int]:
        """Runs whose newest refresh UconDB does not hold: its content is another."""
        newest = {run: each for run, each in self.snapshot.newest_markers.items() if run in self.ucondb}
        return frozenset(
            run
            for run, each in newest.items()
            if isinstance(each, Damaged) or not _same_content(each.facts, "migrate", self.facts("migrate", run))
        )

    def facts(self, stage: Stage, run: int) -> Facts:
        """What the listings say of an archived run."""
        outline = self.artdaqdb.get(run)
        configuration, version = (outline.configuration.partition("/")[2], outline.version) if outline else (None,) * 2
        facts = Facts(verified=False, configuration=configuration, version=version)
        if stage == "import":
            return facts
        listed = self.ucondb[run]
        size, adler32, key = listed.size, listed.adler32, listed.data_key
        return replace(facts, size=size, adler32=adler32, ucondb_id=listed.id, ucondb_data_key=key)

    def incomplete(self, stage: Stage) -> set[int]:
        """Archived runs that can hardly be whole."""
        if stage == "migrate":
            return {run for run, version in self.ucondb.items() if version.size < SMALL_BLOB}
        return {run for run, outline in self.artdaqdb.items() if outline is None or not outline.whole}


def recover(settings: Settings, stages: Sequence[Stage], say: Say, sites: RecoverySites | None = None) -> None:
    """Rebuild what the archiver knows of these stages, and `say` the documented block of each.

    Raises ArchiverError: LockHeld, or a site that cannot be read, before anything is changed.
    """
    sites = sites or RecoverySites(settings)
    with Lock(settings.app.work_dir, settings.app.lock_file):
        for number, stage in enumerate(stages):
            if number:
                say("")
            _read(stage, stages, sites, say)
            _rebuild(settings, stage, sites, say)
        for stage in (stage for stage in STAGES if stage not in stages):
            _update_other_stage(settings, stage)


def _read(stage: Stage, stages: Sequence[Stage], sites: RecoverySites, say: Say) -> None:
    """The first part of the block, said while the sites are read; all of them before the first change."""
    words = _WORDS[stage]
    for line in (_RULE, f"{words.title} STATE RECOVERY", _RULE):
        say(line)
    try:
        for (doing, found, _), ask in ((words.source, sites.source), (words.destination, sites.archived)):
            say(doing)
            say(f"Found {count(len(ask(stage)), 'run')} {found}")
            say("")
        for each in stages:
            sites.source(each)
            sites.archived(each)
    except ArchiverError:
        say("Nothing was changed.")
        raise


def _rebuild(settings: Settings, stage: Stage, sites: RecoverySites, say: Say) -> None:
    """Markers first, state file and log last: an interrupted recovery is simply done again."""
    tree, written = Tree(settings.app.work_dir), StateFiles(settings, stage)
    archived = sites.accepted(stage)
    attempted = max(archived, default=0)
    tree.prepare()
    for path in (written.state_file, written.log_file):
        _keep_old(path)
    ledger = tree.note_path(stage)
    if _content(ledger) is None:  # a damaged one is overwritten; what is no file would be in the way
        _keep_old(ledger)
    if stage == "migrate":
        tree.remove_refreshes(sites.wrong_markers | sites.outdated_refreshes)
        _make_markers(tree, "import", sites)
    _make_markers(tree, stage, sites)
    if stage == "migrate":
        tree.write_findings((), sites.wrong_markers)
    lost = tree.archived(stage) - archived
    tree.remove_markers(stage, lost)
    tree.remove_failures(stage, _outdated_failures(tree, sites, stage, attempted))
    if (on_disk := sites.on_disk) is not None:
        nowhere = lost - on_disk - sites.artdaqdb.keys() - tree.archived("migrate")
        tree.write_failures(lost_runs.failures(nowhere))
        if stage == "import":
            lost_runs.notice(sites.snapshot.again())
    is_open = sites.snapshot.known(stage).is_open
    known = Known(frozenset(sites.source(stage)), archived, tree.failed(stage), is_open)
    derived = written.write(known, Ledger(attempted=attempted))
    _report(stage, sites, written, derived, say)
    if lost:
        log.warning(
            "removed the %s markers of runs that %s does not hold: %s", stage, STORES[stage], run_numbers.text(lost)
        )


def _report(stage: Stage, sites: RecoverySites, written: StateFiles, derived: Derived, say: Say) -> None:
    """The second part of the block, and what it does not show. Source: docs/design/state.md, Recovery output."""
    words, state = _WORDS[stage], derived.state
    missing = [run for run in derived.log if run in sites.source(stage)]
    gone = set(derived.log) - set(missing)
    for line in (
        f"Last attempted run: {state.last_attempted_run}",
        f"Last contiguous run: {state.last_contiguous_run}",
        "",
        f"Found {count(len(missing), 'missing run')} to add to failure log",
        f"✓ Written {written.state_file.name}",
        f"✓ Written {written.log_file.name} with {count(len(derived.log), 'run')}",
        "",
        _RULE,
        f"{words.title} STATE RECOVERY COMPLETE",
        f"  {words.source[2]}: {len(sites.source(stage))}",
        f"  {words.destination[2]}: {len(sites.archived(stage))}",
        f"  Last contiguous: {state.last_contiguous_run}",
        f"  Last attempted: {state.last_attempted_run}",
        f"  Missing runs: {len(missing)}",
        *preview(missing),
        _RULE,
    ):
        say(line)
    if gone:
        say(f"In the failure log, and not {words.source[1]} any more: {count(len(gone), 'run')}: {ranges(gone)}")
    incomplete = sites.incomplete(stage)
    if incomplete:
        why = "no metadata or RunHistory document" if stage == "import" else f"blob under {SMALL_BLOB} bytes"
        say(f"Runs in {STORES[stage]} that look incomplete ({why}): {run_numbers.text(incomplete)}")


def preview(missing: Sequence[int]) -> Iterator[str]:
    """The line that shows the first missing runs; none without one."""
    if missing:
        shown = [str(run) for run in islice(missing, SHOWN)] + ["..."] * (len(missing) > SHOWN)
        yield f"  Missing runs (preview): [{', '.join(shown)}]"


def _make_markers(tree: Tree, stage: Stage, sites: RecoverySites) -> None:
    """Markers for archived runs without one, or with one that says other things than the store."""
    held, present = sites.accepted(stage), tree.archived(stage)
    agree = {run for run, marker in tree.markers(stage, held & present) if _agrees(sites, stage, run, marker)}
    needed = iter(sorted(held - agree))
    while batch := list(islice(needed, _BATCH)):
        first = Marker.of(stage, batch[0], sites.facts(stage, batch[0]))
        made = (first.stage, first.archived, first.archiver, first.host)
        tree.write_markers(Marker(run, *made, sites.facts(stage, run)) for run in batch)


def _agrees(sites: RecoverySites, stage: Stage, run: int, marker: Marker | Damaged) -> bool:
    """Whether the marker of a run, or that of its last refresh, is sound and names what the store holds."""
    if run in sites.wrong_markers or isinstance(marker, Damaged) or (marker.run, marker.stage) != (run, stage):
        return False
    if stage == "migrate" and run in sites.outdated_refreshes:
        return False
    facts, refreshed = sites.facts(stage, run), sites.snapshot.newest_markers.get(run)
    again = isinstance(refreshed, Marker) and _same_content(refreshed.facts, stage, facts)
    return again or _same_content(marker.facts, stage, facts)


def _same_content(marked: Facts, stage: Stage, facts: Facts) -> bool:
    """Whether a marker and the store agree in what identifies the content."""
    if stage == "import":
        return facts.version in (None, marked.version)
    known = ((facts.ucondb_id, marked.ucondb_id), (facts.size, marked.size), (facts.adler32, marked.adler32))
    return all(stored in (None, named) for stored, named in known)


def _outdated_failures(tree: Tree, sites: RecoverySites, stage: Stage, attempted: int) -> set[int]:
    """Runs whose failure record says nothing any more: archived, not attempted yet, or damaged.

    Of a run that is nowhere any more it is the only trace, and stays.
    """
    archived, there = sites.accepted(stage), (sites.on_disk or frozenset()) | sites.source(stage)
    return {
        run
        for run, failure in tree.failures(stage, tree.failed(stage))
        if run in archived or (run in there and (run > attempted or isinstance(failure, Damaged)))
    }


def _keep_old(path: Path) -> None:
    """Copy a file to `<name>.bak`, or move it there if it is no file that can be read. Raises StateFileError."""
    kept = path.with_name(f"{path.name}.bak")
    try:
        content = _content(path)
        if content is not None:
            files.write_atomic(kept, content)
        elif path.is_symlink() or path.exists():
            number = 2
            while kept.is_symlink() or kept.exists():
                kept, number = path.with_name(f"{path.name}.bak{number}"), number + 1
            files.move(path, kept)
    except OSError as error:
        reason = error.strerror or str(error)
        raise StateFileError(f"cannot be kept as {kept.name}: {reason}", path=path, hint="move it away") from error


def _content(path: Path) -> bytes | None:
    """The bytes of a regular file; None for anything that cannot be read as one."""
    try:
        return path.read_bytes() if path.is_file() else None
    except OSError:
        return None


def _update_other_stage(settings: Settings, stage: Stage) -> None:
    """Update the other stage's state file and log for the new markers, as the next cycle would.

    An error here is only logged: the recovery itself succeeded.
    """
    try:
        StateFiles(settings, stage).update(Snapshot.take(settings).known(stage))
    except ArchiverError as error:
        log.warning("%s state is as it was: %s", stage, error)
