"""Read configuration, components, start and stop time from metadata.txt.

`convert/metadata.py` converts the whole file to FHiCL. Of equal keys both take the last.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from rra_state.base.wording import readable
from rra_state.records import dates

NAME = "metadata.txt"
START = "DAQInterface start time"
STOP = "DAQInterface stop time"
_BOM = b"\xef\xbb\xbf"
_LINE = re.compile(
    rb"(?:\A|(?<=[\r\n]))[ \t]*+(Config name|Component #\d+|DAQInterface (?:start|stop) time)"
    rb"[^:\r\n]*:([^\r\n]*)(\r|\n|\Z)"
)


@dataclass(frozen=True, slots=True)
class RunMetadata:
    """What the archiver needs from metadata.txt. Texts are trimmed; bytes that are not UTF-8 are lone surrogates.

    times: the start and stop lines in file order, as (key, value). start_time, stop_time: the last ones, `readable`.
    """

    config_text: str | None
    components: tuple[str, ...]
    times: tuple[tuple[str, str], ...]
    start_time: str | None
    stop_time: str | None


def read(data: bytes) -> RunMetadata:
    """Read a metadata.txt of any DAQInterface version; missing values are None or empty.

    Of a key that occurs twice the last value is taken, as in FHiCL. A time without a line end is taken only if it is a
    whole date: DAQInterface may still be writing it.
    Source: docs/design/run_records.md, Facts that the archiver reads itself.
    """
    config: str | None = None
    components: list[str] = []
    times: list[tuple[str, str]] = []
    # Not split into lines: for a large file of line ends only, that would take twenty times its size in memory.
    for match in _LINE.finditer(data.removeprefix(_BOM)):
        key, value = match[1].decode(), match[2].decode("utf-8", "surrogateescape").strip(" \t\v\f")
        if key == "Config name":
            config = value or config
        elif key.startswith("Component"):
            components.append(value)
        elif value and (match[3] or dates.whole(value)):
            times.append((key, value))
    last = dict(times)
    start, stop = (readable(last[key]) if key in last else None for key in (START, STOP))
    return RunMetadata(config, tuple(components), tuple(times), start, stop)
