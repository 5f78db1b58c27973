"""`--restore`: write records as the DAQ wrote them, from the stores; and the drill of `--verify`, which tries that.

Source: docs/design/state.md, Getting records back.
"""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from rra_state.base import run_numbers
from rra_state.base.errors import RecordError
from rra_state.base.wording import count, printable, readable
from rra_state.config.loading import Settings
from rra_state.cycle import display
from rra_state.execution import restore as execution
from rra_state.state.markers import Tree
from rra_state.workers.record_copies import RecordCopy, read_copy
from rra_state.workers.restore_stage import RestoredRun, read_directory
from rra_state.workers.worker import WorkerContext


@dataclass(slots=True)
class Restored:
    """The runs by result: restored byte for byte, restored otherwise, there before (one of these two), not restored."""

    exact: set[int] = field(default_factory=set)
    inexact: set[int] = field(default_factory=set)
    already: set[int] = field(default_factory=set)
    missing: set[int] = field(default_factory=set)

    def add(self, found: RestoredRun) -> None:
        """Add the result of one run."""
        runs = self.missing if found.copy is None else self.exact if found.copy.exact else self.inexact
        runs.add(found.run)
        if found.already:
            self.already.add(found.run)


def restore(
    settings: Settings, named: str, directory: Path, source: str, print_line: Callable[[str], None]
) -> Restored:
    """Restore the runs that `named` names, and print what of them is not byte for byte. Raises ArchiverError."""
    sources = execution.SOURCES[source]
    known = execution.archived(settings, run_numbers.parse(named), sources)
    done = Restored(missing=run_numbers.wrongly_named(named, known))
    if done.missing:
        print_line(f"not archived, so there is nothing to restore: {run_numbers.text(done.missing)}")
    chosen = sorted(known)
    with display.progress("restored", len(chosen)) as advance:
        for found in execution.results(settings, chosen, directory, sources):
            advance()
            done.add(found)
            for sentence in found.sentences:
                print_line(f"run {found.run}: {printable(sentence)}")
    here = done.exact | done.inexact
    before = f" ({len(done.already)} there before)" if done.already else ""
    print_line(f"{count(len(here), 'run')} in {directory}{before}: {len(done.exact)} byte for byte")
    for text, runs in (("not byte for byte, see above", done.inexact), ("not restored", done.missing)):
        if runs:
            print_line(f"{text}: {run_numbers.text(runs)}")
    return done


def drill(settings: Settings, wanted: Callable[[int], bool], number: int, print_line: Callable[[str], None]) -> bool:
    """Restore so many random runs into a temporary directory and compare them with their records on disk.

    Without a record on disk only the marker's fingerprint is compared. Return whether every run was restored as it was
    archived; files of which a store has only the values are reported and are no failure. Raises ArchiverError.
    """
    archived = sorted(filter(wanted, Tree(settings.app.work_dir).archived("migrate")))
    chosen = sorted(random.sample(archived, min(number, len(archived))))
    context, wrong = WorkerContext(settings), set[int]()
    with tempfile.TemporaryDirectory(prefix="rra-drill-") as directory:
        for found in execution.results(settings, chosen, Path(directory), execution.SOURCES["best"]):
            files = read_directory(Path(directory, str(found.run)))
            differing = [] if found.copy is None else _differing(replace(found.copy, files=files or {}), context)
            for sentence in (*found.sentences, *differing):
                print_line(f"run {found.run}: {printable(sentence)}")
            if found.copy is None or found.refused or found.copy.problems or (differing and not found.copy.exact):
                wrong.add(found.run)
    failed = f", not as archived: {run_numbers.text(wrong)}" if wrong else ", all as archived"
    print_line(f"restored {count(len(chosen), 'run')} to try it ({run_numbers.text(chosen) or '-'}){failed}")
    return not wrong


def _differing(restored: RecordCopy, context: WorkerContext) -> list[str]:
    """How the record on disk, if there is one, differs from a restored one. An exact copy must have all its files."""
    try:
        disk = read_copy(restored.run, "disk", context)
    except RecordError as error:
        return [f"disk: {error.message}"]
    if disk is None:
        return []
    names = {name for name in restored.files if restored.files[name] != disk.files.get(name)} - restored.by_value
    if restored.exact:
        names |= disk.files.keys() - restored.files.keys()
    return [f"disk: {readable(name)} is not what was restored" for name in sorted(names)]
