"""The commands `run-record-archiver unpack BLOB DIR` and `show RUN --config CONFIG`."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from rra_state.base import host_limits
from rra_state.base.errors import ArchiverError, BlobError, UsageError
from rra_state.base.wording import count, printable
from rra_state.cli.options import run_number
from rra_state.config import loading
from rra_state.records import blob

NAMES = ("unpack", "show")


def main(arguments: Sequence[str]) -> int:
    """Run one of these commands; return the exit status."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "unpack":
            print(printable(_unpack(options.blob, options.directory)))
        else:
            from rra_state.reporting import show  # noqa: PLC0415 - it loads all that talks to the stores

            for line in show.lines(loading.load(options.config), options.run):
                print(line)
    except ArchiverError as error:
        print(printable(str(error)), file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="run-record-archiver")
    commands = parser.add_subparsers(dest="command", required=True)
    unpack = commands.add_parser("unpack", help="write the files of a blob into a directory")
    unpack.add_argument("blob", metavar="BLOB", type=Path, help="a blob as UconDB gave it")
    unpack.add_argument("directory", metavar="DIR", type=Path, help="made if missing; no file in it is replaced")
    one = commands.add_parser("show", help="show what records, stores and markers hold of one run")
    one.add_argument("run", metavar="RUN", type=run_number)
    one.add_argument("--config", metavar="CONFIG", required=True, help="configuration file")
    return parser


def _unpack(path: Path, directory: Path) -> str:
    """Write the files; return the line to print. Nothing is written if one exists, or if the blob is damaged."""
    try:
        content = path.read_bytes()
        present = sorted(name for name in blob.unpack(content).files if os.path.lexists(directory / name))
        if present:
            raise UsageError("is there already", path=directory / present[0], hint="choose an empty directory")
        unpacked = blob.extract(content, directory)
    except BlobError as error:
        error.path = str(path)
        raise
    except OSError as error:
        raise UsageError(f"cannot be used: {host_limits.plain(error)}", path=error.filename or path) from error
    return (
        f"run {unpacked.run}: {count(len(unpacked.files), 'file')} in {directory}, packed on {unpacked.packed_on} UTC"
    )
