"""Commands in the pages: found as they stand there, and run against a site."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from rra_state.state.outcome import STAGES
from tests import in_process
from tests.acceptance.changing_records import edit
from tests.nasty_records import found
from tests.paths import REPOSITORY
from tests.site import TIMEOUT, Site, environment

README = REPOSITORY / "README.md"
_PAGES = (
    "getting_started",
    "restore",
    "install",
    "configure",
    "operate",
    "report",
    "parameters",
    "state",
    "troubleshoot",
    "stores",
)
DOCS = [REPOSITORY / "docs" / f"{name}.md" for name in _PAGES]
RUN = 12345
"""The run that the pages take as an example."""

ELSEWHERE = {
    "make demo": "test_readme.py, test_the_demo_is_what_the_readme_promises",
    "make demo RECORDS=/data/run_records": "the same",
    "./run_archiver.sh demo/config.yaml --check": "the same",
    "./run_archiver.sh demo/config.yaml --report-status": "the same",
    "./run_archiver.sh demo/config.yaml --retry-failed-import": "the same, by the demo itself",
    "make demo-start": "the same",
    "make demo-stop": "the same",
    "make setup": ".ci/run, as a prerequisite of the next two",
    "make debian": "`make test`, as a prerequisite",
    "make lint": ".ci/run",
    "make test": ".ci/run; it runs this very test",
    "make docs": "test_docs_site.py",
    "./run_archiver.sh CONFIG --report-status --compare-state": "test_docs_state.py",
    "./run_archiver.sh CONFIG --retry-failed-import -v": "the same",
    ".venv/bin/python -m pytest tests -k contract": "make test",
    ".venv/bin/python -m pytest tests -k dask -v": "make test",
    "make test-deploy": ".ci/nightly",
    "make test-newest": ".ci/nightly",
    "make lock": "nobody but a person: it asks the package index; test_lock.py checks what it made",
    "make wheelhouse": "`make test-deploy`, as a prerequisite",
    "make test-long": "nobody but a person: it takes too long",
    "make bench": "the same; its parts by test_bench.py",
    ".venv/bin/python -m scripts.make_role_docs": "test_make_role_docs.py",
    ".venv/bin/python -m scripts.make_command_docs": "test_make_command_docs.py",
    ".venv/bin/python -m scripts.make_config_docs": "test_make_config_docs.py",
    "./run_archiver.sh CONFIG --test-message": "test_aftermath.py",
    "./run_archiver.sh CONFIG --diff 12344 12345": "test_parameters.py: two runs differ, which is no success",
    "./run_archiver.sh CONFIG --diff 12344 12345 --format json": "the same",
}
"""Commands of the pages that another place runs, and which."""

_BEGINNINGS = ("./run_archiver.sh ", ".venv/bin/", "make ")
_CODE_LINE = re.compile(r"^ {4,}(\S.*)$", re.MULTILINE)
_FENCE = re.compile(r"^```\w*\n(.*?)^```", re.MULTILINE | re.DOTALL)
_IN_LINE = re.compile(r"`([^`\n]+)`")


def commands(*pages: Path) -> list[str]:
    """Every command in these pages, once: indented, fenced and quoted, without comments and `> file`."""
    found: dict[str, None] = {}
    for page in pages:
        text = page.read_text()
        fenced = [line.strip() for block in _FENCE.findall(text) for line in block.splitlines()]
        for line in [*_CODE_LINE.findall(text), *fenced, *_IN_LINE.findall(text)]:
            command = re.sub(r"\s+(#.*|> \S+)$", "", line).strip()
            if command.startswith(_BEGINNINGS):
                found[command] = None
    return list(found)


@dataclass(frozen=True)
class Example:
    """A site on which a command has something to do, and what shows that it did it."""

    prepare: Callable[[Site], object] = lambda site: site.make(1, RUN)
    done: Callable[[Site], bool] = lambda site: site.markers("migrate") == {RUN}


def run(command: str, site: Site) -> subprocess.CompletedProcess[str]:
    """Run a command as it stands in a page, from the checkout, with the site's names for the page's placeholders."""
    words = _words(command, site)
    words[0] = re.sub(r"^\.venv/bin/", f"{sys.prefix}/bin/", words[0])
    return subprocess.run(
        words,
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=TIMEOUT,
        check=False,
        env=environment() | {"RRA_PYTHON": sys.executable},
    )


def run_in_process(command: str, site: Site) -> subprocess.CompletedProcess[str]:
    """The same in this process if it is the command line's; run_archiver.sh itself is left out."""
    program, *words = _words(command, site)
    if program != "./run_archiver.sh":
        return run(command, site)
    ended = in_process.command(*words)
    return subprocess.CompletedProcess([program, *words], ended.status, ended.output, ended.log)


def _words(command: str, site: Site) -> list[str]:
    places = {"ARCHIVE": "artdaqdb", "BLOB": "blob.txt", "DIRECTORY": "files"}
    names = {"CONFIG": str(site.config)} | {name: str(site.root / place) for name, place in places.items()}
    return [names.get(word, word) for word in shlex.split(command)]


def check(command: str, site: Site, runner: Callable[[str, Site], subprocess.CompletedProcess[str]] = run) -> None:
    """Run a command on its example; it has to end well and to have done what it is for."""
    example = EXAMPLES[command]
    example.prepare(site)

    done = runner(command, site)

    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert example.done(site), f"{done.stdout}\n{done.stderr}"


# ---- the examples --------------------------------------------------------------------------------------------------


def _listed_runs(site: Site) -> None:
    """A range may have gaps."""
    site.make(2, 99)
    site.make(3, 199)
    site.make(1, 305)
    site.make(1, RUN)


def _imported(site: Site) -> None:
    site.make(1, RUN)
    site.archive_runs("--import-only")


def _archived(site: Site) -> None:
    site.make(1, RUN)
    site.archive_runs()


def _changed(site: Site) -> None:
    _archived(site)
    edit(site, RUN, lambda text: text + b"\nTotal events: 7\n")


def _archived_range(site: Site) -> None:
    site.make(3, 150)
    site.archive_runs()


def _with_originals(site: Site) -> None:
    site.configure(ucon_db={"include_originals": True})
    _archived(site)


def _two_archived(site: Site) -> None:
    site.make(1, 150)
    site.make(1, 305)
    site.archive_runs()


def _blob(site: Site) -> None:
    _archived(site)
    (site.root / "blob.txt").write_bytes(site.blobs()[str(RUN)])


def _failed(site: Site) -> None:
    """A run that an operator put into the failure log: the same to a retry as one that failed."""
    site.make(2, RUN)
    site.work.mkdir()
    (site.work / "import_failures.log").write_text(f"{RUN}\n")


def _lost(site: Site) -> None:
    """A run in the failure log that no place has."""
    site.work.mkdir()
    (site.work / "import_failures.log").write_text(f"{RUN}\n")


def _failed_migration(site: Site) -> None:
    site.make(2, RUN)
    site.archive_runs("--import-only")
    (site.work / "migrate_failures.log").write_text(f"{RUN}\n")


def _forgotten(site: Site) -> None:
    """An archive whose work directory was lost."""
    _archived(site)
    for path in sorted(site.work.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


def _artdaqdb_emptied(site: Site) -> None:
    _archived(site)
    shutil.rmtree(site.root / "artdaqdb")
    (site.root / "artdaqdb").mkdir()


def _ucondb_emptied(site: Site) -> None:
    _archived(site)
    site.ucondb.execute("delete from {folder}_versions")


def _without_index(site: Site) -> None:
    _imported(site)
    index = site.root / "artdaqdb" / "RunHistory" / "index.json"
    index.write_text("damaged")
    os.utime(index, (0, 0))  # one that changed just now is waited for


def _nothing_done(site: Site) -> bool:
    return not any(site.markers(stage) for stage in STAGES)


def _given_up(site: Site) -> bool:
    return (site.work / "forgotten" / str(RUN)).exists() and not (site.work / "import_failures.log").read_text()


def _imported_only(site: Site) -> bool:
    return site.markers("import") == {RUN} and site.markers("migrate") == set()


_ARCHIVES = Example()
_LOOKS = Example(done=_nothing_done)
_REPORTS = Example(_archived)
_IMPORTS = Example(done=_imported_only)
_REBUILDS = Example(_without_index, lambda site: site.archive.runs() == {RUN})
_RESTORES = Example(
    _with_originals, lambda site: found(site.root / "files" / str(RUN)) == found(site.records / str(RUN))
)
_ARCHIVER = "./run_archiver.sh CONFIG"
_PARAMETERS = f"{_ARCHIVER} --parameters '*.generator'"
_SNAKEMAKE = ".venv/bin/python -I -m snakemake"

EXAMPLES = {
    _ARCHIVER: _ARCHIVES,
    f"{_ARCHIVER} --incremental": _ARCHIVES,
    f"{_ARCHIVER} --incremental -v": _ARCHIVES,
    f"{_ARCHIVER} --order newest": _ARCHIVES,
    f"{_ARCHIVER} --validate": _ARCHIVES,
    f"{_ARCHIVER} --import-only": _IMPORTS,
    f"{_ARCHIVER} --migrate-only": Example(_imported),
    f"{_ARCHIVER} --runs 100-200,305": Example(
        _listed_runs, lambda site: site.markers("migrate") == {100, 199, 200, 305}
    ),
    f"{_ARCHIVER} --runs {RUN}": _ARCHIVES,
    f"{_ARCHIVER} --refresh {RUN}": Example(_changed, lambda site: site.versions() == 2),
    f"{_ARCHIVER} --forget {RUN}": Example(_lost, _given_up),
    f"{_ARCHIVER} --retry-failed-import": Example(_failed, _imported_only),
    f"{_ARCHIVER} --retry-failed-migrate": Example(_failed_migration),
    f"{_ARCHIVER} --check": _LOOKS,
    f"{_ARCHIVER} --dry-run": _LOOKS,
    f"{_ARCHIVER} --report-status": _REPORTS,
    f"{_ARCHIVER} --report-status --since 7d": _REPORTS,
    f"{_ARCHIVER} --report-status --stage migrate": _REPORTS,
    f"{_ARCHIVER} --report-status --format html": _REPORTS,
    f"{_ARCHIVER} --report-status --format json": _REPORTS,
    f"{_ARCHIVER} --report-status --format csv": _REPORTS,
    f"{_ARCHIVER} --report-status --format json --compare-state": _REPORTS,
    f"{_ARCHIVER} --follow": _LOOKS,
    f"{_ARCHIVER} --compare-state": Example(_archived),
    f"{_ARCHIVER} --recover-import-state": Example(_forgotten, _imported_only),
    f"{_ARCHIVER} --recover-migrate-state": Example(_forgotten),
    f"{_ARCHIVER} --recover-import-state --recover-migrate-state": Example(_forgotten),
    f"{_ARCHIVER} --recover-import-state --accept-loss": Example(
        _artdaqdb_emptied, lambda site: site.markers("import") == set() and site.markers("migrate") == {RUN}
    ),
    f"{_ARCHIVER} --recover-migrate-state --accept-loss": Example(_ucondb_emptied, _imported_only),
    f"{_ARCHIVER} --verify": Example(_archived),
    f"{_ARCHIVER} --verify --subset 1/7": Example(_archived),
    f"{_ARCHIVER} --verify --runs 100-200": Example(
        _archived_range, lambda site: site.markers("migrate") == {150, 151, 152}
    ),
    f"{_ARCHIVER} --restore {RUN} DIRECTORY": _RESTORES,
    f"{_ARCHIVER} --restore {RUN} DIRECTORY --from ucondb": _RESTORES,
    f"{_ARCHIVER} --restore 100-200,305 DIRECTORY": Example(
        _two_archived, lambda site: {path.name for path in (site.root / "files").iterdir()} == {"150", "305"}
    ),
    f"{_ARCHIVER} --verify --restore-drill 3": Example(_with_originals),
    f"{_ARCHIVER} --show 12345": Example(_archived),
    _PARAMETERS: Example(_archived),
    f"{_PARAMETERS} --format csv": Example(_archived),
    f"{_PARAMETERS} --format json": Example(_archived),
    f"{_PARAMETERS} --parameters 'boot.debug_level' --runs 12000-12999,12345": Example(_archived),
    "./run_archiver.sh show 12345 --config CONFIG": Example(_archived),
    "./run_archiver.sh unpack BLOB DIRECTORY": Example(_blob, lambda site: (site.root / "files/boot.fcl").exists()),
    "./run_archiver.sh --version": _LOOKS,
    f"{_SNAKEMAKE} --configfile CONFIG": _ARCHIVES,
    f"{_SNAKEMAKE} -n --configfile CONFIG": _LOOKS,
    f"{_SNAKEMAKE} import_all --configfile CONFIG": _IMPORTS,
    f"{_SNAKEMAKE} migrate_all --configfile CONFIG": _ARCHIVES,
    f"{_SNAKEMAKE} markers/migrate/12345.json --configfile CONFIG": _ARCHIVES,
    f"{_SNAKEMAKE} report --configfile CONFIG": Example(
        done=lambda site: _nothing_done(site) and (site.work / "status.html").exists()
    ),
    f"{_ARCHIVER} --rebuild-index": _REBUILDS,
}
