"""What tests of docs/design/state.md share: small records, good or broken, and the files that it names."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path

from rra_state.state.outcome import Stage
from scripts.make_run_records import write_record
from tests.site import Site

METADATA = (
    b"Config name: BootDAQ\nComponent #0: component01\n\n"
    b"DAQInterface start time: Thu Oct 17 10:00:00 UTC 2024\n\n"
    b"DAQInterface stop time: Thu Oct 17 10:08:25 UTC 2024\n"
)
STATE_FILES: dict[Stage, str] = {"import": "importer_state.json", "migrate": "migrator_state.json"}
LOGS: dict[Stage, str] = {"import": "import_failures.log", "migrate": "migrate_failures.log"}


def take(site: Site, runs: Iterable[int], broken: Iterable[int] = ()) -> None:
    """Have the DAQ take these runs, as small as a record can be. A broken one is empty."""
    broken = set(broken)
    for run in runs:
        files = {
            "boot.txt": b"debug level: 1\n",
            "component01.fcl": b"process_name: component01\n",
            "metadata.txt": METADATA,
        }
        write_record(site.records / str(run), {} if run in broken else files)


def state_file(site: Site, stage: Stage = "import") -> Path:
    return site.work / STATE_FILES[stage]


def log_file(site: Site, stage: Stage = "import") -> Path:
    return site.work / LOGS[stage]


def write_state(site: Site, contiguous: int, attempted: int, stage: Stage = "import") -> None:
    """What an operator does with an editor."""
    numbers = {"last_contiguous_run": contiguous, "last_attempted_run": attempted}
    site.work.mkdir(exist_ok=True)
    state_file(site, stage).write_text(json.dumps(numbers, indent=2) + "\n")


def numbers(site: Site, stage: Stage = "import") -> tuple[int, int]:
    """Last contiguous and last attempted run."""
    state = site.state(stage)
    assert list(state) == ["last_contiguous_run", "last_attempted_run"]
    return state["last_contiguous_run"], state["last_attempted_run"]


def forget(site: Site) -> None:
    """Lose everything the archiver knows, as a new deployment over existing stores."""
    for path in sorted(site.work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


def snapshot(site: Site) -> dict[str, bytes]:
    """Every file the archiver keeps, but for locks and logs of Snakemake."""
    kept = (path for path in site.work.rglob("*") if path.is_file() and ".snakemake" not in path.parts)
    return {str(path): path.read_bytes() for path in kept if not path.name.endswith(".lock")}


def without_root_powers(command: list[str]) -> list[str]:
    """Let file modes count for root too."""
    if os.geteuid() != 0:
        return command
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
