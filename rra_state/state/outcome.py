"""Outcomes of runs, and the typed records that are written for a run.

`Marker`, `Failure` and `Finding`, with their remarks, are read and written here: no other module names their fields.
"""

from __future__ import annotations

import hashlib
import re
import socket
import time
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from types import UnionType
from typing import Any, Literal, Self, TypeVar, Union, get_args, get_origin, get_type_hints

from rra_state.base import wording
from rra_state.base.errors import ArchiverError, Conflict, NotListed, VerificationError
from rra_state.base.version import __version__
from rra_state.records.model import KEPT, LEFT_OUT, Remark
from rra_state.stores.artdaqdb.base import Staged
from rra_state.stores.ucondb.values import BlobVersion

T = TypeVar("T")
MOST_DIFFERENCES = 20
"""Differences that a finding names before it counts the rest."""
Stage = Literal["import", "migrate", "refresh", "verify"]
STAGES: tuple[Stage, ...] = ("import", "migrate")
"""What every run goes through. Refresh and verification come after both, and have neither state file nor log."""
STORES: dict[Stage, str] = {
    "import": "artdaqDB", "migrate": "UconDB", "refresh": "both stores", "verify": "both stores",
}  # fmt: skip
DIFFERS, MARKER_DIFFERS, RECORD_DIFFERS, NOT_LISTED = "Differs", "MarkerDiffers", "RecordDiffers", NotListed.__name__
"""Kinds of findings: the stores differ; only a marker, or the record on disk, differs; UconDB does not list it."""


@dataclass(frozen=True, slots=True)
class Facts:
    """What an audit needs to know of an archived run. Absent: None or empty.

    fingerprint: sha256 over names and contents of the source record. size: bytes of the blob. sha256, adler32: of the
    blob. verified: the content was read back and compared. foreign: another program stored it in artdaqDB.
    problems: what `--validate` found.
    """

    verified: bool
    configuration: str | None = None
    config_name: str | None = None
    version: str | None = None
    fingerprint: str | None = None
    start_time: str | None = None
    stop_time: str | None = None
    remarks: tuple[Remark, ...] = ()
    size: int | None = None
    adler32: int | None = None
    sha256: str | None = None
    ucondb_id: int | None = None
    ucondb_data_key: str | None = None
    problems: tuple[str, ...] = ()
    foreign: bool = False

    @property
    def without_record(self) -> bool:
        """True if only the stores were compared, because the record was away."""
        return self.verified and not self.fingerprint

    def completed(self, imported: Facts) -> Facts:
        """The facts of a migration with what only the import knew of the record."""
        names = ("foreign", "config_name", "fingerprint", "start_time", "stop_time", "remarks")
        return replace(self, **{name: getattr(imported, name) or getattr(self, name) for name in names})

    def of_blob(self, content: bytes, version: BlobVersion) -> Facts:
        """The same with what identifies the run's blob in UconDB."""
        return replace(
            self,
            size=len(content),
            adler32=zlib.adler32(content),
            sha256=hashlib.sha256(content).hexdigest(),
            ucondb_id=version.id,
            ucondb_data_key=version.data_key,
        )


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
    def found(self) -> bool:
        """Of an import: True if artdaqDB held the run already, so that nothing was stored."""
        return self.archived and (self.staged is None or not self.staged.changed)

    @property
    def untried(self) -> bool:
        """True if the run itself was not judged: a site could not be used, or its record was being written."""
        return self.error is not None and (self.error.stops_cycle or self.error.postpones)


@dataclass(frozen=True, slots=True)
class Marker:
    """The content of `markers/<stage>/<run>.json`, the facts beside the rest."""

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

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `mapping`, also of other versions: fields that only they have are left out.

        Raises ValueError that says which field is wrong.
        """
        marker, facts = _checked(values, _OF_MARKER), _checked(values, _OF_FACTS)
        return cls(**marker, facts=Facts(**facts | {"remarks": _remarks(values), "verified": _verified(values)}))

    def mapping(self) -> dict[str, Any]:
        """The marker as flat JSON. Not copied: a recovery makes 100,000 of them."""
        values = {name: getattr(self, name) for name in _OF_MARKER}
        values.update((name, getattr(self.facts, name)) for name in _OF_FACTS)
        values["remarks"] = list(map(asdict, self.facts.remarks))
        return values


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
    def of(cls, stage: Stage, outcome: Outcome, before: Failure | None = None) -> Failure:
        """The record of this failure, counting on from an earlier one."""
        assert outcome.error is not None  # noqa: S101 - callers ask for failed outcomes only
        now = utc_now()
        attempts = outcome.tries + (before.attempts if before else 0)
        kind = type(outcome.error).__name__
        return cls(outcome.run, stage, kind, str(outcome.error), attempts, before.first if before else now, now)

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Inverse of `mapping`, as `Marker.parse`. Raises ValueError."""
        checked = _checked(values, _OF_FAILURE)
        return cls(**checked | {"message": wording.readable(checked["message"])})

    def mapping(self) -> dict[str, Any]:
        """The failure as flat JSON."""
        return asdict(self)

    @property
    def conflict(self) -> bool:
        """Whether the store holds other content under this run: only a person can say which one is right."""
        return self.kind in (Conflict.__name__, VerificationError.__name__)


@dataclass(frozen=True, slots=True)
class Finding(Failure):
    """The content of `findings/<run>.json`: what a verification found wrong with an archived run.

    stage: whose store differs. attempts: how often it was found.
    """

    @classmethod
    def found(cls, run: int, kind: str, differences: Sequence[str], before: Failure | None) -> Self:
        """The record of these differences, counting on from an earlier one."""
        stage: Stage = "migrate" if any(each.startswith(STORES["migrate"]) for each in differences) else "import"
        shown = "; ".join(differences[:MOST_DIFFERENCES])
        if len(differences) > MOST_DIFFERENCES:
            shown += f"; and {len(differences) - MOST_DIFFERENCES} more"
        now, number = utc_now(), before.attempts + 1 if before else 1
        return cls(run, stage, kind, wording.printable(shown), number, before.first if before else now, now)


@dataclass(frozen=True, slots=True)
class Damaged:
    """A marker or failure record that cannot be read. text: which file, what is wrong with it, and what helps."""

    run: int
    text: str


@dataclass(slots=True)
class MarkerColumns:
    """The markers of one stage field by field, in the order of `runs`; None: not known.

    archived: seconds since 1970. remarks: only of runs that have some. damaged: their rows hold None.
    without_record: runs of which no record was ever compared with what is archived.
    """

    runs: list[int] = field(default_factory=list)
    archived: list[int | None] = field(default_factory=list)
    verified: list[bool | None] = field(default_factory=list)
    configuration: list[str | None] = field(default_factory=list)
    version: list[str | None] = field(default_factory=list)
    start_time: list[str | None] = field(default_factory=list)
    stop_time: list[str | None] = field(default_factory=list)
    size: list[int | None] = field(default_factory=list)
    remarks: dict[int, tuple[Remark, ...]] = field(default_factory=dict)
    without_record: set[int] = field(default_factory=set)
    damaged: list[Damaged] = field(default_factory=list)
    _texts: dict[str | None, str | None] = field(default_factory=dict, repr=False)

    def append(self, run: int, values: Mapping[str, Any]) -> None:
        """Add what the marker of a run holds, by the definition of `Marker.parse`. Raises ValueError like it."""
        for name, types in _COLUMN_TYPES:
            if type(values.get(name)) not in types:
                _checked(values, _OF_MARKER | _OF_FACTS)
        remarks = _remarks(values)
        same = self._texts.setdefault  # most of these texts occur many times
        moment = wording.seconds(values["archived"])
        self.runs.append(run)
        self.archived.append(None if moment is None else int(moment))
        self.verified.append(_verified(values))
        self.configuration.append(same(text := values.get("configuration"), text))
        self.version.append(same(text := values.get("version"), text))
        self.start_time.append(values.get("start_time"))
        self.stop_time.append(values.get("stop_time"))
        self.size.append(values.get("size"))
        if remarks:
            self.remarks[run] = remarks
        if not values.get("fingerprint"):
            self.without_record.add(run)

    def append_damaged(self, damaged: Damaged) -> None:
        """Add a row for a marker that cannot be read."""
        self.damaged.append(damaged)
        self.runs.append(damaged.run)
        for column in (self.archived, self.verified, self.size):
            column.append(None)
        for texts in (self.configuration, self.version, self.start_time, self.stop_time):
            texts.append(None)

    def by_run(self, column: Sequence[T | None]) -> dict[int, T]:
        """One of the columns by run, without what is not known."""
        return {run: value for run, value in zip(self.runs, column, strict=True) if value is not None}


def _types(kind: type) -> dict[str, tuple[type, ...]]:
    """The fields of a record, each with the types that it may have in JSON."""

    def options(hint: Any) -> tuple[Any, ...]:
        return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)

    def in_json(hint: Any) -> type:
        origin = get_origin(hint) or hint
        found: type = str if origin is Literal else list if origin is tuple else origin
        return found

    return {name: tuple(map(in_json, options(hint))) for name, hint in get_type_hints(kind).items()}


def _required(kind: type) -> set[str]:
    return {each.name for each in fields(kind) if each.default is MISSING and each.default_factory is MISSING}


def _checked(values: Mapping[str, Any], allowed: Mapping[str, tuple[type, ...]]) -> dict[str, Any]:
    """The values of these fields. Raises ValueError if one is missing or of another type."""
    for name, types in allowed.items():
        if name not in values:
            if name in _REQUIRED:
                raise ValueError(f"{name} is missing")
        elif type(values[name]) not in types:
            raise ValueError(f"{name} is {type(values[name]).__name__}, not {types[0].__name__}")
    found = {name: values[name] for name in allowed if name in values}
    return {name: tuple(value) if type(value) is list else value for name, value in found.items()}


_KEPT_LINE = re.compile(r"line (\d+): (.*)", re.DOTALL)


def _verified(values: Mapping[str, Any]) -> bool:
    """Whether the run was compared with its record by the rules of today.

    Versions before 2026-12 took records that were still being copied. Their markers, which have no `remarks`, count as
    not compared until a verification has completed them.
    """
    return bool(values["verified"]) and "remarks" in values


def _remarks(values: Mapping[str, Any]) -> tuple[Remark, ...]:
    """The remarks of a marker. Versions before 2026-12 wrote `kept` and `skipped`, reasons by file.

    Raises ValueError.
    """
    found: list[Remark] = []
    for each in values.get("remarks") or ():
        if type(each) is not dict:
            raise ValueError(f"remarks holds {type(each).__name__}, not dict")
        checked = _checked(each, _OF_REMARK)
        found.append(Remark(checked["file"], checked.get("line"), checked["text"]))
    for name, what in (("kept", KEPT), ("skipped", LEFT_OUT)):
        entries = values.get(name) or {}
        if type(entries) is not dict:
            raise ValueError(f"{name} is {type(entries).__name__}, not dict")
        for file, reason in entries.items():
            match = _KEPT_LINE.fullmatch(str(reason)) if name == "kept" else None
            line, text = (int(match[1]), match[2]) if match else (None, reason)
            found.append(Remark(file, line, f"{text}; {what}"))
    return tuple(found)


_OF_REMARK = _types(Remark)
_OF_FACTS = _types(Facts)
_OF_MARKER = {name: types for name, types in _types(Marker).items() if name != "facts"}
_OF_FAILURE = _types(Failure)
_REQUIRED = (_required(Facts) | _required(Marker) | _required(Failure) | {"file", "text"}) - {"facts"}
_COLUMN_TYPES = [
    (name, types if name in _REQUIRED else (*types, type(None)))
    for name, types in (_OF_MARKER | _OF_FACTS).items()
    if name in MarkerColumns.__dataclass_fields__
]


def utc_now() -> str:
    """The second that it is now in UTC, `2026-11-23T20:20:41Z`."""
    return wording.second(time.time())
