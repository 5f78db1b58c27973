"""Convert a run's files to artdaqDB's JSON documents and back. All kinds of artdaqDB hold the same documents.

Reads and writes no file, index or database. Source of every key and its order: docs/design/artdaqdb.md, Document.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

import orjson

from rra_state.base.errors import ArchiverError, FhiclError, RecordError, VerificationError
from rra_state.records import fhicl
from rra_state.records.convert import file_names
from rra_state.records.model import Document, RunDocuments, SourceFile
from rra_state.stores.artdaqdb.base import RUN_HISTORY, Item, Location

SCHEMA = "schema"
"""Entity of the run's schema.fcl in SystemLayout."""
HASHES = "hashes"
"""Entity of the MD5 sums that the existing archiver adds to a run, and of a record's own hashes.fcl."""

Tree: TypeAlias = dict[str, Any]
"""A document as `json.loads` gives it."""

_MARK = "rra:base64"
_QUOTED_MARK = f'"{_MARK}"'.encode()
_ORJSON_BYTES = 2**22
"""Bytes of the largest document that orjson may read: out of memory, orjson ends the process."""
_ENCODE = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode
_UNICODE_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u")
_MD5 = re.compile(r"[0-9a-fA-F]{32}")
_EVENTS = ("addConfiguration", "setVersion", "setCollection", "addEntity", "addRun")


@dataclass(frozen=True, slots=True)
class RunVersion:
    """The version of a run that documents are made for.

    number: how many documents it has in RunHistory; content: digest over all of them (`content_digest`). Each document
    carries both, so that `rebuild` can leave out a version of which documents are missing.
    """

    run: int
    configuration: str
    version: str
    assigned: str
    number: int
    content: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file read from its document. number, content: see `RunVersion`; None if another program wrote the document.

    checksums: the existing archiver's sums, which are no file of the run.
    """

    file: SourceFile
    source: SourceFile | None
    exact: bool
    number: int | None = None
    content: str | None = None
    checksums: bool = False


def object_id(collection: str, version: str, entity: str) -> str:
    """The object id of a document, 24 hex characters. Derived from the names: a repeated try makes no duplicate.

    >>> object_id("RunHistory", "300/standard", "boot")
    '77a62b1b19b7dc5aae0fc366'
    """
    return hashlib.sha256("\0".join((collection, version, entity)).encode()).hexdigest()[:24]


def is_ours(item: Item, version: str) -> bool:
    """Whether this archiver wrote the document: artdaq's own object ids are random."""
    return item.oid == object_id(item.collection, version, item.entity)


def timestamp(moment: datetime | None = None) -> str:
    """Local time as artdaq writes it, `2026-11-23T20:20:41.006+0000`."""
    local = (moment or datetime.now()).astimezone()
    return f"{local:%Y-%m-%dT%H:%M:%S}.{local.microsecond // 1000:03d}{local:%z}"


def content_digest(files: Iterable[tuple[str, bytes, SourceFile | None]]) -> str:
    """Sha256 (hex) over names, bytes and sources of a run's files, in any order."""
    lines = [
        f"{name}\0{_sha256(data)}\0{source.name if source else ''}\0{_sha256(source.data) if source else ''}"
        for name, data, source in files
    ]
    return _sha256("\n".join(sorted(lines)).encode("utf-8", "surrogateescape"))


def check_names(record: RunDocuments) -> None:
    """Raise RecordError unless every file name can be an entity: plain ASCII without path or escape, each once.

    Source: docs/design/artdaqdb.md, What makes a document findable.
    """
    seen = set()
    for document in record.documents:
        name = document.name
        if not name.isascii() or not name.isprintable() or any(mark in name for mark in '"\\/'):
            raise RecordError(f"{name!a} cannot be a name in artdaqDB (rename it)", run=record.run)
        if document.entity in seen:
            raise RecordError(
                f"two files would be document {document.entity} of artdaqDB", run=record.run, hint="rename one"
            )
        seen.add(document.entity)


def parse(document: Document) -> fhicl.Snippet:
    """Data, metadata and comments; empty if a `.fcl` file is kept as text. Raises FhiclError with the file's name.

    Of a file that is no `.fcl` they hold its name and its text, so that artdaq's tools show it.
    """
    if not document.is_fcl:
        return fhicl.snippet(shown_by_tools(document))
    if document.kept:
        metadata = {"prolog": _table("#prolog"), "main": _table("#main")}
        return fhicl.Snippet({"prolog": {}, "main": {}}, metadata, [fhicl.NO_COMMENTS])
    try:
        known = document.snippet
        return fhicl.snippet(document.text) if known is None else fhicl.Snippet.unpacked(known, len(document.text))
    except FhiclError as error:
        error.path = error.path or document.name
        raise


def shown_by_tools(document: Document) -> bytes:
    """The FHiCL by which artdaq's tools show a document."""
    if document.is_fcl:
        return document.text
    return file_names.as_fhicl(document.source.name if document.source else document.name, document.text)


def tree(
    document: Document, version: RunVersion, *, collection: str = RUN_HISTORY, parsed: fhicl.Snippet | None = None
) -> Tree:
    """The document with its keys in artdaq's order. Raises FhiclError.

    parsed: the result of `parse`, if the caller has it.
    """
    snippet = parsed or parse(document)
    now, entity, run = version.assigned, document.entity, str(version.run)
    named = (version.configuration, version.version, collection, entity, run)
    return {
        "document": {"data": snippet.data, "metadata": snippet.metadata, "search": []},
        "comments": snippet.comments,
        "origin": {
            "format": "fhicl",
            "name": entity,
            # Must be a string: artdaq's ovlOrigin reads it as one. When artdaq rewrites a document it drops keys that
            # it does not know, so what the archiver adds is in `rawdata`, a list of strings.
            "source": "fhicl_to_json",
            "timestamp": now,
            "created": now,
            "rawdata": _rawdata(document, version),
        },
        "version": version.version,
        "entities": [_assigned(entity, now)],
        "configurations": [_assigned(version.configuration, now)],
        "changelog": "notprovided",
        "bookkeeping": {
            "isdeleted": False,
            "isreadonly": False,
            "updates": [
                {"event": event, "timestamp": now, "value": _assigned(name, now)}
                for event, name in zip(_EVENTS, named, strict=True)
            ],
            "created": now,
        },
        "_id": {"$oid": object_id(collection, version.version, entity)},
        "collection": collection,
        "aliases": {"active": [], "history": []},
        "runs": [_assigned(run, now)],
        "attachments": [],
        "configtype": "notprovided",
    }


def encode(document: Tree) -> bytes:
    r"""A document as bytes: ASCII, only the escapes \" \\ \b \f \n \r \t. Raises RecordError if it needs others."""
    if len(document["origin"]["rawdata"][1]) > fhicl.ORJSON_BYTES:
        return _encode_any(document)
    try:
        raw = orjson.dumps(document)
    except TypeError:  # nested too deeply for orjson, or text with a lone surrogate
        return _encode_any(document)
    # orjson writes these characters unescaped; `_encode_any` finds the ones that artdaq cannot read.
    return raw if raw.isascii() and b"\\u" not in raw and b"\x7f" not in raw else _encode_any(document)


def _encode_any(document: Tree) -> bytes:
    text = _ENCODE(document)
    if "\\u" in text and _UNICODE_ESCAPE.search(text):
        raise RecordError(f"document {document['origin']['name']} holds a character that artdaq cannot read")
    return text.encode("ascii")


def decode(raw: bytes) -> Tree:
    """A document from bytes; raises VerificationError.

    orjson is five times as fast as json, but makes floats of long integers and refuses lone surrogates and NaN. So it
    reads only documents of this archiver, whose text is in `rawdata` and whose tree is not used. json reads large
    documents, since it raises MemoryError where orjson would end the process.
    """
    if len(raw) > _ORJSON_BYTES or _QUOTED_MARK not in raw:
        return _decode_any(raw)
    try:
        document = orjson.loads(raw)
    except ValueError:
        return _decode_any(raw)
    return document if isinstance(document, dict) and _holds_text(document) else _decode_any(raw)


def _decode_any(raw: bytes) -> Tree:
    try:
        document = json.loads(raw)
    except (ValueError, RecursionError) as error:
        raise VerificationError(f"the document is damaged: {error}") from error
    if not isinstance(document, dict):
        raise VerificationError("the document is damaged: not a JSON object")
    return document


def unpack(document: Tree, item: Item, location: Location) -> StoredFile:
    """The file that a stored document holds.

    Raises VerificationError, with the run, if the document is damaged or not the one that the index lists.
    """
    try:
        _check_identity(document, item, location)
        if _holds_text(document):
            return _our_file(document["origin"]["rawdata"])
        main = document["document"]["data"]["main"]
        text = fhicl.from_snippet(document["document"])
    except VerificationError as error:
        error.run = location.run
        raise
    except (ArchiverError, LookupError, TypeError, ValueError, AttributeError) as error:
        why = error if isinstance(error, ArchiverError) else "it is not laid out as an artdaqDB document"
        raise VerificationError(f"document {item.entity} cannot be read: {why}", run=location.run) from error
    checksums = item.entity == HASHES and _are_checksums(main)
    return StoredFile(SourceFile(f"{item.entity}.fcl", text), None, exact=False, checksums=checksums)


def is_taken_for_checksums(document: Document) -> bool:
    """Whether a record's own file reads like the sums of the existing archiver once artdaq's tools have stored it."""
    return document.entity == HASHES and _are_checksums(parse(document).data["main"])


def _are_checksums(main: object) -> bool:
    """Whether a table holds MD5 sums and nothing else. Source: docs/design/artdaqdb.md, Hashes documents."""
    if isinstance(main, dict):
        return bool(main) and all(_are_checksums(value) for value in main.values())
    return isinstance(main, str) and _MD5.fullmatch(main) is not None


def manifest(document: Tree) -> tuple[str, int] | None:
    """Digest and number of documents of the version that a document belongs to; None if another program wrote it."""
    if not _holds_text(document):
        return None
    rawdata = document["origin"]["rawdata"]
    pairs = dict(zip(rawdata[::2], rawdata[1::2], strict=True))
    return pairs["rra:content"], int(pairs["rra:documents"])


# ---- into the document ---------------------------------------------------------------------------------------------


def _table(comment: str) -> Tree:
    return {"type": "table", "comment": comment, "children": {}}


def _assigned(name: str, now: str) -> dict[str, str]:
    return {"name": name, "assigned": now}


def _rawdata(document: Document, version: RunVersion) -> list[str]:
    """Labels and values in turn, the text first. No string has a quote or backslash: every JSON writer keeps them."""
    pairs = {
        _MARK: _base64(document.text),
        "rra:sha256": _sha256(document.text),
        "rra:file": document.name,
        "rra:documents": str(version.number),
        "rra:content": version.content,
    }
    if document.kept:
        pairs["rra:kept"] = document.kept.encode("ascii", "backslashreplace").decode().translate(_PLAIN)
    if document.source:
        pairs["rra:source"] = _base64(document.source.data)
        pairs["rra:source.sha256"] = _sha256(document.source.data)
        pairs["rra:source.file"] = _base64(document.source.name.encode("utf-8", "surrogateescape"))
    return [text for pair in pairs.items() for text in pair]


_PLAIN = dict.fromkeys((*range(32), 127), "?") | {ord('"'): "'", ord("\\"): "/"}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# ---- out of the document -------------------------------------------------------------------------------------------


def _at(document: object, *keys: str) -> object:
    """The value at a path of keys; None if a key is missing, as in documents written by hand."""
    for key in keys:
        if not isinstance(document, dict):
            return None
        document = document.get(key)
    return document


def _holds_text(document: Tree) -> bool:
    """Whether this archiver wrote the document: then it holds the text of the file."""
    rawdata = _at(document, "origin", "rawdata")
    return isinstance(rawdata, list) and rawdata[:1] == [_MARK]


def _names(document: Tree, key: str) -> list[object]:
    entries = document.get(key)
    return [_at(entry, "name") for entry in entries] if isinstance(entries, list) else []


def _check_identity(document: Tree, item: Item, location: Location) -> None:
    """Raise VerificationError unless version, entity, run and object id are the requested ones.

    A key that the document lacks is not compared.
    Source: docs/design/artdaqdb.md, Wrong document instead of not found.
    """
    version, entities, runs = document.get("version"), _names(document, "entities"), _names(document, "runs")
    of_configuration = re.escape(location.configuration) + r"(v\d+)?"
    if isinstance(version, str) and version != location.version and not re.fullmatch(of_configuration, version):
        raise VerificationError(f"document {item.entity} belongs to version {version}, not {location.version}")
    if entities and item.entity not in entities:
        raise VerificationError(f"document {item.oid} is entity {entities[0]}, not {item.entity}")
    if runs and str(location.run) not in runs:
        raise VerificationError(f"document {item.entity} belongs to run {runs[0]}")
    oid = _at(document, "_id", "$oid")
    if oid is not None and oid != item.oid:
        raise VerificationError(f"document {item.entity} is object {oid}, not {item.oid}")


def _our_file(rawdata: list[Any]) -> StoredFile:
    pairs = dict(zip(rawdata[::2], rawdata[1::2], strict=True))
    name = pairs["rra:file"]
    text = _checked(pairs[_MARK], pairs["rra:sha256"], name)
    source = None
    if "rra:source" in pairs:
        data = _checked(pairs["rra:source"], pairs["rra:source.sha256"], f"source of {name}")
        file = base64.b64decode(pairs["rra:source.file"]).decode("utf-8", "surrogateescape")
        source = SourceFile(file, data)
    return StoredFile(SourceFile(name, text), source, True, int(pairs["rra:documents"]), pairs["rra:content"])


def _checked(text: str, sha256: str, name: str) -> bytes:
    """The bytes of a value. Of empty bytes only the digest counts: artdaq replaces empty strings by `notprovided`."""
    if sha256 == _sha256(b""):
        return b""
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise VerificationError(f"{name} is damaged: {error}") from error
    if _sha256(data) != sha256:
        raise VerificationError(f"{name} is damaged: its sha256 is not the one it was stored with")
    return data
