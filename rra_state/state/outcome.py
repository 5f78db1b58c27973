"""What became of one run in one stage: the value workers hand to the driver, and the two records made from it."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any, Literal, Self

from rra_state import __version__
from rra_state.base.errors import ArchiverError
from rra_state.stores.artdaqdb.base import Staged

Stage = Literal["import", "migrate", "refresh"]
STAGES: tuple[Stage, ...] = ("import", "migrate")
"""What every run goes through. A refresh comes after both, to few runs, and has neither state file nor log."""
PLACES: dict[Stage, str] = {"import": "artdaqDB", "migrate": "UconDB", "refresh": "both stores"}


@dataclass(frozen=True, slots=True)
class Facts:
    """What an audit needs to know of an archived run. Absent: None or empty.

    Source: docs/design/state.md, Typed records.

    fingerprint: sha256 over names and contents of the source record. size: bytes of the blob. sha256, adler32: of the
    blob. kept: files kept as text, with the reason. verified: the content was read back and compared.
    problems: what `--validate` found.
    """

    verified: bool
    configuration: str | None = None
    config_name: str | None = None
    version: str | None = None
    fingerprint: str | None = None
    start_time: str | None = None
    stop_time: str | None = None
    kept: dict[str, str] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)
    size: int | None = None
    adler32: int | None = None
    sha256: str | None = None
    ucondb_id: int | None = None
    ucondb_data_key: str | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Outcome:
    """One run after one stage: archived (`facts`), failed (`error`), or not judged (`untried`).

    staged: in the import stage, the documents that the driver has to make visible.
    tries: how often it was attempted. note: a line for the log.
    """

    run: int
    facts: Facts | None = None
    error: ArchiverError | None = None
    staged: Staged | None = None
    tries: int = 1
    note: str | None = None

    @property
    def archived(self) -> bool:
        """True if the run is in the stage's store (for an import: once `staged` is published)."""
        return self.error is None

    @property
    def untried(self) -> bool:
        """True if the run itself was never judged: the fault was the place's, or its record was being written."""
        return self.error is not None and (self.error.stops_cycle or self.error.postpones)


@dataclass(frozen=True, slots=True)
class Marker:
    """The content of `markers/<stage>/<run>.json`."""

    run: int
    stage: Stage
    archived: str
    archiver: str
    host: str
    facts: Facts

    @classmethod
    def of(cls, stage: Stage, run: int, facts: Facts) -> Self:
        """The marker of a run archived now, on this host."""
        return cls(run, stage, utc_now(), __version__, socket.gethostname(), facts)

    def mapping(self) -> dict[str, Any]:
        """The marker as flat JSON, the facts beside the rest. Not copied: a recovery makes 100,000 of them."""
        values = {name: getattr(self, name) for name in _OF_MARKER}
        values.update((name, getattr(self.facts, name)) for name in _OF_FACTS)
        return values


_OF_MARKER = tuple(each.name for each in fields(Marker) if each.name != "facts")
_OF_FACTS = tuple(each.name for each in fields(Facts))


@dataclass(frozen=True, slots=True)
class Failure:
    """The content of `failures/<stage>/<run>.json`: why a run is not archived. Times are UTC, ISO 8601."""

    run: int
    stage: Stage
    kind: str
    message: str
    attempts: int
    first: str
    last: str

    @classmethod
    def of(cls, stage: Stage, outcome: Outcome, before: Failure | None) -> Failure:
        """The record of this failure, counting on from an earlier one."""
        assert outcome.error is not None  # noqa: S101 - callers ask for failed outcomes only
        now = utc_now()
        attempts = outcome.tries + (before.attempts if before else 0)
        kind = type(outcome.error).__name__
        return cls(outcome.run, stage, kind, str(outcome.error), attempts, before.first if before else now, now)


def utc_now() -> str:
    """The second that it is now in UTC, `2026-11-23T20:20:41Z`."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
