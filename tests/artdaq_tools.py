"""Stand-ins for artdaq's bulkloader and bulkdownloader: they write and read the real format, and fail as the real do.

The real ones cannot be installed from a registry. Source: docs/design/artdaqdb.md, Loader and downloader.
Run as a program it is one of them: python -m tests.artdaq_tools bulkloader -r RUN -c CONFIG -p DIR -t 1.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

from rra_state.base.errors import FhiclError
from rra_state.records import fhicl
from rra_state.stores.artdaqdb.document import timestamp
from tests.paths import REPOSITORY
from tests.unit.stores.artdaqdb.artdaqdb_helpers import Artdaq

PROGRAMS = ("bulkloader", "bulkdownloader")


class Tools:
    """A directory with the two executables; `fault` makes them misbehave from then on."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        for name in PROGRAMS:
            script = directory / name
            script.write_text(
                f"#!/bin/sh\nexport PYTHONPATH={REPOSITORY} RRA_TEST_TOOLS={shlex.quote(str(directory))}\n"
                f'exec {sys.executable} -m tests.artdaq_tools {name} "$@"\n'
            )
            script.chmod(0o755)

    def fault(self, program: str, what: str) -> None:
        """`lose`, `partial`, `stall`, `hang`, `abort`, `twice`, `folders` or `other`; empty for none."""
        (self.directory / f"{program}.fault").write_text(what)

    @property
    def calls(self) -> list[list[str]]:
        """Arguments of every call so far."""
        log = self.directory / "calls"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []

    @property
    def overlapped(self) -> bool:
        """Whether two loaders ever ran at once."""
        return (self.directory / "overlapped").exists()


def main(arguments: list[str]) -> int:
    program, *rest = arguments
    directory = Path(os.environ["RRA_TEST_TOOLS"])
    with (directory / "calls").open("a") as log:
        log.write(json.dumps(arguments) + "\n")
    parser = argparse.ArgumentParser(allow_abbrev=False)
    parser.add_argument("-c", "--configuration", dest="c", required=True)
    for option in "rpt":
        parser.add_argument(f"-{option}", required=True)
    options = parser.parse_args(rest)
    uri = os.environ["ARTDAQ_DATABASE_URI"]
    archive = Artdaq(Path(uri.removeprefix("filesystemdb://")))
    fault_file = directory / f"{program}.fault"
    fault = fault_file.read_text() if fault_file.exists() else ""
    if fault == "hang":
        subprocess.Popen(["sleep", "600"])  # a child that holds the pipes open
        time.sleep(600)
    if program == "bulkdownloader":
        return download(archive, options, fault)
    busy = directory / "busy"
    if busy.exists():
        (directory / "overlapped").touch()
    busy.touch()
    try:
        return load(archive, options, fault)
    finally:
        busy.unlink(missing_ok=True)


def load(archive: Artdaq, options: argparse.Namespace, fault: str) -> int:
    files = sorted(path for path in Path(options.p).rglob("*") if ".fcl" in path.name)
    if not files or options.t == "0":
        os.kill(os.getpid(), signal.SIGFPE)
    failed, name = 0, f"{options.r}/{options.c}"
    for number, path in enumerate(files):
        if fault == "lose" and number >= len(files) - 2:
            continue
        if fault == "stall" and number == len(files) // 2:
            (Path(os.environ["RRA_TEST_TOOLS"]) / "stalled").touch()
            time.sleep(7)
        if fault in ("partial", "abort") and number == len(files) // 2:
            if fault == "abort":
                os.abort()
            print("Error: Failed to load 1 file", file=sys.stderr)
            return 1
        try:
            snippet = fhicl.snippet(path.read_bytes())
        except FhiclError as error:
            print(f"Error: {path.name}: {error}", file=sys.stderr)
            failed += 1
            continue
        is_schema = path.name.endswith("schema.fcl")
        for _ in range(2 if fault == "twice" else 1):
            archive.write(
                int(options.r),
                "schema" if is_schema else path.name.removesuffix(".fcl"),
                configuration=name,
                collection="SystemLayout" if is_schema else "RunHistory",
                assigned=timestamp(),
                tree={"data": snippet.data, "metadata": snippet.metadata, "search": []},
            )
    return 1 if failed else 0


def download(archive: Artdaq, options: argparse.Namespace, fault: str) -> int:
    name, out = f"{options.r}/{options.c}", Path(options.p)
    found = 0
    for collection in ("RunHistory", "SystemLayout"):
        index = archive.path / collection / "index.json"
        tree = json.loads(index.read_bytes()) if index.exists() else {"configurations.name": {}}
        for oid in tree["configurations.name"].get(name, ()):
            document = json.loads((archive.path / collection / f"{oid}.json").read_bytes())
            entity = document["entities"][0]["name"]
            folder = out if collection == "SystemLayout" else out / options.c.rstrip("0123456789")
            if fault == "folders":
                folder = out / f"part {found % 2}"
            found += 1
            if fault == "lose" and found == 1:
                print("Error: Failed to export 1file(s).", file=sys.stderr)
                continue
            text = fhicl.from_snippet(document["document"]).replace(b"\n", b" \n\n")
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{entity}.fcl").write_bytes(b"spoilt: 1\n" if fault == "other" else text)
    return 0 if found else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
