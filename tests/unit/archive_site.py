"""A small site: directories, a configuration, and short ways to say what happened to runs."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from rra_state.base.errors import RecordError
from rra_state.config import loading
from rra_state.config.loading import Settings
from rra_state.state.markers import Tree
from rra_state.state.outcome import Facts, Failure, Marker, Outcome, Stage
from rra_state.state.state_files import Known, StateFiles

METADATA = "Config name: standard\nComponent #0: component01\n"
STOP = "\nDAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"


@dataclass
class Site:
    """One archiver's directories below `root`; `app` and `source_files` are further keys of these sections."""

    root: Path
    app: dict[str, Any] = field(default_factory=dict)
    source_files: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.records.mkdir(exist_ok=True)
        file = self.root / "config.yaml"
        file.write_text(
            yaml.safe_dump(
                {
                    "app": {"work_dir": "work", **self.app},
                    "source_files": {"run_records_dir": "records", "quiet_seconds": 0, **self.source_files},
                    "artdaq_db": {"database_uri": f"filesystemdb://{self.root}/artdaqdb"},
                    "ucon_db": {"server_url": "http://localhost:1/app", "folder_name": "run_records"},
                }
            )
        )
        self.settings: Settings = loading.load(file, {})
        self.tree = Tree(self.settings.app.work_dir)
        self.tree.prepare()

    @property
    def records(self) -> Path:
        return self.root / "records"

    def keeper(self, stage: Stage = "import") -> StateFiles:
        return StateFiles(self.settings, stage)

    def record(self, *runs: int, ended: bool = True, age: float = 0) -> None:
        """Write records. ended: with a stop time. age: seconds since the DAQ last wrote to them."""
        for run in runs:
            directory = self.records / str(run)
            directory.mkdir(exist_ok=True)
            metadata = directory / "metadata.txt"
            metadata.write_text(METADATA + (STOP if ended else ""))
            (directory / "boot.txt").write_text("debug level: 1\n")
            (directory / "component01.fcl").write_text("a: 1\n")
            changed = metadata.stat().st_mtime - age
            for path in (metadata, directory):
                os.utime(path, (changed, changed))

    def archive(self, stage: Stage, *runs: int, **facts: Any) -> None:
        """Put markers."""
        self.tree.write_markers(
            Marker.of(stage, run, Facts(verified=True, **{"fingerprint": "f1", **facts})) for run in runs
        )

    def fail(self, stage: Stage, *runs: int, message: str = "is broken") -> None:
        """Put failure records."""
        self.tree.write_failures(
            Failure.of(stage, Outcome(run, error=RecordError(message, run=run)), self.tree.failure(stage, run))
            for run in runs
        )


def known(source: object, archived: object, failed: object = (), still_open: object = ()) -> Known:
    opened = frozenset(still_open)  # type: ignore[call-overload]
    return Known(frozenset(source), frozenset(archived), frozenset(failed), lambda run: run in opened)  # type: ignore[call-overload]


def written(site: Site) -> tuple[dict[str, int], list[int]]:
    """State file and failure log as they stand."""
    app = site.settings.app
    return json.loads(app.import_state_file.read_text()), list(map(int, app.import_failure_log.read_text().split()))


def edit_state(site: Site, contiguous: int, attempted: int) -> None:
    text = json.dumps({"last_contiguous_run": contiguous, "last_attempted_run": attempted})
    site.settings.app.import_state_file.write_text(text)
