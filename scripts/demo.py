"""`make demo`: made-up runs, real stores, the real command line, step by step.

Starts PostgreSQL and the UconDB development server, archives, shows a failure and its repair, and leaves everything in
place to look around. All of it lies in one folder.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import secrets
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import requests
import yaml
from requests.auth import HTTPDigestAuth
from rich.console import Console

from scripts.make_run_records import make_records, remove_record

REPOSITORY = Path(__file__).resolve().parent.parent
FIRST_RUN, RUNS = 5001, 60
BROKEN_RUN = FIRST_RUN + RUNS
USER = "archiver"

console = Console(highlight=False)


@dataclass(frozen=True)
class Demo:
    """The demo's folder and what lies in it."""

    root: Path

    @property
    def password_file(self) -> Path:
        """The made-up password of the development server."""
        return self.root / "password"

    @property
    def server_data(self) -> Path:
        """Where the development server and its PostgreSQL keep their data."""
        return self.root / "ucondb"

    @property
    def configurations(self) -> list[Path]:
        """The demo's config.yaml and those of `RECORDS=`."""
        return sorted([*self.root.glob("config.yaml"), *self.root.glob("records-*/config.yaml")])

    def serve(self) -> str:
        """Start the server, on its former port if it had one; give its URL. Configurations follow a new port."""
        self.root.mkdir(parents=True, exist_ok=True)
        if not self.password_file.exists():
            self.password_file.touch(mode=0o600)
            self.password_file.write_text(secrets.token_urlsafe(16) + "\n")
        self._server("--detach", "--port", str(self._former_port()))
        url = str(json.loads((self.server_data / "server.json").read_text())["url"])
        for path in self.configurations:
            settings = yaml.safe_load(path.read_text())
            settings["ucon_db"]["server_url"] = url
            path.write_text(yaml.safe_dump(settings, sort_keys=False))
        return url

    def stop(self) -> None:
        """Stop the server and PostgreSQL; nothing happens if they do not run."""
        if self.server_data.exists():
            self._server("--stop")

    def _server(self, *options: str) -> None:
        script = REPOSITORY / "scripts" / "ucondb_dev_server.py"
        command = [sys.executable, "-I", str(script), "--data", str(self.server_data)]
        if "--stop" not in options:
            command += ["--user", USER, "--password-file", str(self.password_file)]
        subprocess.run([*command, *options], check=True)

    def _former_port(self) -> int:
        for path in self.configurations:
            url = str(yaml.safe_load(path.read_text())["ucon_db"]["server_url"])
            return int(url.partition("://")[2].partition("/")[0].rpartition(":")[2])
        return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, start or stop the demo; give the exit status."""
    parser = argparse.ArgumentParser(description="The archiver's demo.")
    parser.add_argument("--directory", type=Path, default=Path("demo"))
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("run", help="archive runs and show it")
    run.add_argument("--records", type=Path, help="take these run records instead of made-up ones")
    actions.add_parser("start", help="start the servers again")
    actions.add_parser("stop", help="stop the servers")
    options = parser.parse_args(arguments)
    demo = Demo(options.directory.resolve())
    if options.action == "stop":
        demo.stop()
        return 0
    if options.action == "start":
        if not demo.configurations:
            sys.exit(f"there is no demo in {demo.root} (make one with: make demo)")
        print(f"UconDB at {demo.serve()}")
        return 0
    return _other_records(demo, options.records) if options.records else _made_up_records(demo)


def _made_up_records(demo: Demo) -> int:
    """Archive new made-up records, show a failure and its repair, and restore a run."""
    _title(f"Setting up: {RUNS} made-up run records, PostgreSQL, UconDB development server")
    _clear(demo)
    records = demo.root / "run_records"
    make_records(RUNS, records, first_run=FIRST_RUN)
    config = _configure(demo, demo.root, records, demo.serve(), "run_records")
    _title("Every run into artdaqDB and on into UconDB")
    _archiver(config, expect=0)
    _archiver(config, "--report-status", expect=0)
    _title(f"Run {BROKEN_RUN} comes as an empty directory")
    make_records(1, records, first_run=BROKEN_RUN, breaks={BROKEN_RUN: "empty"})
    _archiver(config, "--incremental", expect=1)
    _archiver(config, "--report-status", expect=1)
    _title(f"The files of run {BROKEN_RUN} are found again, and the run retried")
    make_records(1, records, first_run=BROKEN_RUN)
    _archiver(config, "--retry-failed-import", expect=0)
    _archiver(config, "--incremental", expect=0)
    _archiver(config, "--report-status", expect=0)
    _title(f"Run {FIRST_RUN} comes back from UconDB, byte for byte")
    restored = demo.root / "restored"
    _archiver(config, "--restore", str(FIRST_RUN), str(restored), "--from", "ucondb", expect=0)
    _show_equal(records / str(FIRST_RUN), restored / str(FIRST_RUN))
    _look_around(config)
    return 0


def _other_records(demo: Demo, records: Path) -> int:
    """The given records, with a work directory, an archive and a UconDB folder of their own."""
    if not records.is_dir():
        sys.exit(f"RECORDS={records}: there is no such directory")
    records = records.resolve()
    name = f"records_{hashlib.sha256(os.fsencode(records)).hexdigest()[:8]}"
    root = demo.root / name.replace("_", "-")
    root.mkdir(parents=True, exist_ok=True)
    url = demo.serve()
    answer = requests.get(
        f"{url}/create_folder",
        params={"folder": name},
        auth=HTTPDigestAuth(USER, demo.password_file.read_text().strip()),
        timeout=30,
    )
    answer.raise_for_status()
    config = _configure(demo, root, records, url, name)
    _title(f"The records in {records}")
    status = _archiver(config)
    _archiver(config, "--report-status")
    _look_around(config)
    return status


def _configure(demo: Demo, root: Path, records: Path, url: str, folder: str) -> Path:
    path = root / "config.yaml"
    settings = {
        "app": {"work_dir": str(root / "work"), "log_file": "${work_dir}/archiver.log"},
        "source_files": {"run_records_dir": str(records), "quiet_seconds": 0, "settle_seconds": 0},
        "artdaq_db": {"database_uri": f"filesystemdb://{root / 'artdaqdb'}"},
        "ucon_db": {
            "server_url": url,
            "folder_name": folder,
            "include_originals": True,
            "writer_user": USER,
            "writer_password_file": str(demo.password_file),
        },
        "reporting": {"html_file": str(root / "status.html")},
    }
    path.write_text(yaml.safe_dump(settings, sort_keys=False))
    return path


def _archiver(config: Path, *options: str, expect: int | None = None) -> int:
    """Show and run one command; return its exit status. An unexpected status ends the demo."""
    shown = os.path.relpath(config, REPOSITORY) if config.is_relative_to(REPOSITORY) else config
    console.print(f"\n[bold]$ ./run_archiver.sh {shown} {' '.join(options)}[/bold]")
    sys.stdout.flush()
    environ = os.environ | {"RRA_PYTHON": sys.executable}
    done = subprocess.run([str(REPOSITORY / "run_archiver.sh"), str(config), *options], env=environ, check=False)
    if expect is not None and done.returncode != expect:
        sys.exit(f"the demo expected exit status {expect}, and got {done.returncode}")
    return done.returncode


def _show_equal(record: Path, restored: Path) -> None:
    """Compare the DAQ's directory with a restored one. A difference ends the demo."""
    console.print(f"\n[bold]$ diff -r {record} {restored}[/bold]", soft_wrap=True)
    sys.stdout.flush()
    diff = shutil.which("diff") or "/usr/bin/diff"
    if subprocess.run([diff, "-r", str(record), str(restored)], check=False).returncode != 0:
        sys.exit("the restored record is not what the DAQ wrote")
    print("no difference")


def _clear(demo: Demo) -> None:
    """Begin anew; the folder is the demo's own."""
    demo.stop()
    for records in demo.root.glob("run_records/*"):
        remove_record(records)
    for path in demo.root.glob("*"):
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink()


def _look_around(config: Path) -> None:
    _title("Look around")
    console.print(
        f"  ./run_archiver.sh {config} --report-status   what is where\n"
        f"  {config.with_name('status.html')}   the same as a page, for a browser\n"
        f"  ./run_archiver.sh {config} --dry-run         what the next cycle would do\n"
        f"  .venv/bin/python -I -m snakemake --configfile {config}    the same as a plain Snakemake workflow\n"
        f"  ls {config.parent / 'work' / 'markers'}   one marker per run and stage\n"
        "  make demo-stop    stop UconDB and PostgreSQL (make demo-start brings them back)",
        soft_wrap=True,
    )


def _title(text: str) -> None:
    console.print()
    console.rule(f"[bold]{text}[/bold]", align="left")


if __name__ == "__main__":
    raise SystemExit(main())
