"""Judge whether a record lacks something that its kind always has, and make the remarks about damaged texts. Pure.

Source: docs/design/run_records.md, What a record lacks.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Set

from rra_state.base.wording import readable, second
from rra_state.records import metadata
from rra_state.records.model import Remark

BOOT_FILES = ("boot.txt", "config.txt")
"""The boot file, and its name until 2017-09."""
JUDGED = (metadata.NAME, *BOOT_FILES)
"""The files whose content `gaps` needs."""
_AHEAD_SECONDS = 86400
"""A file dated further ahead than this is named in a remark."""

_ADDRESS = re.compile(rb"(?:\A|(?<=[\r\n]))[ \t]*([^:\s/]+):[^\r\n]*/([^/\r\n]+)/[^/\r\n]+\.log[ \t]*(?=[\r\n]|\Z)")
"""A log file in metadata.txt: `<host>:<path>/<label>-<host>-<port>/<file>.log`."""


def gaps(judged: Mapping[str, bytes], names: Collection[str]) -> tuple[Remark, ...]:
    """What the record lacks; such a record is taken only after `settle_seconds`. Empty: it is complete.

    judged: the content of the files in `JUDGED` that it has, others are not used. names: of all its archived files.
    """
    found: list[Remark] = []
    boot = next((name for name in BOOT_FILES if name in judged), None)
    for name in (metadata.NAME, boot or BOOT_FILES[0]):
        wrong = "is missing" if name not in judged else damage(judged[name]) or _nothing_readable(name, judged[name])
        found += [Remark(name, None, wrong)] if wrong else []
    data = judged.get(metadata.NAME, b"")
    missing = _processes(data) - {name.removesuffix(".fcl") for name in names if name.endswith(".fcl")}
    text = f"is missing, and {metadata.NAME} names the process"
    found += [Remark(readable(f"{label}.fcl"), None, text) for label in sorted(missing)]
    if metadata.NAME not in {each.file for each in found} and metadata.read(data).stop_time is None:
        found.append(Remark(metadata.NAME, None, "has no stop time"))
    return tuple(found)


def remarks(
    gaps: tuple[Remark, ...], texts: Mapping[str, bytes], skipped: Set[str], dates: Mapping[str, float], now: float
) -> tuple[Remark, ...]:
    """What the record lacks, the damaged ones of its seven texts, and the file that is dated furthest in the future.

    skipped: entries with a remark of their own. dates: of each file the latest time, seconds since 1970, as `now`.
    """
    judged = {each.file for each in gaps}
    found = [each for each in gaps if each.file not in skipped]
    for name in sorted(texts.keys() - judged):
        wrong = damage(texts[name])
        found += [Remark(name, None, wrong)] if wrong else []
    latest = max(dates, key=lambda name: dates[name])
    if dates[latest] > now + _AHEAD_SECONDS:
        found.append(Remark(readable(latest), None, f"is dated {second(dates[latest])}, in the future"))
    return tuple(found)


def damage(data: bytes) -> str | None:
    r"""What is wrong with a text of which nothing, or not everything, was written; None if nothing is.

    >>> damage(b" \n"), damage(bytes(8)), damage("a: 1".encode("utf-16")), damage(b"a: 1")
    ('is empty', 'holds only NUL bytes', 'holds NUL bytes', None)
    """
    if not data.strip():
        return "is empty"
    if not data.strip(b"\0"):
        return "holds only NUL bytes"
    return "holds NUL bytes" if b"\0" in data else None


def _nothing_readable(name: str, data: bytes) -> str | None:
    known = metadata.read(data)
    is_read = known.config_text or known.components or known.times if name == metadata.NAME else b":" in data
    return None if is_read else "holds nothing readable"


def _processes(data: bytes) -> set[str]:
    """Labels of the processes that metadata.txt names: its components, and those that wrote log files."""
    labels = {label for label in metadata.read(data).components if label}
    for host, folder in _ADDRESS.findall(data):
        if match := re.fullmatch(rb"(.+)-" + re.escape(host) + rb"-\d+", folder):
            labels.add(match[1].decode("utf-8", "surrogateescape"))
    return labels
