"""The rows of the bench's table: what is measured, beside what, and the target. Nothing is measured here."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Target:
    """A limit for the figure itself, or for its ratio to the floor."""

    kind: Literal["at least", "at most"]
    limit: float
    of: Literal["figure", "ratio"] = "ratio"

    def value(self, measured: Measured) -> float | None:
        """The value that is compared with the limit; None if a ratio has no floor."""
        return measured.ratio if self.of == "ratio" else measured.figure

    def met(self, measured: Measured) -> bool:
        """Whether the medians keep it."""
        value = self.value(measured)
        return value is not None and (value >= self.limit if self.kind == "at least" else value <= self.limit)


@dataclass(frozen=True)
class Row:
    """One line of the table. floor: what is measured beside it, in the same minute."""

    key: str
    what: str
    unit: str
    floor: str
    target: Target


@dataclass(frozen=True)
class Measured:
    """The single values of a row, each with its floor where they were taken in turn."""

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


def at_least(limit: float, of: Literal["figure", "ratio"] = "ratio") -> Target:
    """For rates."""
    return Target("at least", limit, of)


def at_most(limit: float, of: Literal["figure", "ratio"] = "ratio") -> Target:
    """For costs."""
    return Target("at most", limit, of)


_SNAKEMAKE = "`snakemake --version`"
_PLAIN = "the same documents as plain files, one sync per chunk"
_COPY = "COPY of the same documents, one transaction per chunk"
_PUTS = "one put and one get of each blob, two connections"
_GETS = "one get of each blob, two connections"
_DRIVER = "the same documents by the driver alone"
_IMPORT_CPU = at_most(0.022)
_MIGRATE_CPU = at_most(0.009)


def _memory(part: str) -> Row:
    return Row(f"memory-{part}", f"memory of the largest process, {part}", "MB", "", at_most(400, "figure"))


PARTS: dict[str, tuple[Row, ...]] = {
    "fhicl": (Row("fhicl", "FHiCL of made-up records, one core", "MB/s", "", at_least(2, "figure")),),
    "stages": (
        Row("import-directory-cpu", "import, directory: CPU per run", "ms", _SNAKEMAKE, _IMPORT_CPU),
        Row("import-postgres-cpu", "import, PostgreSQL: CPU per run", "ms", _SNAKEMAKE, _IMPORT_CPU),
        Row("migrate-cpu", "migrate with verification: CPU per run", "ms", _SNAKEMAKE, _MIGRATE_CPU),
        Row("import-directory", "import, directory", "runs/s", _PLAIN, at_least(0.35)),
        Row("import-postgres", "import, PostgreSQL", "runs/s", _COPY, at_least(0.35)),
        Row("migrate", "migrate with verification", "runs/s", _PUTS, at_least(0.85)),
        _memory("stages"),
    ),
    "cycles": (
        Row("driver-cpu", "driver: CPU per run and stage, cycle of 2,000 runs", "ms", _SNAKEMAKE, at_most(0.003)),
        Row("cycle-2000", "whole cycle of 2,000 runs", "runs/s", "the floors of import and migrate", at_least(0.5)),
        _memory("cycles"),
    ),
    "restore": (
        Row("restore-2000", "`--restore` of 2,000 runs from UconDB", "runs/s", _GETS, at_least(0.7)),
        _memory("restore"),
    ),
    "one-run": (
        Row("one-directory-5000", "cycle with one new run, directory of 5,000", "s", _SNAKEMAKE, at_most(2.5)),
        _memory("one-run"),
    ),
    "many": (
        Row("one-postgres-100000", "cycle with one new run, PostgreSQL of 100,000", "s", _SNAKEMAKE, at_most(2.5)),
        Row("three-postgres-100000", "cycle with three new runs, PostgreSQL of 100,000", "s", _SNAKEMAKE, at_most(2.5)),
        Row("idle", "idle cycle, 100,000 archived, 1,000 watched, metrics and mail on", "s", _SNAKEMAKE, at_most(1.5)),
        Row("report", "report, 100,000 archived, without the stores' listings", "s", "", at_most(8, "figure")),
        Row("page", "page, 100,000 archived, without the stores' listings", "s", "", at_most(8, "figure")),
        _memory("many"),
    ),
    "mongodb": (
        Row("mongodb-store", "500 runs stored, MongoDB's test server", "runs/s", _DRIVER, at_least(0.35)),
        Row("mongodb-read", "500 runs read back, MongoDB's test server", "runs/s", _DRIVER, at_least(0.35)),
        Row("mongodb-list", "20,000 runs listed, MongoDB's test server", "s", "", at_most(5, "figure")),
        Row("mongodb-find", "one of 20,000 runs found, MongoDB's test server", "s", "", at_most(0.5, "figure")),
    ),
}
"""What `make bench` measures, in this order."""
LONG_PARTS: dict[str, tuple[Row, ...]] = {
    "large": (
        Row("cost-directory-20000", "import per run, directory of 20,000", "ms", "an empty one", at_most(1.5)),
        Row("cost-postgres-20000", "import per run, PostgreSQL of 20,000", "ms", "an empty one", at_most(1.2)),
        Row("one-directory-20000", "cycle with one new run, directory of 20,000", "s", _SNAKEMAKE, at_most(4)),
        _memory("large"),
    ),
    "parameters": (
        *(
            Row(
                f"parameters-{name}-{kind}",
                f"parameters of 5,000 runs, {what}, {where}",
                "s",
                "",
                at_most(most, "figure"),
            )
            for kind, where in (("directory", "directory"), ("postgres", "PostgreSQL"))
            for name, what, most in (("one", "one component", 30), ("any", "any component", 120))
        ),
        _memory("parameters"),
    ),
}
"""What `make bench-long` measures."""
EVERY = PARTS | LONG_PARTS
