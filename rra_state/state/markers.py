"""The marker tree: which runs are archived, which failed and why, which are watched. It is the truth about progress.

    markers/<stage>/<run>.json   failures/<stage>/<run>.json   watch/<run>   state/<stage>.json
    markers/refresh/<run>-<fingerprint>.json   failures/refresh/<run>-<fingerprint>.json

Knows names and contents of these files; what they mean for state files and logs is `state.py`'s.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rra_state.base import files as fsio
from rra_state.base import host_limits, permissions, run_numbers
from rra_state.base.errors import WorkDirError
from rra_state.state import bulk
from rra_state.state.outcome import STAGES, Failure, Marker, Stage

_SUFFIX = ".json"


class Tree:
    """The marker tree below one work directory. Reading never creates anything."""

    def __init__(self, work_dir: Path) -> None:
        self.root = work_dir
        self._markers = {stage: work_dir / "markers" / stage for stage in STAGES}
        self._failures = {stage: work_dir / "failures" / stage for stage in STAGES}

    def marker_path(self, stage: Stage, run: int) -> Path:
        """`markers/<stage>/<run>.json`."""
        return self._markers[stage] / f"{run}{_SUFFIX}"

    def failure_path(self, stage: Stage, run: int) -> Path:
        """`failures/<stage>/<run>.json`."""
        return self._failures[stage] / f"{run}{_SUFFIX}"

    def ledger_path(self, stage: Stage) -> Path:
        """`state/<stage>.json`."""
        return self.root / "state" / f"{stage}{_SUFFIX}"

    def prepare(self) -> None:
        """Make the directories, and see that they are nobody else's. Raises WorkDirError."""
        for directory in (
            "state",
            "watch",
            *(f"{kind}/{stage}" for kind in ("markers", "failures") for stage in (*STAGES, "refresh")),
        ):
            with self._writing():
                fsio.make_directory(self.root / directory)
        with self._writing():
            permissions.check_tree(self.root)

    def tidy(self) -> None:
        """Take away what a process that was killed left where no later try would: failure records of archived runs,
        temporary files of failure records and watches. Raises WorkDirError.
        """
        left: list[Path] = []
        for stage in STAGES:
            failed = self.failed(stage)
            if failed:
                left += (self.failure_path(stage, run) for run in failed & self.archived(stage))
        for directory in (*self._failures.values(), self.root / "watch"):
            left += directory.glob(".*.tmp")
        with self._writing():
            fsio.remove_batch(left)

    def archived(self, stage: Stage) -> set[int]:
        """Runs with a marker. One directory listing, nothing opened."""
        return _numbers(self._markers[stage], _SUFFIX)

    def failed(self, stage: Stage) -> set[int]:
        """Runs with a failure record."""
        return _numbers(self._failures[stage], _SUFFIX)

    def watched(self) -> set[int]:
        """Archived runs whose record had no stop time yet."""
        return _numbers(self.root / "watch", "")

    def marker(self, stage: Stage, run: int) -> dict[str, Any] | None:
        """The marker as flat JSON; None if there is none. Raises WorkDirError if it is damaged."""
        return _read(self.marker_path(stage, run))

    def failure(self, stage: Stage, run: int) -> Failure | None:
        """The failure record; None if there is none. Raises WorkDirError if it is damaged."""
        return _failure(self.failure_path(stage, run))

    def markers(self, stage: Stage, chosen: Iterable[int]) -> Iterator[tuple[int, dict[str, Any] | WorkDirError]]:
        """The markers of these runs, ascending, each as flat JSON or with what is wrong with it. Those that are gone
        are left out. For many runs: five times faster than one by one. Raises WorkDirError.
        """
        return _read_many(self._markers[stage], chosen)

    def failures(self, stage: Stage, chosen: Iterable[int]) -> Iterator[tuple[int, Failure | WorkDirError]]:
        """The failure records of these runs, likewise."""
        for run, values in _read_many(self._failures[stage], chosen):
            if isinstance(values, WorkDirError):
                yield run, values
                continue
            try:
                yield run, Failure(**values)
            except TypeError:
                yield run, _damaged(self.failure_path(stage, run))

    def write_markers(self, markers: Iterable[Marker], watch: Iterable[int] = ()) -> None:
        """Write markers durably, then drop the failure records of their runs. Raises WorkDirError."""
        written: dict[Stage, set[int]] = {}

        def files() -> Iterator[tuple[Path, bytes]]:
            for run in watch:
                yield self.root / "watch" / str(run), b""
            for marker in markers:
                written.setdefault(marker.stage, set()).add(marker.run)
                yield self.marker_path(marker.stage, marker.run), _encode(marker.mapping())

        with self._writing():
            fsio.write_batch(files())
            for stage, done in written.items():
                fsio.remove_batch(self.failure_path(stage, run) for run in done & self.failed(stage))

    def write_failures(self, failures: Iterable[Failure]) -> None:
        """Write failure records durably. Raises WorkDirError."""
        with self._writing():
            fsio.write_batch((self.failure_path(f.stage, f.run), _encode(asdict(f))) for f in failures)

    def remove_markers(self, stage: Stage, gone: Iterable[int]) -> None:
        """Take back the markers of runs that the store does not hold, durably. Raises WorkDirError."""
        with self._writing():
            fsio.remove_batch(self.marker_path(stage, run) for run in gone)

    def remove_failures(self, stage: Stage, gone: Iterable[int]) -> None:
        """Drop failure records, durably. Raises WorkDirError."""
        with self._writing():
            fsio.remove_batch(self.failure_path(stage, run) for run in gone)

    # ---- refreshes: the name of one is `<run>-<fingerprint>`, see `watch.Refresh` ----

    def refreshed(self) -> dict[int, set[str]]:
        """What refresh markers there are, by run: beginnings of fingerprints, see `watch.Refresh`. One listing."""
        found: dict[int, set[str]] = {}
        for name in _refresh_names(self.root / "markers" / "refresh"):
            run, _, fingerprint = name.partition("-")
            found.setdefault(int(run), set()).add(fingerprint)
        return found

    def failed_refreshes(self) -> set[str]:
        """Names of the refreshes with a failure record."""
        return set(_refresh_names(self.root / "failures" / "refresh"))

    def newest_refresh(self, run: int) -> dict[str, Any] | None:
        """The refresh marker of the newest blob of a run; None if there is none. Raises WorkDirError."""
        paths = (self.root / "markers" / "refresh").glob(f"{run}-*{_SUFFIX}")
        found = [marker for path in paths if (marker := _read(path)) is not None]
        return max(found, key=lambda marker: marker.get("ucondb_id") or 0, default=None)

    def failed_refresh(self, name: str) -> Failure | None:
        """The failure record of a refresh; None if there is none. Raises WorkDirError if it is damaged."""
        return _failure(self.root / "failures" / "refresh" / f"{name}{_SUFFIX}")

    def write_refresh(self, marker: Marker, name: str) -> None:
        """Write the marker of a refresh durably, then drop the run's failure records of refreshes; with a stop time
        the watch ends. Raises WorkDirError.
        """
        failures = self.root / "failures" / "refresh"
        with self._writing():
            fsio.write_atomic(self.root / "markers" / "refresh" / f"{name}{_SUFFIX}", _encode(marker.mapping()))
            fsio.remove_batch(failures.glob(f"{marker.run}-*{_SUFFIX}"))
        if marker.facts.stop_time:
            self.end_watch([marker.run])

    def write_failed_refresh(self, failure: Failure, name: str) -> None:
        """Write the failure record of a refresh durably. Raises WorkDirError."""
        with self._writing():
            fsio.write_atomic(self.root / "failures" / "refresh" / f"{name}{_SUFFIX}", _encode(asdict(failure)))

    def end_watch(self, numbers: Iterable[int]) -> None:
        """Watch these runs no more, durably. Raises WorkDirError."""
        with self._writing():
            fsio.remove_batch(self.root / "watch" / str(run) for run in numbers)

    # ---- notes ----

    def note(self, name: str) -> dict[str, Any] | None:
        """The note `state/<name>.json`; None if there is none or it is damaged: a note only saves work."""
        try:
            return _read(self.root / "state" / f"{name}{_SUFFIX}")
        except WorkDirError:
            return None

    def write_note(self, name: str, values: Mapping[str, Any]) -> None:
        """Write a note durably. Raises WorkDirError."""
        with self._writing():
            fsio.write_atomic(self.root / "state" / f"{name}{_SUFFIX}", _encode(values))

    def _writing(self) -> _Writing:
        return _Writing(self.root)


class _Writing:
    """Maps every OSError of writing the tree to WorkDirError, here and nowhere else."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, OSError):
            path = error.filename or self._root
            reason = (error.strerror or str(error)).lower()
            raise WorkDirError(
                f"cannot be written: {reason}",
                path=path,
                hint=host_limits.REMEDIES.get(error.errno or 0, f"check space, owner and mode of {self._root}"),
            ) from error


def _numbers(directory: Path, suffix: str) -> set[int]:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - ten times faster than Path.iterdir at 100,000 entries
    except FileNotFoundError:
        return set()
    except OSError as error:
        raise _unreadable(directory, error) from error
    return run_numbers.numbers(names, suffix)


def _read_many(directory: Path, chosen: Iterable[int]) -> Iterator[tuple[int, dict[str, Any] | WorkDirError]]:
    names = {f"{run}{_SUFFIX}": run for run in sorted(chosen)}
    try:
        for name, values in bulk.read(directory, list(names)):
            if values is None:
                yield names[name], _damaged(directory / name)
            elif isinstance(values, OSError):
                yield names[name], _unreadable(directory / name, values)
            else:
                yield names[name], values
    except FileNotFoundError:
        return
    except OSError as error:
        raise _unreadable(directory, error) from error


def _refresh_names(directory: Path) -> Iterator[str]:
    try:
        names = os.listdir(directory)  # noqa: PTH208 - see _numbers
    except FileNotFoundError:
        return
    for name in names:
        if re.fullmatch(rf"[1-9][0-9]*-(?:[0-9a-f]{{8}})+{re.escape(_SUFFIX)}", name):
            yield name.removesuffix(_SUFFIX)


def _read(path: Path) -> dict[str, Any] | None:
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise _damaged(path) from error
    if not isinstance(values, dict):
        raise _damaged(path)
    return values


def _failure(path: Path) -> Failure | None:
    values = _read(path)
    if values is None:
        return None
    try:
        return Failure(**values)
    except TypeError as error:
        raise _damaged(path) from error


def _unreadable(path: Path, error: OSError) -> WorkDirError:
    reason = (error.strerror or str(error)).lower()
    return WorkDirError(f"cannot be read: {reason}", path=path, hint="check owner and mode")


def _damaged(path: Path) -> WorkDirError:
    return WorkDirError(
        "cannot be read as JSON", path=path, hint="remove it, then --recover-import-state or --recover-migrate-state"
    )


def _encode(values: Mapping[str, Any]) -> bytes:
    """One key per line; `indent` would do that in Python, eight times slower."""
    return _JSON(values).encode() + b"\n"


_JSON = json.JSONEncoder(separators=(",\n ", ": ")).encode
