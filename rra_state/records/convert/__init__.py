"""Make the documents of a run from its record: the seven texts become FHiCL, all other files pass byte for byte.

Names: `boot.txt` becomes `boot.fcl`, and metadata.txt also gives `RunHistory.fcl` and, if it has a time,
`RunHistory2.fcl`. Where the record has a file of that name itself, that file keeps name and bytes and the converted one
is `boot_txt.fcl` (or `boot_txt2.fcl`, ...). Names that differ only in case are different files. Every converted
document is ASCII, valid FHiCL and not empty. Names that a store cannot hold are escaped (`file_names`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Literal

from rra_state.base.errors import FhiclError, RecordError
from rra_state.base.wording import readable
from rra_state.records import fhicl
from rra_state.records import metadata as run_metadata
from rra_state.records.convert import (
    boardreaders,
    boot,
    environment,
    file_names,
    history,
    metadata,
    ranks,
    settings,
    setup,
)
from rra_state.records.model import KEPT, LEFT_OUT, Document, Record, Remark, RunDocuments, SourceFile, entity_of
from rra_state.records.source import TEXT_NAMES

OnBadFile = Literal["keep_text", "fail"]

_CONVERTERS: dict[str, Callable[[bytes], bytes]] = {
    "boot": boot.to_fhicl,
    "known_boardreaders_list": boardreaders.to_fhicl,
    "setup": setup.to_fhicl,
    "environment": environment.to_fhicl,
    "metadata": metadata.to_fhicl,
    "settings": settings.to_fhicl,
    "ranks": ranks.to_fhicl,
}
GENERATED = (*_CONVERTERS, "RunHistory", "RunHistory2")
"""What can be made of the texts: the values of `fhiclize_generate`."""
NOT_CHOSEN = f"is not in fhiclize_generate; {LEFT_OUT}"
"""The remark about a text that the configuration leaves out."""


def convert(
    record: Record, *, fhiclize: Collection[str] | None = None, on_bad_file: OnBadFile = "keep_text"
) -> RunDocuments:
    """The documents of a record, in the order of their names.

    fhiclize: which of GENERATED to make, all if None; a text that is left out is reported as skipped.
    on_bad_file: whether a `.fcl` file that is not FHiCL, or not for artdaqDB, is kept as text or fails the run.
    Raises RecordError.
    """
    wanted = GENERATED if fhiclize is None else fhiclize
    texts = {file.name.removesuffix(".txt"): file for file in record.files if file.name in TEXT_NAMES}
    fcl = [file for file in record.files if file.name.endswith(".fcl") and file.name != ".fcl"]
    others = [file for file in record.files if file.name not in TEXT_NAMES and file not in fcl]
    taken: set[str] = set()
    remarks = list(record.remarks)
    documents = [_passed(file, record.run, on_bad_file, taken, remarks) for file in fcl]
    known = run_metadata.read(texts["metadata"].data if "metadata" in texts else b"")
    for stem, (text, source) in made(record.run, texts, known, wanted).items():
        documents.append(Document(_free_name(stem, taken), text, source))
    documents += [_document(file, taken, kept="it is no .fcl file") for file in others]
    remarks += [Remark(entry.name, None, f"{entry.reason}; {LEFT_OUT}") for entry in record.skipped]
    remarks += [Remark(file.name, None, NOT_CHOSEN) for stem, file in texts.items() if stem not in wanted]
    remarks += [Remark(readable(file.name), None, KEPT) for file in others]
    return RunDocuments(
        run=record.run,
        config_name=history.config_name(known.config_text),
        config_text=readable(known.config_text or ""),
        documents=tuple(sorted(documents, key=lambda document: document.name)),
        fingerprint=record.fingerprint,
        start_time=record.start_time,
        stop_time=record.stop_time,
        remarks=tuple(remarks),
    )


def made(
    run: int, texts: Mapping[str, SourceFile], known: run_metadata.RunMetadata, wanted: Collection[str] = GENERATED
) -> dict[str, tuple[bytes, SourceFile]]:
    """The documents made from these texts, by stem: bytes, and the text that they are made from.

    texts: by stem. known: the content of metadata.txt.
    """
    documents = {stem: (_CONVERTERS[stem](file.data), file) for stem, file in texts.items() if stem in wanted}
    if "metadata" in texts:
        for stem, text in (
            ("RunHistory", history.run_history(run, known)),
            ("RunHistory2", history.run_history_2(known)),
        ):
            if text is not None and stem in wanted:
                documents[stem] = (text, texts["metadata"])
    return documents


def _passed(file: SourceFile, run: int, on_bad_file: OnBadFile, taken: set[str], remarks: list[Remark]) -> Document:
    """A `.fcl` file as it is; if it is not FHiCL, or empty, with the reason why it is kept as text, and a remark."""
    try:
        if not file.data.strip():
            raise FhiclError("the file is empty")  # artdaqDB refuses an empty document
        return _document(file, taken, snippet=fhicl.checked_snippet(file.data).packed(len(file.data)))
    except FhiclError as error:
        line, message, name = error.line, error.message, readable(file.name)
        if on_bad_file == "fail":
            hint = "correct the file, or set on_bad_file: keep_text"
            raise RecordError(message, run=run, path=name, line=line, hint=hint) from error
    remarks.append(Remark(name, line, f"{readable(message)}; {KEPT}"))
    where = "" if line is None else f"line {line}: "
    return _document(file, taken, kept=f"{where}{message}")


def _document(file: SourceFile, taken: set[str], *, kept: str | None = None, snippet: bytes | None = None) -> Document:
    """A file byte for byte; if a store cannot hold its name, under another one and with the file as `source`."""
    name = file_names.escaped(file.name)
    number = 2
    stem, suffix = (name[:-4], ".fcl") if name.endswith(".fcl") else (name, "")
    while entity_of(name) in taken:
        name, number = f"{stem}_{number}{suffix}", number + 1
    taken.add(entity_of(name))
    return Document(name, file.data, None if name == file.name else file, kept, snippet)


def _free_name(stem: str, taken: set[str]) -> str:
    """`boot.fcl`, or another name if the record has a file of that name already. taken: names in artdaqDB."""
    name, number = stem, 1
    while name in taken:
        name = f"{stem}_txt{number if number > 1 else ''}"
        number += 1
    taken.add(name)
    return f"{name}.fcl"
