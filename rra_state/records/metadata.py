"""What the archiver itself reads in metadata.txt: configuration, components, start and stop time.

The conversion of the whole file to FHiCL is `convert/metadata.py`; both agree, since both take the last of equal keys.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rra_state.records import dates

NAME = "metadata.txt"
START = "DAQInterface start time"
STOP = "DAQInterface stop time"
_BOM = b"\xef\xbb\xbf"
_FACT = re.compile(
    rb"(?:\A|(?<=[\r\n]))[ \t]*+(Config name|Component #\d+|DAQInterface (?:start|stop) time)"
    rb"[^:\r\n]*:([^\r\n]*)(\r|\n|\Z)"
)


@dataclass(frozen=True, slots=True)
class Facts:
    """Texts are as in the file, trimmed; bytes that are not UTF-8 are lone surrogates (see `readable`).

    times: the start and stop lines in file order, as (key, value).
    """

    config_text: str | None
    components: tuple[str, ...]
    times: tuple[tuple[str, str], ...]
    start_time: str | None
    stop_time: str | None


def read(data: bytes) -> Facts:
    """The facts in the bytes of a metadata.txt of any age; what is missing is None or empty.

    A key that occurs twice counts with its last value, as in FHiCL, for the database and for RunHistory alike. A time
    without a line end is one only if it is a whole date: DAQInterface may be writing it just now.
    Source: docs/design/run_records.md, Facts that the archiver reads itself.
    """
    config: str | None = None
    components: list[str] = []
    times: list[tuple[str, str]] = []
    # Not line by line: of a file that is one limit long and all line ends, that would take twenty times its size.
    for match in _FACT.finditer(data.removeprefix(_BOM)):
        key, value = match[1].decode(), match[2].decode("utf-8", "surrogateescape").strip(" \t\v\f")
        if key == "Config name":
            config = value or config
        elif key.startswith("Component"):
            components.append(value)
        elif value and (match[3] or dates.month_day_minute(value)):
            times.append((key, value))
    last = dict(times)
    return Facts(
        config_text=config,
        components=tuple(components),
        times=tuple(times),
        start_time=last.get(START),
        stop_time=last.get(STOP),
    )
