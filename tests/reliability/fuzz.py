"""Inputs that atheris makes up, led by the code they reach: `make fuzz`, or `python -m tests.reliability.fuzz SECONDS`.

An input that breaks a promise, or takes too long, is printed and left in the current directory as `crash-...` or
`timeout-...`; `python -m tests.reliability.fuzz 0 FILE` tries it again.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import atheris

from tests import samples

with atheris.instrument_imports(include=["rra_state.records"]):
    from rra_state.base.errors import ArchiverError, FhiclError
    from rra_state.records import blob, convert, fhicl, metadata
    from rra_state.records.fhicl import from_snippet
    from rra_state.records.model import Record, SourceFile
    from tests.reliability.grown_fhicl import check, grown

LARGEST = 20_000
SLOWEST = 10
"""Seconds that no input of LARGEST bytes may take."""
TEXTS = ("boot", "known_boardreaders_list", "setup", "environment", "metadata", "settings", "ranks")


def fhicl_text(data: bytes) -> None:
    """What the printer writes is read as the same, and what artdaqDB stores gives it back."""
    try:
        printed = fhicl.dump(data)
    except FhiclError:
        printed = None
    try:
        snippet = fhicl.checked_snippet(data)
    except FhiclError:
        snippet = None
    if printed is None:
        assert snippet is None
        return
    assert fhicl.dump(printed) == printed
    assert fhicl.values(printed) == fhicl.values(data)
    if snippet is not None:
        back = from_snippet({"data": snippet.data, "metadata": snippet.metadata})
        assert fhicl.dump(back) == printed


def record_text(data: bytes) -> None:
    """Every text becomes FHiCL, whatever is in it."""
    name = f"{TEXTS[data[0] % len(TEXTS)]}.txt" if data else "boot.txt"
    files = {"metadata.txt": SourceFile("metadata.txt", b"a: 1\n")} | {name: SourceFile(name, data[1:])}
    known = metadata.read(files["metadata.txt"].data)
    converted = convert.convert(Record(1, tuple(files.values()), (), "", known.start_time, known.stop_time))
    for document in converted.documents:
        assert document.text.isascii()
        fhicl.checked_snippet(document.text)


def packed(data: bytes) -> None:
    """A blob gives back what went into it, and anything else is refused."""
    files = {f"{number}.fcl": part for number, part in enumerate(data.split(b"|"))}
    assert blob.unpack(blob.pack(7, files)).files == files
    for text in (data, b"Start of Record\n" + data):
        try:
            unpacked = blob.unpack(text)
        except ArchiverError:
            continue
        assert all(name for name in unpacked.files)


def grown_text(data: bytes) -> None:
    """A document that is grown definition by definition means what a model says, and keeps its other promises."""
    check(data)
    for text, meant in list(grown(data))[-1:]:
        if meant is not None:
            fhicl_text(text.encode())


TARGETS: tuple[Callable[[bytes], None], ...] = (fhicl_text, record_text, packed, grown_text)


def one(data: bytes) -> None:
    """The first byte chooses what is tried."""
    if data:
        TARGETS[data[0] % len(TARGETS)](data[1:])


def _seeds(directory: Path) -> None:
    """Beginnings of real files for each target, where there are any."""
    found = sorted(samples.RECORDS.glob("*/*"))
    for number, file in enumerate(found):
        text = file.read_bytes()[:LARGEST]
        stem = file.stem if file.suffix == ".txt" else None
        begin = b"\0" if stem not in TEXTS else b"\x01" + bytes([TEXTS.index(stem)])
        (directory / f"{number}").write_bytes(begin + text)
    (directory / "blob").write_bytes(b"\x02" + blob.pack(7, {"a.fcl": b"#####\n", "b.fcl": b"End of Record\n"}))
    (directory / "grown").write_bytes(b"\x03" + bytes(range(256)) * 2)
    (directory / "refs").write_bytes(b"\0BEGIN_PROLOG\na: {b: [1, (1,2)]}\nEND_PROLOG\nc: @local::a\nc.b[3]: @nil\n")


def main() -> None:
    """Go on for the seconds given, or try the files given."""
    seconds, *files = sys.argv[1:] or ["120"]
    with tempfile.TemporaryDirectory() as corpus:
        _seeds(Path(corpus))
        limits = [f"-max_total_time={seconds}", f"-max_len={LARGEST}", f"-timeout={SLOWEST}", "-rss_limit_mb=2048"]
        atheris.Setup([sys.argv[0], *limits, *(files or [corpus])], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
