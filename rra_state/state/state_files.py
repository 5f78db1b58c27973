"""State files and failure logs, derived from the marker tree by one pure function.

`derive` is the rule; `StateFiles` reads and writes the files of one stage: the documented state file and
failure log, and the ledger that remembers what was last written, so that an operator's edit is recognised and honoured.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import pydantic
import pydantic.dataclasses

from rra_state.base import files, host_limits, run_numbers
from rra_state.base.errors import StateFileError
from rra_state.config.loading import Settings
from rra_state.state.markers import Tree
from rra_state.state.outcome import Stage


@dataclass(frozen=True, slots=True)
class State:
    """The two documented numbers. Source: docs/design/state.md, State file."""

    last_contiguous_run: int = 0
    last_attempted_run: int = 0

    @property
    def start(self) -> int:
        """Incremental mode takes the runs above this. Source: docs/design/state.md, Incremental mode."""
        return max(self.last_contiguous_run, self.last_attempted_run)


@pydantic.dataclasses.dataclass(frozen=True, config=pydantic.ConfigDict(strict=True, extra="forbid"))
class Ledger:
    """What is remembered between cycles of the state file and failure log of a stage.

    base: the unbroken sequence is counted from here (0: from the lowest archived run). attempted: highest run tried.
    held: an operator's numbers, shown until a cycle attempts something. added: runs an operator wrote into the log.
    state_digests, log_digests: of the contents that are ours; two while they are being replaced.
    """

    base: int = 0
    attempted: int | None = None
    held: State | None = None
    added: frozenset[int] = frozenset()
    state_digests: tuple[str, ...] = ()
    log_digests: tuple[str, ...] = ()


_LEDGER = pydantic.TypeAdapter(Ledger)


@dataclass(frozen=True, slots=True)
class Known:
    """The runs of one stage.

    source: those that should be archived. is_open: whether such a run is still being written; asked only of runs whose
    answer matters, since it costs a look into the record.
    """

    source: frozenset[int] | set[int]
    archived: frozenset[int] | set[int]
    failed: frozenset[int] | set[int]
    is_open: Callable[[int], bool] = field(default=lambda _run: False)

    @property
    def tried(self) -> set[int]:
        """Runs attempted at least once."""
        return {*self.archived, *self.failed}


@dataclass(frozen=True, slots=True)
class Derived:
    """State and failure log as they have to be.

    not_attempted: the runs in the log that were never tried. held: an operator's two numbers still hold.
    """

    state: State
    log: tuple[int, ...]
    not_attempted: frozenset[int]
    held: bool = False

    def incremental(self, run: int) -> bool:
        """Whether incremental mode takes this missing run: it is above both numbers, or was passed over.

        While an operator's numbers hold, nothing at or below them is taken.
        """
        return run > self.state.start or (run in self.not_attempted and not self.held)


def derive(known: Known, ledger: Ledger) -> Derived:
    """State and failure log that follow from what is known. Pure. Source: docs/design/state.md, Failure log.

    Every source run above the base and at or below `last_attempted_run` is archived, or in the log, or open.
    """
    attempted = max(known.tried, default=0) if ledger.attempted is None else ledger.attempted
    state = ledger.held or State(run_numbers.last_contiguous(known.archived, ledger.base), attempted)
    missing = set(known.source) - known.archived
    listed = {run for run in missing if ledger.base < run <= state.last_attempted_run}
    failed = {run for run in known.failed if ledger.base < run} - known.archived
    not_attempted = {run for run in listed - failed if not known.is_open(run)}
    log = failed | not_attempted | (ledger.added - known.archived)
    return Derived(state, tuple(sorted(log)), frozenset(not_attempted), ledger.held is not None)


def raised(known: Known, attempted: int, *, explicit: bool) -> int:
    """`last_attempted_run` after a cycle: the highest run attempted; never lower than before.

    explicit: the operator named the runs. Then it rises only as far as no untried ready run lies below, so that one
    run archived out of turn does not push the others into the failure log.
    """
    tried = [run for run in known.tried if run > attempted]
    if explicit and tried:
        untried = sorted(run for run in set(known.source) - known.tried if run > attempted)
        barrier = next((run for run in untried if not known.is_open(run)), None)
        tried = [run for run in tried if barrier is None or run < barrier]
    return max(tried, default=attempted)


@dataclass(frozen=True, slots=True)
class Written:
    """What the files of one stage say, with an operator's edits taken over.

    state, log: as they stand; no state without a file. names: of state file and failure log.
    error: why a file cannot be used; then the ledger says nothing.
    """

    ledger: Ledger
    state: State | None
    log: frozenset[int]
    names: tuple[str, str]
    error: StateFileError | None = None


class StateFiles:
    """State file, failure log and ledger of one stage."""

    def __init__(self, settings: Settings, stage: Stage) -> None:
        app = settings.app
        self.stage = stage
        self.state_file = app.import_state_file if stage == "import" else app.migrate_state_file
        self.log_file = app.import_failure_log if stage == "import" else app.migrate_failure_log
        self._ledger_file = Tree(app.work_dir).note_path(stage)

    def read_log(self) -> set[int]:
        """The runs in the failure log as it stands. A missing log is empty. Raises StateFileError."""
        text = _read(self.log_file)
        found = set()
        for number, line in enumerate((text or b"").decode("utf-8", "replace").splitlines(), 1):
            if line.strip():
                run = run_numbers.number(line.strip())
                if run is None:
                    raise StateFileError(
                        f'"{line.strip()}" is no run number',
                        path=self.log_file,
                        line=number,
                        hint="correct or remove it",
                    )
                found.add(run)
        return found

    def read(self, known: Known) -> Ledger:
        """The ledger, with an operator's edits of state file and log taken over. Raises StateFileError."""
        ledger = self._read_ledger()
        text = _read(self.state_file, f"make it readable, or rebuild it with --recover-{self.stage}-state")
        if text is None:
            ledger = replace(ledger, base=0, attempted=None, held=None)
        elif _digest(text) not in ledger.state_digests:
            edited = _parse_state(text, self.state_file, self.stage)
            ledger = replace(ledger, base=edited.last_contiguous_run, attempted=edited.last_attempted_run, held=edited)
        log = _read(self.log_file)
        if log is not None and _digest(log) not in ledger.log_digests:
            unknown = self.read_log() - set(derive(known, ledger).log)
            ledger = replace(ledger, added=ledger.added | unknown)
        return replace(ledger, added=ledger.added - known.archived)

    def look(self, known: Known) -> Written:
        """All that can be read; what cannot is part of the answer."""
        ledger, state, log, error = Ledger(), None, set[int](), None
        try:
            text = _read(self.state_file)
            state = None if text is None else _parse_state(text, self.state_file, self.stage)
        except StateFileError as damage:
            error = damage
        try:
            log = self.read_log()
            ledger = self.read(known) if error is None else ledger
        except StateFileError as damage:
            error = error or damage
        return Written(ledger, state, frozenset(log), (self.state_file.name, self.log_file.name), error)

    def write(self, known: Known, ledger: Ledger) -> Derived:
        """Derive, and write what changed. Raises StateFileError (`Failed to write state file: Permission denied`).

        While state file and log are replaced, the ledger knows their old and their new contents: a crash in between
        must not look like an operator's edit.
        """
        derived = derive(known, ledger)
        state_text = (json.dumps(asdict(derived.state), indent=2) + "\n").encode()
        log_text = "".join(f"{run}\n" for run in derived.log).encode()
        new_state, new_log = (_digest(state_text),), (_digest(log_text),)
        final = replace(
            ledger, attempted=derived.state.last_attempted_run, state_digests=new_state, log_digests=new_log
        )
        during = replace(
            final,
            state_digests=tuple(dict.fromkeys(ledger.state_digests + new_state)),
            log_digests=tuple(dict.fromkeys(ledger.log_digests + new_log)),
        )
        for path, text in (
            (self._ledger_file, _encode(during)),
            (self.state_file, state_text),
            (self.log_file, log_text),
            (self._ledger_file, _encode(final)),
        ):
            if _read(path) != text:
                with self._writing(path):
                    files.make_directory(path.parent)
                    files.write_atomic(path, text)
        return derived

    def update(self, known: Known, *, attempted: bool = False, explicit: bool = False) -> Derived:
        """Bring the files up to date. Raises StateFileError.

        attempted: a cycle has just tried some run. Without one, what a killed cycle archived still counts, as far as no
        untried run lies below; and what could not be written afterwards is not begun: both files have to be writable.
        """
        ledger = self.read(known)
        if attempted:
            ledger = replace(ledger, held=None)
        else:
            for path in (self.state_file, self.log_file):
                with self._writing(path):
                    files.make_directory(path.parent)
                    files.check_replaceable(path)
        if ledger.held is None and ledger.attempted is not None:
            highest = raised(known, ledger.attempted, explicit=explicit or not attempted)
            ledger = replace(ledger, attempted=highest)
        return self.write(known, ledger)

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            what = "failure log" if path == self.log_file else "state file"
            raise StateFileError(
                f"Failed to write {what}: {error.strerror}",
                path=path,
                hint=host_limits.REMEDIES.get(error.errno or 0, "check space, owner and mode"),
            ) from error

    def _read_ledger(self) -> Ledger:
        text = _read(self._ledger_file)
        if text is None:
            return Ledger()
        try:
            return _LEDGER.validate_json(text)
        except pydantic.ValidationError as error:
            raise _invalid(self._ledger_file, self.stage, "it is not the ledger this program writes") from error


def _parse_state(text: bytes, path: Path, stage: Stage) -> State:
    """The two integers of a state file. Raises StateFileError that names the recovery command."""
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise _invalid(path, stage, "it is not JSON") from error
    if not isinstance(values, dict):
        raise _invalid(path, stage, "it is not a JSON object")
    for name in ("last_contiguous_run", "last_attempted_run"):
        if type(values.get(name)) is not int or not 0 <= values[name] < 2**63:
            raise _invalid(path, stage, f"{name} is not an integer from 0 up to 2^63 - 1")
    return State(values["last_contiguous_run"], values["last_attempted_run"])


def _invalid(path: Path, stage: Stage, why: str) -> StateFileError:
    return StateFileError(
        f"the state file cannot be used: {why}",
        path=path,
        hint=f"correct it, or rebuild it from the stores with --recover-{stage}-state",
    )


def _read(path: Path, hint: str = "check owner and mode") -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StateFileError(f"cannot be read: {host_limits.plain(error)}", path=path, hint=hint) from error


def _encode(ledger: Ledger) -> bytes:
    return json.dumps(asdict(ledger), default=sorted).encode() + b"\n"


def _digest(text: bytes) -> str:
    return hashlib.sha256(text).hexdigest()
