"""The rows of the bench's table: what is measured, against which floor, and how good it has to be. No measuring here.

Sizes are those of `make bench` and `make bench-long`; the targets are those of the project's issue on speed and scale.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A limit for the figure itself or for its ratio to the floor."""

    kind: Literal["at least", "at most"]
    limit: float
    of: Literal["figure", "ratio"] = "figure"

    def met(self, measured: Measured) -> bool:
        """Whether the medians keep it."""
        value = measured.ratio if self.of == "ratio" else measured.figure
        return value is not None and (value >= self.limit if self.kind == "at least" else value <= self.limit)


@dataclass(frozen=True)
class Row:
    """One line of the table. floor: what is done instead, without the archiver, in the same minute."""

    key: str
    what: str
    unit: str
    floor: str
    target: Target | None = None


@dataclass(frozen=True)
class Measured:
    """What came out: the single values, each with its floor where they were taken in turn."""

    key: str
    values: Sequence[float]
    floors: Sequence[float] = ()

    @property
    def figure(self) -> float:
        """The median."""
        return statistics.median(self.values)

    @property
    def bottom(self) -> float | None:
        """The median of the floors."""
        return statistics.median(self.floors) if self.floors else None

    @property
    def ratio(self) -> float | None:
        """Of figure to floor: the median of the pairs, since what disturbs the machine disturbs both of a pair."""
        if len(self.values) == len(self.floors):
            return statistics.median(value / floor for value, floor in zip(self.values, self.floors, strict=True))
        return None if self.bottom is None else self.figure / self.bottom


def at_least(limit: float) -> Target:
    """For rates."""
    return Target("at least", limit)


def at_most(limit: float) -> Target:
    """For costs."""
    return Target("at most", limit)


_PLAIN = "the same documents as plain files, synced in chunks"
_COPY = "COPY of the same documents in chunks"
_PUTS = "one put and one get of each blob, two connections"
_SNAKEMAKE = "`snakemake --version`"
_LISTING = "Python, listing the same directories"
_MARKERS = "as many markers as plain files"
_SPINNING = "bare computing, two processes to one"

FHICL = (
    Row("fhicl-7027", "FHiCL of record 7027, per core", "MB/s", "`bytes.translate` and `json.dumps`", at_least(1)),
    Row("fhicl", "FHiCL of made-up records, per core", "MB/s", "`bytes.translate` and `json.dumps`", at_least(1)),
    Row("record-7027", "import of record 7027 (2.3 MB) alone", "s", _SNAKEMAKE, at_most(4)),
    Row("memory-7027", "memory for it, times its size", "", "reading it", at_most(12)),
)
IMPORTS = (
    Row("import-directory-0", "import, directory, empty", "runs/s", _PLAIN, at_least(30)),
    Row("import-directory-2000", "import, directory, 2,000 stored", "runs/s", _PLAIN),
    Row(
        "cost-directory-2000",
        "cost per run, directory of 2,000 to an empty one",
        "",
        "the same of the floors",
        at_most(1.3),
    ),
    Row("import-postgres-0", "import, PostgreSQL, empty", "runs/s", _COPY, at_least(30)),
    Row("import-postgres-2000", "import, PostgreSQL, 2,000 stored", "runs/s", _COPY),
    Row(
        "cost-postgres-2000",
        "cost per run, PostgreSQL of 2,000 to an empty one",
        "",
        "the same of the floors",
        at_most(1.3),
    ),
)
MIGRATIONS = (Row("migrate", "migrate with verification", "runs/s", _PUTS, Target("at least", 0.9, "ratio")),)
WORKERS = (Row("two-workers", "import, two workers to one", "", _SPINNING, at_least(1.7)),)
CYCLES = (
    Row("cycle-500", "whole cycle, 500 runs", "runs/s", "both floors after each other"),
    Row("cycle-2000", "whole cycle, 2,000 runs", "runs/s", "both floors after each other"),
    Row("cpu-2000", "driver's CPU per run and stage, 2,000 runs", "ms", _MARKERS, at_most(5)),
    Row("memory-2000", "memory of that cycle, all processes", "MB", _SNAKEMAKE),
)
ONE_RUN = (
    Row("one-directory-5000", "cycle that brings one run, directory of 5,000", "s", _SNAKEMAKE, at_most(1.5)),
    Row("one-directory-5000-cpu", "CPU of it, workers included", "s", _SNAKEMAKE),
    Row("one-directory-5000-memory", "memory of it, all processes", "MB", _SNAKEMAKE, at_most(300)),
)
MANY = (
    Row("idle", "idle cycle, 100,000 archived, metrics and mail on", "s", _LISTING, at_most(1.5)),
    Row("idle-cpu", "CPU of it", "s", _LISTING),
    Row("idle-memory", "memory of it", "MB", _LISTING, at_most(150)),
    Row("report", "`--report-status`, 100,000 archived, without the listing", "s", _LISTING, at_most(5)),
    Row("report-cpu", "CPU of it", "s", _LISTING),
    Row("report-memory", "memory of it", "MB", _LISTING),
    Row("recover-import", "`--recover-import-state`, 100,000, without the listing", "s", _MARKERS, at_most(15)),
    Row("recover-import-cpu", "CPU of it", "s", _MARKERS),
    Row("recover-import-memory", "memory of it", "MB", _LISTING),
    Row("recover-migrate", "`--recover-migrate-state`, likewise", "s", _MARKERS, at_most(15)),
    Row("recover-migrate-cpu", "CPU of it", "s", _MARKERS),
    Row("recover-migrate-memory", "memory of it", "MB", _LISTING),
)
LONG_IMPORTS = (
    Row("import-directory-20000", "import, directory, 20,000 stored", "runs/s", _PLAIN),
    Row(
        "cost-directory-20000",
        "cost per run, directory of 20,000 to an empty one",
        "",
        "the same of the floors",
        at_most(1.3),
    ),
    Row("import-postgres-20000", "import, PostgreSQL, 20,000 stored", "runs/s", _COPY),
    Row(
        "cost-postgres-20000",
        "cost per run, PostgreSQL of 20,000 to an empty one",
        "",
        "the same of the floors",
        at_most(1.3),
    ),
)
LONG_ONE_RUN = (
    Row("one-directory-20000", "cycle that brings one run, directory of 20,000", "s", _SNAKEMAKE, at_most(1.5)),
    Row("one-directory-20000-cpu", "CPU of it, workers included", "s", _SNAKEMAKE),
    Row("one-directory-20000-memory", "memory of it, all processes", "MB", _SNAKEMAKE, at_most(300)),
    Row("one-postgres-100000", "cycle that brings one run, PostgreSQL of 100,000", "s", _SNAKEMAKE, at_most(1.5)),
    Row("one-postgres-100000-cpu", "CPU of it, workers included", "s", _SNAKEMAKE),
    Row("one-postgres-100000-memory", "memory of it, all processes", "MB", _SNAKEMAKE, at_most(300)),
)
LONG_CYCLES = (
    Row("cycle-5000", "whole cycle, 5,000 runs in one window", "runs/s", "both floors after each other"),
    Row("window-5000", "memory of the driver in it", "MB", _SNAKEMAKE, at_most(400)),
    Row("cycle-20000", "whole cycle, 20,000 runs", "runs/s", "both floors after each other"),
    Row("cpu-20000", "driver's CPU per run and stage, 20,000 runs", "ms", _MARKERS, at_most(5)),
    Row("linear", "the same, to that at 2,000 runs", "", "1: linear", at_most(1.2)),
)

PARTS: dict[str, tuple[Row, ...]] = {
    "fhicl": FHICL,
    "imports": IMPORTS,
    "migrations": MIGRATIONS,
    "workers": WORKERS,
    "cycles": CYCLES,
    "one-run": ONE_RUN,
    "many": MANY,
}
"""What `make bench` measures, in this order."""
LONG_PARTS: dict[str, tuple[Row, ...]] = {
    "long-imports": LONG_IMPORTS,
    "long-one-run": LONG_ONE_RUN,
    "long-cycles": LONG_CYCLES,
}
"""What `make bench-long` measures besides."""
EVERY = PARTS | LONG_PARTS
