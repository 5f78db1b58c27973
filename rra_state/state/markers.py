"""The marker tree: which runs are archived, which failed and why, which are watched. It is the truth about progress.

    markers/<stage>/<run>.json   failures/<stage>/<run>.json   watch/<run>   state/<stage>.json
    markers/refresh/<run>-<fingerprint>.json   failures/refresh/<run>-<fingerprint>.json
    findings/<run>.json   forgotten/<run>

Knows the names of these files; their fields are defined in `outcome.py`, what follows from them in `state_files.py`.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from rra_state.base import files as fsio
from rra_state.base import permissions, run_numbers
from rra_state.base.errors import UsageError, WorkDirError
from rra_state.state import tree_files
from rra_state.state.outcome import STAGES, Damaged, Facts, Failure, Finding, Marker, MarkerColumns, Stage
from rra_state.state.tree_files import SUFFIX, encode

SEEN = "seen"
"""Name of the note with the runs that were on disk and not imported when the last cycle began: `state/seen.json`."""
ON_DISK = "on_disk"
"""Name of the note with the records' directory and its runs when the last cycle began: `state/on_disk.json`."""
UNVERIFIED = "unverified"
"""Name of the note with the runs of which a marker may say `verified: false`: `state/unverified.json`."""
WITHOUT_RECORD = "without_record"
"""Name of the note with the runs that were verified while their record was away: `state/without_record.json`."""
ARRIVING = "arriving"
"""Name of the note with the runs that another program is still storing in artdaqDB: `state/arriving.json`."""

_ONCE = b"once\n"
"""Content of `watch/<run>` if the record is to be compared once; else the file is empty."""
_STAGES: tuple[Stage, ...] = (*STAGES, "refresh")


class Tree:
    """The marker tree below one work directory. Reading never creates anything."""

    def __init__(self, work_dir: Path) -> None:
        self.root = work_dir
        self._markers = {stage: work_dir / "markers" / stage for stage in _STAGES}
        self._failures = {stage: work_dir / "failures" / stage for stage in _STAGES}

    def marker_path(self, stage: Stage, run: int | str) -> Path:
        """`markers/<stage>/<run>.json`. run: of a refresh its name."""
        return self._markers[stage] / f"{run}{SUFFIX}"

    def failure_path(self, stage: Stage, run: int | str) -> Path:
        """`failures/<stage>/<run>.json`, likewise."""
        return self._failures[stage] / f"{run}{SUFFIX}"

    @property
    def directories(self) -> list[Path]:
        """Every directory in which a cycle writes."""
        by_stage = [f"{kind}/{stage}" for kind in ("markers", "failures") for stage in _STAGES]
        return [self.root / name for name in ("state", "watch", "findings", "forgotten", *by_stage)]

    def prepare(self) -> None:
        """Make the directories, and check that no other account can change them. Raises WorkDirError."""
        for directory in self.directories:
            with tree_files.writing(self.root):
                fsio.make_directory(directory)
        with tree_files.writing(self.root):
            permissions.check_tree(self.root)

    def remove(self, paths: Iterable[Path]) -> None:
        """Remove files of the tree, present or not, durably. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.remove_batch(paths)

    def names(self, directory: str) -> list[str]:
        """The entries of a directory such as `markers/import`; none if it is missing. Raises WorkDirError."""
        return tree_files.names(self.root / directory)

    def archived(self, stage: Stage) -> set[int]:
        """Runs with a marker. One directory listing, nothing opened. Raises WorkDirError."""
        return run_numbers.numbers(tree_files.names(self._markers[stage]), SUFFIX)

    def failed(self, stage: Stage) -> set[int]:
        """Runs with a failure record, likewise."""
        return run_numbers.numbers(tree_files.names(self._failures[stage]), SUFFIX)

    def marker(self, stage: Stage, run: int | str) -> Marker | None:
        """The marker of a run, or of a refresh by its name; None if there is none. Raises WorkDirError if damaged."""
        return tree_files.read(self.marker_path(stage, run), Marker.parse)

    def failure(self, stage: Stage, run: int | str) -> Failure | None:
        """The failure record of a run or refresh, likewise."""
        return tree_files.read(self.failure_path(stage, run), Failure.parse)

    def markers(self, stage: Stage, chosen: Iterable[int]) -> Iterator[tuple[int, Marker | Damaged]]:
        """The markers of these runs, ascending; those that are gone are left out. Raises WorkDirError."""
        return tree_files.parsed(self._markers[stage], chosen, Marker.parse)

    def failures(self, stage: Stage, chosen: Iterable[int]) -> Iterator[tuple[int, Failure | Damaged]]:
        """The failure records of these runs, likewise."""
        return tree_files.parsed(self._failures[stage], chosen, Failure.parse)

    def columns(self, stage: Stage, chosen: Iterable[int]) -> MarkerColumns:
        """The markers of these runs field by field: of 100,000 runs in half of the time that `markers` takes."""
        columns, directory = MarkerColumns(), self._markers[stage]
        for run, content in tree_files.contents(directory, chosen):
            try:
                columns.append(run, tree_files.values(directory / f"{run}{SUFFIX}", content))
            except (ValueError, WorkDirError) as error:
                columns.append_damaged(tree_files.damaged(directory, run, error))
        return columns

    def watched(self) -> set[int]:
        """Archived runs whose record is looked at again. Raises WorkDirError."""
        return run_numbers.numbers(self.names("watch"))

    def watched_since(self, run: int) -> float:
        """When the watch of a run began, seconds since 1970; 0 if it is to be compared once. Raises WorkDirError."""
        path = self.root / "watch" / str(run)
        try:
            status = path.stat()
        except FileNotFoundError:
            return 0.0
        except OSError as error:
            raise tree_files.unreadable(path, error) from error
        return 0.0 if status.st_size else status.st_mtime

    def write_markers(self, markers: Iterable[Marker], watch: Iterable[int] = ()) -> None:
        """Write markers durably, then drop the failure records of their runs. Raises WorkDirError."""
        written: dict[Stage, set[int]] = {}
        markers = list(markers)
        self._note_unverified(markers)
        without_record = {each.run for each in markers if each.stage == "migrate" and each.facts.without_record}
        if without_record:
            self.write_noted_runs(WITHOUT_RECORD, without_record | (self.noted_runs(WITHOUT_RECORD) or frozenset()))

        def files() -> Iterator[tuple[Path, bytes]]:
            for run in watch:
                yield self.root / "watch" / str(run), b""
            for marker in markers:
                written.setdefault(marker.stage, set()).add(marker.run)
                yield self.marker_path(marker.stage, marker.run), encode(marker.mapping())

        with tree_files.writing(self.root):
            for marker in markers:
                if marker.stage == "migrate":
                    _set_back(self.marker_path("import", marker.run))
            fsio.write_batch(files())
            for stage, done in written.items():
                fsio.remove_batch(self.failure_path(stage, run) for run in done & self.failed(stage))

    def compare_once(self, runs: Iterable[int]) -> None:
        """Have the next look compare the records of archived runs, whatever `watch_days` is. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.write_batch((self.root / "watch" / str(run), _ONCE) for run in runs)

    def _note_unverified(self, markers: Iterable[Marker]) -> None:
        unverified, noted = {marker.run for marker in markers if not marker.facts.verified}, self.noted_runs(UNVERIFIED)
        if unverified and noted is not None:  # without the note all markers are read
            self.write_noted_runs(UNVERIFIED, unverified | noted)

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Write failure records durably. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.write_batch((self.failure_path(f.stage, f.run), encode(f.mapping())) for f in failures)

    def remove_markers(self, stage: Stage, gone: Iterable[int]) -> None:
        """Remove the markers of runs that the store does not hold. Raises WorkDirError."""
        self.remove(self.marker_path(stage, run) for run in gone)

    def remove_failures(self, stage: Stage, gone: Iterable[int]) -> None:
        """Remove failure records. Raises WorkDirError."""
        self.remove(self.failure_path(stage, run) for run in gone)

    # ---- what verifications found ----

    def findings(self) -> set[int]:
        """Runs with a finding. One directory listing. Raises WorkDirError."""
        return run_numbers.numbers(self.names("findings"), SUFFIX)

    def found(self, chosen: Iterable[int]) -> dict[int, Failure | Damaged]:
        """The findings of these runs. Raises WorkDirError."""
        return dict(tree_files.parsed(self.root / "findings", chosen, Finding.parse))

    def write_findings(self, findings: Iterable[Finding], right: Iterable[int]) -> None:
        """Write findings durably, and remove those of runs that are right. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.write_batch((self._finding(each.run), encode(each.mapping())) for each in findings)
            fsio.remove_batch(map(self._finding, self.findings() & set(right)))

    # ---- lost runs that a person has given up ----

    def forgotten(self) -> set[int]:
        """Lost runs that are reported no more. Raises WorkDirError."""
        return run_numbers.numbers(self.names("forgotten"))

    def forget(self, runs: Iterable[int]) -> None:
        """Write down durably that these are given up, then drop their failure records. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.write_batch((self.root / "forgotten" / str(run), b"") for run in runs)
        for stage in STAGES:
            self.remove_failures(stage, self.failed(stage) & set(runs))

    # ---- refreshes: the name of one is `<run>-<fingerprint>`, see `changed_records.Refresh` ----

    def refreshed(self) -> dict[int, set[str]]:
        """What refresh markers there are, by run: beginnings of fingerprints. One listing. Raises WorkDirError."""
        found: dict[int, set[str]] = {}
        for name in _refreshes(self.names("markers/refresh")):
            run, _, fingerprint = name.partition("-")
            found.setdefault(int(run), set()).add(fingerprint)
        return found

    def failed_refreshes(self) -> set[str]:
        """Names of the refreshes with a failure record. Raises WorkDirError."""
        return set(_refreshes(self.names("failures/refresh")))

    def newest_refresh(self, run: int, fingerprints: Iterable[str] | None = None) -> Marker | None:
        """The refresh marker of the newest blob of a run; None if there is none. Raises WorkDirError.

        fingerprints: those that `refreshed` gives for the run, if that was asked.
        """
        if fingerprints is None:
            fingerprints = self.refreshed().get(run, ())
        return newest(*(self.marker("refresh", f"{run}-{fingerprint}") for fingerprint in fingerprints))

    def write_refresh(self, marker: Marker, name: str) -> None:
        """Write the marker of a refresh durably, then drop the run's failure records of refreshes. Raises WorkDirError.

        A watch begins anew: a record that changed once may change again.
        """
        self._note_unverified([marker])
        with tree_files.writing(self.root):
            fsio.write_atomic(self.root / "watch" / str(marker.run), b"")
            fsio.write_atomic(self.marker_path("refresh", name), encode(marker.mapping()))
        self.drop_failed_refreshes([marker.run])

    def complete_refresh(self, marker: Marker, verified: Facts) -> None:
        """Write this refresh marker anew, with what is now known of its blob. Raises WorkDirError."""
        for fingerprint in self.refreshed().get(marker.run, ()):
            name = f"{marker.run}-{fingerprint}"
            if self.marker("refresh", name) == marker:
                with tree_files.writing(self.root):
                    completed = replace(marker, facts=verified)
                    fsio.write_atomic(self.marker_path("refresh", name), encode(completed.mapping()))

    def remove_refreshes(self, numbers: Iterable[int]) -> None:
        """Remove the markers of the refreshes of these runs. Raises WorkDirError."""
        refreshed = self.refreshed()
        self.remove(self.marker_path("refresh", f"{run}-{each}") for run in numbers for each in refreshed.get(run, ()))

    def write_failed_refresh(self, failure: Failure, name: str) -> None:
        """Write the failure record of a refresh durably. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.write_atomic(self.failure_path("refresh", name), encode(failure.mapping()))

    def drop_failed_refreshes(self, numbers: Iterable[int]) -> None:
        """Remove the failure records of refreshes of these runs. Raises WorkDirError."""
        gone = set(numbers)
        names = [name for name in self.failed_refreshes() if int(name.partition("-")[0]) in gone]
        self.remove(self.failure_path("refresh", name) for name in names)

    def remove_from(self, directory: Literal["watch", "forgotten"], numbers: Iterable[int]) -> None:
        """Watch these runs no more, or no longer count them as given up. Raises WorkDirError."""
        self.remove(self.root / directory / str(run) for run in numbers)

    # ---- notes ----

    def note_path(self, name: str) -> Path:
        """`state/<name>.json`. The ledger of a stage has the stage's name."""
        return self.root / "state" / f"{name}{SUFFIX}"

    def note(self, name: str) -> dict[str, Any] | None:
        """The note `state/<name>.json`; None if there is none or it is damaged: a note only saves work."""
        try:
            return tree_files.read(self.note_path(name), dict)
        except WorkDirError:
            return None

    def write_note(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a note durably. Raises WorkDirError."""
        with tree_files.writing(self.root):
            fsio.write_atomic(self.note_path(name), encode(values))

    def noted_runs(self, name: str) -> frozenset[int] | None:
        """The runs that a note lists; None if there is none or it is damaged."""
        try:
            return frozenset(run_numbers.parse((self.note(name) or {})["runs"]))
        except (LookupError, TypeError, AttributeError, UsageError):
            return None

    def write_noted_runs(self, name: str, runs: Iterable[int]) -> None:
        """Write a note that lists runs, durably. Raises WorkDirError."""
        self.write_note(name, {"runs": run_numbers.text(runs)})

    def on_disk_before(self, directory: Path) -> frozenset[int] | None:
        """The runs that the last cycle saw in this directory of records; None without a usable note."""
        runs = self.noted_runs(ON_DISK)
        if runs is None:
            return None
        looked_into = (self.note(ON_DISK) or {}).get("directory", str(directory))  # older notes do not say it
        return runs if looked_into == str(directory) else frozenset()

    def write_on_disk(self, directory: Path, runs: Iterable[int]) -> None:
        """Note the runs in this directory of records, durably. Raises WorkDirError."""
        self.write_note(ON_DISK, {"directory": str(directory), "runs": run_numbers.text(runs)})

    def _finding(self, run: int) -> Path:
        return self.root / "findings" / f"{run}{SUFFIX}"


def _set_back(path: Path) -> None:
    """Give a marker of the future, which a clock ahead wrote, the present time.

    Snakemake fails a job whose input is newer than its output.
    """
    with suppress(FileNotFoundError):
        if path.stat().st_mtime > time.time():
            os.utime(path)


def newest(*markers: Marker | None) -> Marker | None:
    """The marker of the newest blob among these; of several for one blob, the last that knows its record.

    A recovery makes a migration marker for the blob of a refresh, and knows no fingerprint. A refresh whose record
    differs only in bytes that no blob has, such as a comment in boot.txt, leaves the blob as it is.
    """

    def rank(marker: Marker) -> tuple[int, bool, str, int, str]:
        version = marker.facts.version or ""  # for markers of the same second; v10 is after v9
        known = marker.facts.fingerprint is not None
        return marker.facts.ucondb_id or 0, known, marker.archived, len(version), version

    return max((marker for marker in markers if marker is not None), key=rank, default=None)


def _refreshes(names: Iterable[str]) -> list[str]:
    """The refreshes that these file names stand for."""
    pattern = re.compile(rf"([1-9][0-9]*-(?:[0-9a-f]{{8}})+){re.escape(SUFFIX)}")
    return [match[1] for name in names if (match := pattern.fullmatch(name))]
