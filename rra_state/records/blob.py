"""The text blob that holds one run in UconDB: pack, unpack, extract, compare, validate.

Grammar (source: docs/design/run_records.md, Blob):

    Start of Record LF Run Number: <n> LF Packed on <Mon dd HH:MM> UTC LF
    { LF ##### LF <file name>: LF ##### LF <content> }*
    LF End of Record LF Run Number: <n> LF Packed on <same> UTC LF

Escape: a line of a file that is exactly `#####` or `End of Record` would be read as the blob's own. If a record has
such a line, the header gets a fourth line, `Escaped: lines with "# "`, and each of these lines, also behind one or more
`# `, gets one more `# ` in front. The result is a FHiCL comment, and `unpack` removes it exactly. Other blobs have no
escape.

Originals: the seven texts may follow the converted files, under their own names. Two blobs of which only one has them
count as equal if all else is equal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from rra_state.base import files
from rra_state.base.errors import BlobError
from rra_state.base.wording import printable
from rra_state.records import dates
from rra_state.records.model import SourceFile
from rra_state.records.source import TEXT_NAMES, TEXTS

METADATA_KEYS = ("components", "config_name", "sbndaq_commit_or_version")
"""Keys of metadata.fcl that the readers of blobs at SBN need."""

_LAST = (
    "boot",
    "known_boardreaders_list",
    "setup",
    "environment",
    "metadata",
    "settings",
    "ranks",
    "RunHistory",
    "RunHistory2",
)
_POSITION = {
    name: position
    for position, name in enumerate((*(f"{stem}.fcl" for stem in _LAST), *(f"{stem}.txt" for stem in TEXTS)), 1)
}
"""The known files and the originals come last, in fixed order; the others before them, by lower-cased name."""
_METADATA_NAMES = ("metadata.fcl", "metadata_txt.fcl")

_NO_DATE = "Jan 01 00:00"
_ESCAPED = b'Escaped: lines with "# "\n'
# A line may also begin and end at CR: the existing archiver reads CR as LF.
_RESERVED_WORDS = (b"#####", b"End of Record")
_RESERVED = rb"(?:" + b"|".join(_RESERVED_WORDS) + rb")(?![^\r\n])"
_MUST_ESCAPE = re.compile(rb"(?<![^\r\n])" + _RESERVED)
_ESCAPABLE = re.compile(rb"(?<![^\r\n])(?=(?:# )*" + _RESERVED + rb")")
_IS_ESCAPED = re.compile(rb"(?<![^\r\n])# (?=(?:# )*" + _RESERVED + rb")")

_HEADER = re.compile(rb"Start of Record\nRun Number: (\d+)\nPacked on ([^\n]*) UTC\n(" + re.escape(_ESCAPED) + rb")?")
_FOOTER = re.compile(rb"\nEnd of Record\nRun Number: (\d+)\nPacked on ([^\n]*) UTC\n")
_FOOTER_START = b"\nEnd of Record\nRun Number: "
_DELIMITER = re.compile(rb"\n#####\n([^\n]+):\n#####\n")
_ORIGINAL = re.compile(rb"\n#####\n(?:%s)\.txt:\n#####\n" % "|".join(TEXTS).encode())


@dataclass(frozen=True, slots=True)
class Unpacked:
    """The parts of a blob. packed_on: `Oct 17 10:08`; files: name to content, in the blob's order."""

    run: int
    packed_on: str
    files: dict[str, bytes]

    @property
    def documents(self) -> dict[str, bytes]:
        """The files without the original texts: what every blob of the run has."""
        return {name: data for name, data in self.files.items() if name not in TEXT_NAMES}


def pack(run: int, files: Mapping[str, bytes], originals: Iterable[SourceFile] = ()) -> bytes:
    """The blob of these files; the same files always give the same bytes. Raises BlobError for an invalid file name.

    originals: of these the seven texts are put in, too. "Packed on" is the run's stop time, or its start time, or a
    fixed date, so that a retry gives the same bytes.
    """
    if not files:
        raise BlobError("there is no file to pack", run=run)
    files = {**files, **{each.name: each.data for each in originals if each.name in TEXT_NAMES}}
    for name in files:
        _check_name(name, run)
    escaped = any(_must_escape(content) for content in files.values())
    stamp = b"Run Number: %d\nPacked on %s UTC\n" % (run, packed_on(files).encode())
    parts = [b"Start of Record\n", stamp, _ESCAPED if escaped else b""]
    for name in sorted(files, key=lambda name: (_POSITION.get(name, 0), name.lower(), name)):
        content = _ESCAPABLE.sub(b"# ", files[name]) if escaped else files[name]
        parts += [b"\n#####\n", name.encode("utf-8", "surrogateescape"), b":\n#####\n", content]
    return b"".join([*parts, b"\nEnd of Record\n", stamp])


def packed_on(files: Mapping[str, bytes]) -> str:
    """The date in the header and footer of the blob of these files, `Oct 17 10:08`."""
    for key in ("daqinterface_stop_time", "daqinterface_start_time"):
        for name in _METADATA_NAMES:
            for value in reversed(_values(files.get(name, b""), key)):
                date = dates.month_day_minute(value.strip('"'))
                if date:
                    return date
    return _NO_DATE


def unpack(blob: bytes) -> Unpacked:
    """The exact inverse of `pack`, in linear time. Accepts files in any order, as in older blobs.

    Raises BlobError with the line.
    """
    header = _HEADER.match(blob)
    if not header:
        raise BlobError('does not begin with "Start of Record", the run number and the date', line=1)
    end = blob.rfind(_FOOTER_START)
    footer = _FOOTER.fullmatch(blob, end) if end >= header.end() else None
    if not footer:
        raise BlobError('does not end with "End of Record", the run number and the date', line=_line(blob, len(blob)))
    if footer[1] != header[1]:
        text = f"the footer's run number {footer[1].decode()} is not the header's, {header[1].decode()}"
        raise BlobError(text, line=_line(blob, end + 1))
    return Unpacked(int(header[1]), _decode(header[2]), _files(blob, header.end(), end, unescape=bool(header[3])))


def of_run(run: int, blob: bytes) -> Unpacked:
    """As `unpack`. Raises BlobError also for the blob of another run."""
    unpacked = unpack(blob)
    if unpacked.run != run:
        raise BlobError(f"the blob is one of run {unpacked.run}", run=run)
    return unpacked


def extract(blob: bytes, directory: Path) -> Unpacked:
    """Write the files of a blob into `directory`, never elsewhere. Raises BlobError before anything is written."""
    unpacked = unpack(blob)
    for name in unpacked.files:
        _check_name(name, unpacked.run)
    files.make_directory(directory)
    files.write_batch((directory / name, content) for name, content in unpacked.files.items())
    return unpacked


def same(first: bytes, second: bytes) -> bool:
    """Whether two blobs are equal, "Packed on" ignored, and originals if only one of them has any.

    Bytes that are not a blob are compared as they are.
    """
    if first == second or _undated(first) == _undated(second):
        return True
    if has_originals(first) == has_originals(second):
        return False
    try:
        one, other = unpack(first), unpack(second)
    except BlobError:
        return False
    return one.run == other.run and list(one.documents.items()) == list(other.documents.items())


def has_originals(blob: bytes) -> bool:
    """Whether one of the seven texts is in a blob as the DAQ wrote it."""
    return _ORIGINAL.search(blob) is not None


def validate(files: Mapping[str, bytes], keys: Iterable[str] = METADATA_KEYS) -> list[str]:
    """Problems of the metadata of a blob's files; none if each key occurs once and has a value.

    Source: docs/design/run_records.md, Blob validation.
    """
    name = next((name for name in _METADATA_NAMES if name in files), None)
    if name is None:
        return ["metadata.fcl is missing"]
    problems = []
    for key in keys:
        values = _values(files[name], key)
        if len(values) != 1:
            problems.append(f"{name}: {key} is there {len(values)} times" if values else f"{name}: {key} is missing")
        elif values[0] in ("", '""', "[]"):
            problems.append(f"{name}: {key} has no value")
    return problems


# ---- parts ---------------------------------------------------------------------------------------------------------


def _files(blob: bytes, start: int, end: int, *, unescape: bool) -> dict[str, bytes]:
    """The files between header and footer. Matches whole delimiters, as all readers of these blobs do."""
    files: dict[str, bytes] = {}
    delimiters = list(_DELIMITER.finditer(blob, start, end))
    if (delimiters[0].start() if delimiters else end) != start:
        raise BlobError('there is text before the first file, where "#####" should be', line=_line(blob, start))
    ends = [delimiter.start() for delimiter in delimiters[1:]] + [end]
    for delimiter, stop in zip(delimiters, ends, strict=True):
        name = _decode(delimiter[1])
        if name in files:
            raise BlobError(f'the file "{name}" is there twice', line=_line(blob, delimiter.start()) + 2)
        content = blob[delimiter.end() : stop]
        files[name] = _IS_ESCAPED.sub(b"", content) if unescape else content
    return files


def _must_escape(content: bytes) -> bool:
    """Whether the content has a reserved line. Looks for the words first, which is quick: nearly no file has them."""
    return any(word in content for word in _RESERVED_WORDS) and _MUST_ESCAPE.search(content) is not None


def _check_name(name: str, run: int) -> None:
    """Refuse a name that could leave a directory, break the grammar, or be a temporary file of `base.files`."""
    temporary = name.startswith(".") and name.endswith(".tmp")
    control = any(ord(character) < 32 or ord(character) == 127 for character in name)
    if not name or name in (".", "..") or "/" in name or control or temporary:
        raise BlobError(
            f'"{printable(name)}" is not a valid file name in a record', run=run, hint="nothing was written"
        )


def _values(text: bytes, key: str) -> list[str]:
    """The values of a top-level key, each from a line that begins with the key."""
    pattern = rb"^[ \t]*%s[ \t]*:[ \t]*([^\r\n]*)" % re.escape(key.encode())
    return [match[1].decode("utf-8", "replace").strip() for match in re.finditer(pattern, text, re.MULTILINE)]


def _undated(blob: bytes) -> bytes:
    header = _HEADER.match(blob)
    end = blob.rfind(_FOOTER_START)
    footer = _FOOTER.fullmatch(blob, end) if header and end >= 0 else None
    if not header or not footer:
        return blob
    return b"".join((blob[: header.start(2)], blob[header.end(2) : footer.start(2)], blob[footer.end(2) :]))


def _line(blob: bytes, offset: int) -> int:
    return blob.count(b"\n", 0, offset) + 1


def _decode(text: bytes) -> str:
    return text.decode("utf-8", "surrogateescape")
