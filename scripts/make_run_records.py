"""Make synthetic run records in DAQInterface's layout, for the demo, tests and benchmarks.

    python scripts/make_run_records.py 100 /tmp/run_records --first-run 5001 --seed 1 --break 5003:bad-fcl

The same arguments make the same bytes. Nothing in the records was ever on a DAQ.
Source of the layout: docs/design/run_records.md, Files of a record.
"""

from __future__ import annotations

import argparse
import os
import random
import shutil
import stat
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

DEFAULT_FIRST_RUN = 5001
_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_CONFIGURATIONS = (
    "cosmics",
    "calibration_laser",
    "noise_scan",
    "beam_neutrino",
    "pulser tpc/half",
    "tpc/all crt/top pmt/low",
)
_PACKAGES = ("artdaq", "artdaq-core", "kestrel-readout", "sbndaq")
_FIRST_START = datetime(2025, 3, 1, 6, 0, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Process:
    """One artdaq process of the synthetic system."""

    kind: str
    label: str
    host: str
    port: int
    rank: int


# ---- one record ----------------------------------------------------------------------------------------------------


def record_files(run: int, seed: int = 0) -> dict[str, bytes]:
    """The files of one run by name; a median record has 16 files and 27 kB."""
    chance = random.Random(f"{seed}/{run}")  # noqa: S311 - synthetic data
    processes = _processes(chance)
    start = _FIRST_START + timedelta(hours=2 * run, seconds=chance.randrange(3600))
    stop = start + timedelta(seconds=chance.randrange(60, 6000))
    files = {f"{process.label}.fcl": _process_fhicl(process, processes, chance) for process in processes}
    files |= {
        "boot.txt": _boot(processes, chance),
        "known_boardreaders_list.txt": _known_boardreaders(processes),
        "setup.txt": _setup(chance),
        "environment.txt": _environment(chance),
        "metadata.txt": _metadata(processes, chance) + _time_line("start", start, run) + _time_line("stop", stop, run),
        "settings.txt": _settings(chance),
        "ranks.txt": _ranks(processes),
    }
    return {name: text.encode("ascii") for name, text in files.items()}


def _processes(chance: random.Random) -> list[Process]:
    counts = (
        ("BoardReader", min(40, 2 + int(chance.expovariate(0.35)))),
        ("EventBuilder", chance.choice((1, 2, 2, 3, 4))),
        ("DataLogger", 1),
        ("Dispatcher", 1),
        ("RoutingManager", chance.choice((0, 0, 1))),
    )
    found: list[Process] = []
    for kind, count in counts:
        for number in range(1, count + 1):
            rank = len(found)
            label = f"reader{number:02d}" if kind == "BoardReader" else f"{kind}{number}"
            found.append(Process(kind, label, f"kestrel-daq{rank % 7 + 1:02d}", 10100 + rank, rank))
    return found


def _process_fhicl(process: Process, processes: Sequence[Process], chance: random.Random) -> str:
    """What the process was sent: keys sorted, three blanks of indent, host maps on one long line without any."""
    hosts = ", ".join(f'{{rank: {peer.rank} host: "{peer.host}"}}' for peer in processes)
    peers = [peer for peer in processes if peer.kind in ("EventBuilder", "BoardReader") and peer is not process]
    transfers = "".join(
        f"d{peer.rank}: {{ transferPluginType: Synthetic destination_rank: {peer.rank} max_fragment_size_words: 4096 "
        f"host_map: [{hosts}] }}\n"
        for peer in peers[: 1 + process.rank % 2]
    )
    channels = "".join(
        f"      channel_{number:03d}: {{\n         baseline: {chance.randrange(200, 900)}\n"
        f"         enabled: {chance.choice(('true', 'false'))}\n"
        f"         gain: {chance.randrange(10, 99) / 8}\n      }}\n"
        for number in range(chance.randrange(5, 26))
    )
    return (
        f"# Produced from 'fhicl-dump' using:\n#   Input  : ./{process.label}.fcl\n"
        '#   Policy : cet::filepath_maker\n#   Path   : "FHICL_FILE_PATH"\n\n'
        f"daq: {{\n   {process.kind.lower()}: {{\n{channels}{transfers}"
        f'      generator: "Kestrel{chance.choice("ABC")}"\n      timeout_us: {chance.randrange(10**4, 10**6)}\n   }}\n'
        f'   metrics: {{\n      file: {{\n         fileName: "{process.label}_%UID%.log"\n         level: 3\n'
        "         uniquify: true\n      }\n   }\n}\n"
        f'process_name: "{process.label}"\n'
    )


def _boot(processes: Sequence[Process], chance: random.Random) -> str:
    head = (
        "DAQ setup script: /opt/kestrel/setup_daq.sh\n\n# 0 says nothing, 4 says all\n"
        f"debug level: {chance.randrange(5)}\nrequest_address: 227.18.{chance.randrange(250)}.7\n\n"
        "Subsystem id: 1\n\n"
    )
    listed = (process for process in processes if process.kind != "BoardReader")
    return head + "\n".join(
        f"{process.kind} host: {process.host}\n{process.kind} label: {process.label}\n{process.kind} subsystem: 1\n"
        for process in listed
    )


def _known_boardreaders(processes: Sequence[Process]) -> str:
    rows = [f"{process.label} {process.host} -1 1" for process in processes if process.kind == "BoardReader"]
    spare = 'reader_spare kestrel-daq09 -1 1 0-15 "/usr/bin/env KESTREL_MODE=safe "'
    return "\n".join(("# name host port subsystem", *rows, spare, ""))


def _setup(chance: random.Random) -> str:
    modules = "".join(
        f"load_module kestrel_{part} v{chance.randrange(9)}_{chance.randrange(20):02d}\n" for part in "abcdef"
    )
    return (
        "#!/bin/bash\n# Synthetic setup script\n"
        'export KESTREL_ROOT="/opt/kestrel"\nsource "$KESTREL_ROOT/etc/profile"\n'
        f"{modules}"
        'alias show_status="echo \\"status of \\$KESTREL_ROOT\\""\n'
        "[ -n \"$PS1\" ] && PS1='\\[\\e]0;kestrel\\a\\]$ '\n"
    )


def _environment(chance: random.Random) -> str:
    values = {
        "FHICL_DIRECTORY": "/opt/kestrel/fcl",
        "KNOWN_BOARDREADERS_LIST": "/opt/kestrel/known_boardreaders_list",
        "LOGDIR": "/var/log/kestrel",
        "PARTITION_NUMBER": str(chance.randrange(1, 9)),
        "PROCESS_MANAGEMENT_METHOD": "direct",
        "SETTINGS": "/opt/kestrel/settings",
        "TTY": f"pts/{chance.randrange(30)}",
    }
    return "".join(f"export DAQINTERFACE_{name}={value}\n" for name, value in values.items())


def _metadata(processes: Sequence[Process], chance: random.Random) -> str:
    components = [process.label for process in processes if process.kind == "BoardReader"]
    host = "kestrel-daq01.example.org"
    lines = [f"Config name: {chance.choice(_CONFIGURATIONS)}"]
    lines += [f"Component #{number}: {name}" for number, name in enumerate(components)]
    lines += [
        f"DAQInterface directory: {host}:/opt/kestrel/DAQInterface",
        f"DAQInterface logfile: {host}:/var/log/daq.log",
    ]
    lines += [
        "",
        "# hash, lines added, lines removed, comment, time, branch, build time, version of a package,",
        "# or",
    ]
    lines += ["# version, build time, version", ""]
    for package in ("DAQInterface", *_PACKAGES):
        commit = f"{chance.getrandbits(160):040x} {chance.randrange(9)} {chance.randrange(9)}"
        details = (
            '"Tune the trigger window" "Mon Feb 3 10:00:00 2025 +0100" "main" "04-Feb-2025 08:00:00 UTC" "v1_02_03"'
        )
        lines += [f"{package} commit/version: {commit} {details}", ""]
    lines += ["", "process management method: direct"]
    for kind in ("process manager", "BoardReader", "EventBuilder", "DataLogger", "Dispatcher", "RoutingManager"):
        logs = [
            f"{process.host}:/var/log/kestrel/{process.label}-{process.port}.log"
            for process in processes
            if process.kind == kind
        ]
        logs = ["/var/log/kestrel/pmt/launch_attempt"] if kind == "process manager" else logs
        lines += ["", f"{kind.lower()} logfiles: ", *logs]
    return "\n".join(lines) + "\n"


def _time_line(which: str, time: datetime, run: int) -> str:
    """The appended line, in either form of `date --utc`."""
    day, month = _DAYS[time.weekday()], _MONTHS[time.month - 1]
    if run % 2:
        return f"\nDAQInterface {which} time: {day} {month} {time:%d %H:%M:%S} UTC {time.year}\n"
    half = "PM" if time.hour >= 12 else "AM"
    return f"\nDAQInterface {which} time: {day} {time:%d} {month} {time.year} {time:%I:%M:%S} {half} UTC\n"


def _settings(chance: random.Random) -> str:
    return (
        "# Synthetic settings\nlog_directory: /var/log/kestrel\ndata_directory_override: /data/kestrel\n"
        "record_directory: /daq/run_records\npackage_hashes_to_save: [ artdaq, artdaq-core, kestrel-readout ]\n"
        f"boardreader timeout: {chance.randrange(30, 600)}\neventbuilder timeout: 45\n"
        f"advanced_memory_usage: {chance.choice(('true', 'false'))}\n"
        'boardreader_priorities: [ "reader0[1-4]", "reader.*" ]\n'
    )


def _ranks(processes: Sequence[Process]) -> str:
    rows = [
        f"{process.host:<29} {process.port:<9} {process.label:<19} {1:<14} {process.rank:<9}\n" for process in processes
    ]
    return f"{'host':<30}{'port':<10}{'label':<20}{'subsystem':<15}{'rank':<10}\n\n" + "".join(rows)


# ---- broken ones ---------------------------------------------------------------------------------------------------


def _replaced(name: str, change: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {key: change(data) if key == name else data for key, data in files.items()}


def _without(name: str) -> Callable[[dict[str, bytes]], dict[str, bytes]]:
    return lambda files: {key: data for key, data in files.items() if key != name}


def _before(marker: bytes) -> Callable[[bytes], bytes]:
    return lambda data: data[: data.index(marker)]


_FORGED = b'\n#####\nmetadata.fcl:\n#####\nconfig_name: "forged"\n\nEnd of Record\n'
BREAKS: Mapping[str, Callable[[dict[str, bytes]], dict[str, bytes]]] = {
    "bad-fcl": _replaced("reader01.fcl", lambda data: data + b"threshold: 12-5\n"),
    "cut-off": _replaced("metadata.txt", lambda data: data[: data.index(b"dispatcher logfiles")]),
    "crlf": lambda files: {name: data.replace(b"\n", b"\r\n") for name, data in files.items()},
    "delimiter": _replaced("reader01.fcl", lambda data: data + _FORGED),
    "empty": lambda _: {},
    "empty-settings": _replaced("settings.txt", lambda _: b""),
    "latin1": _replaced("reader01.fcl", lambda data: b"# seuil d\xe9fini\n" + data),
    "no-metadata": _without("metadata.txt"),
    "no-stop": _replaced("metadata.txt", _before(b"\nDAQInterface stop time")),
    "not-started": _replaced("metadata.txt", _before(b"\nDAQInterface start time")),
    "own-boot": lambda files: {**files, "boot.fcl": b'written_by: "the experiment"\n'},
}
"""What `--break RUN:KIND` can do to a record."""


# ---- many records --------------------------------------------------------------------------------------------------


def make_records(
    count: int,
    directory: Path,
    *,
    first_run: int = DEFAULT_FIRST_RUN,
    seed: int = 0,
    breaks: Mapping[int, str] | None = None,
) -> list[int]:
    """Write `count` records of consecutive runs below `directory`, in place of any there, and return the runs.

    breaks: run to kind, see BREAKS. Files are 0444 and directories 0555, as DAQInterface leaves them. Raises OSError.
    """
    directory.mkdir(parents=True, exist_ok=True)
    made = list(range(first_run, first_run + count))
    for run in made:
        files = record_files(run, seed)
        if breaks and run in breaks:
            files = BREAKS[breaks[run]](files)
        write_record(directory / str(run), files)
    return made


def write_record(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write one record, in place of what was there, with the access rights that DAQInterface gives."""
    if directory.exists():
        remove_record(directory)
    directory.mkdir()
    for name, data in files.items():
        descriptor = os.open(directory / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o444)
        try:
            os.write(descriptor, data)
        finally:
            os.close(descriptor)
    directory.chmod(0o555)


def remove_record(directory: Path) -> None:
    """Remove a record although its directory is read-only."""
    directory.chmod(stat.S_IRWXU)
    shutil.rmtree(directory)


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line: 0 if all is written, 1 if the disk refused, 2 for a wrong argument."""
    parser = argparse.ArgumentParser(description="Make synthetic run records.")
    parser.add_argument("count", type=int, metavar="COUNT", help="number of records")
    parser.add_argument("directory", type=Path, metavar="DIR", help="directory of run records, made if missing")
    parser.add_argument("--first-run", type=int, default=DEFAULT_FIRST_RUN, metavar="N")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="another seed makes other contents")
    parser.add_argument(
        "--break",
        dest="breaks",
        action="append",
        default=[],
        metavar="RUN:KIND",
        help=f"spoil one: {', '.join(BREAKS)}",
    )
    options = parser.parse_args(arguments)
    breaks: dict[int, str] = {}
    for item in options.breaks:
        run, _, kind = item.partition(":")
        if not run.isdecimal() or kind not in BREAKS:
            parser.error(f'"{item}" is no RUN:KIND; kinds are {", ".join(BREAKS)}')
        breaks[int(run)] = kind
    try:
        made = make_records(
            options.count, options.directory, first_run=options.first_run, seed=options.seed, breaks=breaks
        )
    except OSError as error:
        print(f"{error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    print(f"{len(made)} run records in {options.directory}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
