"""What to do about a class of failure, in one sentence; docs/troubleshoot.md explains the messages themselves."""

from __future__ import annotations

from collections.abc import Collection

from rra_state.base import run_numbers
from rra_state.state.outcome import Stage

_REMEDIES = {
    "RecordError": "Mend the record as the reason says, then retry.",
    "FhiclError": "Mend the file at the line named, or allow on_bad_file: keep_text, then retry.",
    "BlobError": "Look at what artdaqDB holds of the run, then retry.",
    "Conflict": "UconDB holds other content under this run. Compare both, and accept what is there with"
    " --recover-migrate-state, or remove it there and retry.",
    "VerificationError": "What was read back differs. --compare-state tells which store is off; then retry.",
    "WorkerLost": "A worker process died on it twice: look for lack of memory in the system's log, then retry.",
    "LostFromIndex": "artdaqDB's index lost the run and its record is gone: look in UconDB, and --rebuild-index.",
    "NotAttempted": "Nothing is wrong with it: the next cycle takes it.",
    "Listed": "The retry takes it once it has a record, or is in artdaqDB.",
    "Damaged": "Its failure record cannot be read: remove that file, then recover the state.",
}
_OTHERWISE = "Do what the reason says, then retry."


def remedy(kind: str) -> str:
    """What helps against failures of this class."""
    return _REMEDIES.get(kind, _OTHERWISE)


def option(kind: str, stage: Stage, numbers: Collection[int]) -> str:
    """The option of the command line to type once that is done, for runs of this class of failure."""
    if stage == "refresh":
        return f"--runs {run_numbers.text(numbers)}"
    if kind == "NotAttempted":
        return "--incremental"
    return f"--recover-{stage}-state" if kind == "Damaged" else f"--retry-failed-{stage}"
