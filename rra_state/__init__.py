"""State, recovery and command line of the Run Record Archiver; and what a notebook asks of an archive.

    import rra_state
    rra_state.runs("config.yaml")

`runs`, `stages`, `gaps`, `failures` and `throughput` answer one question each with a pandas frame, from the marker tree
and the records' disk, without asking a store; docs/report.md describes their columns. `parameters` and `history` give
the FHiCL parameters of archived runs, from the stores; docs/parameters.md describes them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from rra_state.base.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import TypeAlias

    import pandas as pd

    from rra_state.config.loading import Settings
    from rra_state.reporting.assessment import Assessment
    from rra_state.state.snapshot import Snapshot

    Source: TypeAlias = str | os.PathLike[str] | Settings | Snapshot

__all__ = [
    "__version__", "failures", "gaps", "history", "parameters", "runs", "snapshot", "stages", "throughput"
]  # fmt: skip


def snapshot(config: str | os.PathLike[str] | Settings) -> Snapshot:
    """One look at the archive of a configuration, to ask several questions of. Raises ConfigError, WorkDirError."""
    from rra_state.state.snapshot import Snapshot  # noqa: PLC0415 - importing the package has to stay free of cost

    return Snapshot.take(_settings(config))


def runs(source: Source) -> pd.DataFrame:
    """One row per run that is on disk or was archived, ascending. source: a configuration, or a `snapshot` of it.

    Raises ConfigError, WorkDirError, as the other frames do.
    """
    from rra_state.reporting import tables  # noqa: PLC0415 - pandas takes half a second to load

    return tables.runs(*_look(source))


def stages(source: Source) -> pd.DataFrame:
    """One row per stage: how many runs are archived, waiting, failed."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.stages(_look(source)[1])


def gaps(source: Source) -> pd.DataFrame:
    """One row per range of missing runs, with its age."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.gaps(_look(source)[1])


def failures(source: Source) -> pd.DataFrame:
    """One row per stage and class of failure."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.failures(_look(source)[1])


def throughput(source: Source) -> pd.DataFrame:
    """One row per day: runs and bytes archived."""
    from rra_state.reporting import tables  # noqa: PLC0415 - see runs

    return tables.throughput(_look(source)[1])


def parameters(
    config: str | os.PathLike[str] | Settings, runs: str | Iterable[int] | None, patterns: str | Iterable[str]
) -> pd.DataFrame:
    """One row per archived run, one column per FHiCL parameter whose full name matches one of the patterns.

    runs: numbers, or a text such as "100-200,305"; None for all. patterns: globs on full names, such as
    "*.fragment_receiver.generator"; docs/parameters.md says how they are matched.
    Raises ConfigError, UsageError, StoreError, VerificationError, as `history` does.
    """
    from rra_state.reporting import parameters as reading  # noqa: PLC0415 - see runs

    globs = [patterns] if isinstance(patterns, str) else patterns
    return reading.table(_settings(config), _numbers(runs), globs)


def history(
    config: str | os.PathLike[str] | Settings, pattern: str, runs: str | Iterable[int] | None = None
) -> pd.DataFrame:
    """One row per value that a parameter had: from which run to which. pattern, runs: as for `parameters`."""
    from rra_state.reporting import parameters as reading  # noqa: PLC0415 - see runs

    return reading.history(_settings(config), pattern, _numbers(runs))


def _settings(config: str | os.PathLike[str] | Settings) -> Settings:
    from rra_state.config import loading  # noqa: PLC0415 - see snapshot

    return config if isinstance(config, loading.Settings) else loading.load(config)


def _numbers(runs: str | Iterable[int] | None) -> Iterable[int] | None:
    from rra_state.base import run_numbers  # noqa: PLC0415 - see snapshot

    return run_numbers.parse(runs) if isinstance(runs, str) else runs


def _look(source: Source) -> tuple[Snapshot, Assessment]:
    from rra_state.reporting.assessment import assess  # noqa: PLC0415 - see snapshot
    from rra_state.state.snapshot import Snapshot  # noqa: PLC0415 - see snapshot

    found = source if isinstance(source, Snapshot) else snapshot(source)
    return found, assess(found)
