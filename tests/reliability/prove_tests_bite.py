"""Shows that the tests of this directory bite: the archiver is broken on a copy, and they have to fail.

    .venv/bin/python -m tests.reliability.prove_tests_bite [WORD]

WORD: only the breakages with this word in their name. Each of them stays unnoticed as long as nothing goes wrong.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import venv
from dataclasses import dataclass
from pathlib import Path

from tests.paths import REPOSITORY


@dataclass(frozen=True)
class Breakage:
    """One edit of one file, and the tests that must notice."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]


_POWER_LOSS = ("tests/reliability/test_power_loss.py",)
_ORACLE = ("tests/reliability/test_oracle.py",)
_OTHER_PROGRAMS = ("tests/acceptance/test_foreign_versions.py",)
_VERDICT = "rra_state/reporting/verdict.py"

BREAKAGES = (
    Breakage(
        "fsync of files removed",
        "rra_state/base/files.py",
        '            announce("fsync", path)\n            os.fsync(stream.fileno())\n',
        "            pass\n",
        _POWER_LOSS,
    ),
    Breakage(
        "sync of a batch removed",
        "rra_state/base/files.py",
        "            _sync_file_system(directory)\n",
        "            pass\n",
        _POWER_LOSS,
    ),
    Breakage(
        "fsync of directories removed",
        "rra_state/base/files.py",
        '    announce("fsync directory", path)\n',
        "    return\n",
        _POWER_LOSS,
    ),
    Breakage(
        "comparison with what is read back removed",
        "rra_state/stores/ucondb/client.py",
        "        if content != blob or version.id != identity:\n",
        "        if False:\n",
        ("tests/reliability/test_read_back.py",),
    ),
    Breakage(
        "lock removed",
        "rra_state/base/lock.py",
        "            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)\n        except BlockingIOError:",
        "            pass\n        except BlockingIOError:",
        ("tests/reliability/test_two_at_once.py",),
    ),
    Breakage(
        "quiet time removed",
        "rra_state/records/source.py",
        "    return settings.settle_seconds if gaps else settings.quiet_seconds\n",
        "    return 0\n",
        ("tests/acceptance/test_quiet_time.py", "-k", "quiet or slow_copy"),
    ),
    Breakage(
        "refresh replaces any blob",
        "rra_state/stores/ucondb/client.py",
        "            done = self._already(run, blob, override_of)\n            if done is not None:",
        "            done = None\n            if done is not None:",
        ("tests/acceptance/test_refresh.py", "-k", "somebody_replaced"),
    ),
    Breakage(
        "runs never tried left out of the failure log",
        "rra_state/state/state_files.py",
        "    log = failed | not_attempted | (ledger.added - known.archived)\n",
        "    log = failed | (ledger.added - known.archived)\n",
        ("tests/unit/state",),
    ),
    Breakage(
        "lines of an operator left out of the failure log",
        "rra_state/state/state_files.py",
        "    log = failed | not_attempted | (ledger.added - known.archived)\n",
        "    log = failed | not_attempted\n",
        ("tests/unit/state",),
    ),
    Breakage(
        "markers before the index",
        "rra_state/execution/commit.py",
        '            if stage == "import":\n                self._artdaqdb.publish(',
        '            if stage == "import":\n                self._mark(stage, [o for o in outcomes if o.archived])\n'
        "                self._artdaqdb.publish(",
        ("tests/reliability/test_crash_points.py", "tests/unit/execution"),
    ),
    Breakage(
        "window's Snakemake not isolated",
        "rra_state/cycle/window_process.py",
        '[sys.executable, "-I", "-m", "snakemake", *arguments]',
        '[sys.executable, "-m", "snakemake", *arguments]',
        ("tests/acceptance/test_isolated.py",),
    ),
    Breakage(
        "a failed run fails its chunk",
        "rra_state/workers/worker.py",
        "    except ArchiverError as error:\n        return Outcome(",
        "    except ZeroDivisionError as error:  # which is none of ours\n        return Outcome(",
        ("tests/acceptance/test_faults.py", "-k", "bad_record or repaired"),
    ),
    Breakage(
        "verdict without changed records",
        _VERDICT,
        "    if changed := snapshot.changed:\n",
        "    if changed := frozenset():\n",
        _ORACLE,
    ),
    Breakage(
        "verdict without findings",
        _VERDICT,
        '    if wrong := counted.failed["verify"]:\n',
        "    if wrong := frozenset():\n",
        (*_ORACLE, "tests/acceptance/test_verdict.py"),
    ),
    Breakage(
        "verdict without lost runs",
        _VERDICT,
        "    if lost:\n",
        "    if False:\n",
        ("tests/acceptance/test_verdict.py", "-k", "a8"),
    ),
    Breakage(
        "verdict without unverified runs",
        _VERDICT,
        "    if unverified := snapshot.unverified:\n",
        "    if unverified := frozenset():\n",
        ("tests/acceptance/test_verdict.py", "-k", "a5"),
    ),
    Breakage(
        "an empty records' directory believed",
        "rra_state/state/shrunk_sites.py",
        "    if not known or listing.runs or",
        "    if True or not known or listing.runs or",
        _ORACLE,
    ),
    Breakage(
        "a record that lost files archived again",
        "rra_state/workers/refresh_stage.py",
        "    if run in known and not may_shrink:\n",
        "    if False:\n",
        ("tests/acceptance/test_refresh.py", "-k", "lost_a_file"),
    ),
    Breakage(
        "a run that another program still stores taken",
        "rra_state/workers/foreign_versions.py",
        "    if wrong and abs(time.time() - lookup.last_assigned(location)) < settle_seconds:\n",
        "    if False:\n",
        _OTHER_PROGRAMS,
    ),
    Breakage(
        "later versions of another program not looked for",
        "rra_state/state/newer_versions.py",
        '    located, refreshed = store.locate(runs & tree.archived("migrate")), tree.refreshed()\n',
        "    located, refreshed = store.locate(()), tree.refreshed()\n",
        _OTHER_PROGRAMS,
    ),
    Breakage(
        "an incomplete record taken after the short quiet time",
        "rra_state/records/source.py",
        "    return settings.settle_seconds if gaps else settings.quiet_seconds\n",
        "    return settings.quiet_seconds\n",
        ("tests/acceptance/test_remarks.py", "-k", "a13"),
    ),
    Breakage(
        "a change in the future taken for an old one",
        "rra_state/records/source.py",
        "        return Readiness(now - found.newest >= needed or needed <= 0)\n",
        "        return Readiness(True)\n",
        ("tests/unit/records/test_source.py", "tests/acceptance/test_quiet_time.py", "-k", "a12 or quiet"),
    ),
    Breakage(
        "other files of a record left out",
        "rra_state/records/source.py",
        "        required = _is_required(name)\n",
        "        if not (required := _is_required(name)):\n            continue\n",
        ("tests/acceptance/test_remarks.py", "-k", "e9"),
    ),
    Breakage(
        "remarks left out",
        "rra_state/records/source.py",
        "        completeness.remarks(gaps, texts, {entry.name for entry in skipped}, dates, time.time()),\n",
        "        (),\n",
        ("tests/acceptance/test_remarks.py", "-k", "a13"),
    ),
    Breakage(
        "watched records not looked at",
        "rra_state/state/changed_records.py",
        '    watched = (snapshot.watched | snapshot.unfinished.keys()) & snapshot.archived["migrate"]\n',
        "    watched = frozenset[int]()\n",
        ("tests/acceptance/test_refresh.py", "-k", "a1"),
    ),
    Breakage(
        "a recovered run not watched",
        "rra_state/execution/verification.py",
        "        tree.write_markers(markers, watch)\n",
        "        tree.write_markers(markers, ())\n",
        ("tests/acceptance/test_refresh.py", "-k", "a7"),
    ),
    Breakage(
        "findings not written down",
        "rra_state/execution/verification.py",
        "            tree.write_findings(self.findings.values(), right)\n",
        "            tree.write_findings((), right)\n",
        ("tests/acceptance/test_verdict.py", "-k", "a6"),
    ),
    Breakage(
        "cycles verify nothing",
        "rra_state/execution/verification.py",
        "    chosen = order[: settings.app.verify_per_cycle]\n",
        "    chosen = order[:0]\n",
        ("tests/acceptance/test_verdict.py", "-k", "a5"),
    ),
    Breakage(
        "verdict with a site that cannot be read",
        _VERDICT,
        "    if any(site.error is not None for site in sites):\n        shrunk =",
        "    if False:\n        shrunk =",
        ("tests/acceptance/test_outages.py", "-k", "a4 or a2"),
    ),
    Breakage(
        "a store that shrank believed",
        "rra_state/state/shrunk_sites.py",
        "    if not missing or (held and",
        "    if True or not missing or (held and",
        ("tests/acceptance/test_outages.py", "-k", "a3"),
    ),
    Breakage(
        "a stage that stops ends the other",
        "rra_state/execution/driver.py",
        '            self._stopped_stages |= {error.stage, "refresh"}\n',
        '            self._stopped_stages |= {"import", "migrate", "refresh"}\n',
        ("tests/unit/execution/test_driver.py",),
    ),
    Breakage(
        "nothing put by --check",
        "rra_state/cli/check.py",
        "        store.try_put()\n",
        "",
        ("tests/acceptance/test_check.py", "-k", "refuses_every_put"),
    ),
    Breakage(
        "a record that came back counts as compared",
        "rra_state/state/snapshot.py",
        'return frozenset(self.columns("migrate").without_record & self.on_disk - compared - self.unverified)',
        "return frozenset()",
        ("tests/acceptance/test_verify.py",),
    ),
    Breakage(
        "a forgotten run whose record is back stays forgotten",
        "rra_state/state/lost_runs.py",
        "    if back := snapshot.forgotten & snapshot.records:\n",
        "    if back := frozenset[int]():\n",
        ("tests/acceptance/test_verdict.py", "-k", "a8"),
    ),
    Breakage(
        "records in another directory count as compared",
        "rra_state/state/markers.py",
        "return runs if looked_into == str(directory) else frozenset()",
        "return runs",
        ("tests/acceptance/test_false_safe.py", "-k", "directory"),
    ),
    Breakage(
        "a record that came back not read where watch_days is 0",
        "rra_state/state/changed_records.py",
        "left_unread = not files.watch_days and began > 0 and not unfinished",
        "left_unread = not files.watch_days and not unfinished",
        ("tests/acceptance/test_false_safe.py", "-k", "another"),
    ),
)


def main() -> int:
    """Try every breakage; 1 if one was not noticed, or if the tests fail on the tree as it is."""
    chosen = [each for each in BREAKAGES if all(word in each.name for word in sys.argv[1:])]
    good = all(_outcome(None, tests) == 0 for tests in dict.fromkeys(each.tests for each in chosen))
    print(f"{'unbroken':45} {'tests pass' if good else 'TESTS FAIL'}", flush=True)
    for each in chosen:
        noticed = _outcome(each, each.tests) == 1
        print(f"{each.name:45} {'noticed' if noticed else 'NOT NOTICED'} by {' '.join(each.tests)}", flush=True)
        good = good and noticed
    return 0 if good else 1


def _outcome(breakage: Breakage | None, tests: tuple[str, ...]) -> int:
    """Exit status of pytest on a copy of the tree: 0 all passed, 1 some failed."""
    with tempfile.TemporaryDirectory(prefix="rra-bite-") as directory:
        copy = Path(directory) / "tree"
        shutil.copytree(REPOSITORY, copy, ignore=shutil.ignore_patterns(".*", "build", "dist", "__pycache__"))
        if breakage is not None:
            file = copy / breakage.file
            text = file.read_text()
            if text.count(breakage.old) != 1:
                raise SystemExit(f"{breakage.name}: {breakage.file} has changed; correct this script")
            file.write_text(text.replace(breakage.old, breakage.new))
        command = [str(_environment(copy)), "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *tests]
        # Any failure will do; to look for the smallest one takes minutes.
        environment = {**os.environ, "HYPOTHESIS_PROFILE": "unshrunk"}
        return subprocess.run(command, cwd=copy, env=environment, check=False, capture_output=True).returncode


def _environment(copy: Path) -> Path:
    """A Python that imports the copy, isolated processes (`python -I`) included.

    It has the packages of this environment, but not its installation of the tree that is not broken.
    """
    venv.create(copy / ".venv", symlinks=True)
    [packages] = (copy / ".venv" / "lib").glob("python3*/site-packages")
    paths = (copy, copy / "workflow" / "executor", sysconfig.get_path("purelib"))
    (packages / "copy.pth").write_text("".join(f"{path}\n" for path in paths))
    return copy / ".venv" / "bin" / "python"


if __name__ == "__main__":
    sys.exit(main())
