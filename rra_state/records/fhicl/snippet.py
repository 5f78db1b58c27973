"""A document as artdaqDB holds it: the raw text of every value, nothing resolved, comments attached to what is below.

Values only; the surrounding document (version, entities, runs, ...) is the store's.
Source: docs/design/artdaqdb.md, FHiCL as JSON and Export is not the input.
"""

from __future__ import annotations

import json
import re
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import orjson

from rra_state.base.errors import FhiclError
from rra_state.records.fhicl import scan
from rra_state.records.fhicl.evaluate import evaluate
from rra_state.records.fhicl.parse import (
    MAX_DEPTH,
    Atom,
    Definition,
    FhiclDocument,
    Node,
    Reference,
    Sequence,
    Table,
    parse,
)
from rra_state.records.fhicl.scan import quoted

NO_COMMENTS: dict[str, Any] = {"linenum": 0, "value": "No comments"}

ORJSON_BYTES = 2**18
"""Bytes of FHiCL up to which orjson makes its JSON. Where memory ends, it ends the process; Python's own raises
MemoryError, and only the run fails.
"""
_TYPES = {
    "nil": "nil",
    "bool": "bool",
    "number": "number",
    "complex": "complex",
    "word": "string_unquoted",
    "single": "string_singlequoted",
    "double": "string_doublequoted",
}
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*+(?:\.[A-Za-z_][A-Za-z0-9_]*+)*+")
_UNPRINTABLE = re.compile(r"[^\t -~]")


@dataclass(frozen=True, slots=True)
class Snippet:
    """What goes into `document.data`, `document.metadata` and `comments`: JSON values of ASCII text, no null."""

    data: dict[str, Any]
    metadata: dict[str, Any]
    comments: list[dict[str, Any]]

    def packed(self, size: int) -> bytes:
        """The snippet in a hundredth of its memory: Python's objects take twenty times the document's text.

        size: bytes of that text; see ORJSON_BYTES.
        """
        values = [self.data, self.metadata, self.comments]
        with suppress(TypeError):  # nested deeper than orjson goes
            if size <= ORJSON_BYTES:
                return zlib.compress(orjson.dumps(values), 1)
        return zlib.compress(json.dumps(values, separators=(",", ":")).encode(), 1)

    @classmethod
    def unpacked(cls, packed: bytes, size: int) -> Snippet:
        """Inverse of `packed`."""
        text = zlib.decompress(packed)
        with suppress(ValueError):
            if size <= ORJSON_BYTES:
                return cls(*orjson.loads(text))
        return cls(*json.loads(text))


def snippet(text: bytes) -> Snippet:
    """The document as artdaqDB stores it, references unresolved and unchecked.

    Raises FhiclError for what is not FHiCL and for what artdaqDB cannot hold: an empty file, `@table::`, names with an
    index, references into tables, and names given twice where that would change the meaning.
    """
    return _Builder(parse(text)).build()


def checked_snippet(text: bytes) -> Snippet:
    """The same. Raises FhiclError also if the real parser refuses the document, as for an undefined reference."""
    document = parse(text)
    evaluate(document)
    return _Builder(document).build()


class _Builder:
    """The state of one conversion."""

    def __init__(self, document: FhiclDocument) -> None:
        self.source = document.source
        self.document = document
        self.comments: dict[int, str] = {}
        self.order_matters: int | None = None  # offset of the first thing whose meaning depends on the order
        self.twice: tuple[int, str] | None = None

    def build(self) -> Snippet:
        if not self.source.text:
            raise FhiclError("the file is empty; artdaqDB refuses empty documents", line=1)
        self._read_comments()
        data: dict[str, Any] = {}
        metadata: dict[str, Any] = {}
        for section, members in (("prolog", self.document.prolog), ("main", self.document.main)):
            children: dict[str, Any] = {}
            data[section] = self._members(members, children)
            metadata[section] = {"type": "table", "comment": f"#{section}", "children": children}
        if self.twice is not None and self.order_matters is not None:
            offset, name = self.twice
            raise self.source.error(
                offset, f"{quoted(name)} is defined twice in a document with references; artdaqDB keeps the last only"
            )
        comments = [{"linenum": line, "value": text} for line, text in self.comments.items()]
        return Snippet(data, metadata, comments or [NO_COMMENTS])

    def _read_comments(self) -> None:
        text = self.source.text
        if "#" not in text and "//" not in text:
            return
        directives = set(self.source.includes)
        for match in scan.COMMENT.finditer(text):
            comment = match["comment"]
            if comment is not None and match.start() not in directives:
                self.comments[self.source.line(match.start())] = _UNPRINTABLE.sub("?", comment)

    def _members(self, members: list[Definition], metadata: dict[str, Any]) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for name, node, offset, guard, include in members:
            if not name:
                raise self.source.error(offset, "artdaqDB cannot hold @table:: references")
            if "[" in name:
                raise self.source.error(offset, f"{quoted(name)}: artdaqDB cannot hold names with an index")
            if name in data and self.twice is None:
                self.twice = offset, name
            if guard is not None or node is None or "." in name:
                self.order_matters = offset
            if node is None:
                info = self._info("string_unquoted", offset)
                value: Any = "@erase"
            elif include and isinstance(node, Atom):
                info = {"type": "string_doublequoted", "comment": "", "annotation": ""}
                value = node.text[1:-1]
            else:
                value, info = self._value(node)
            if guard is not None:
                children = info.pop("children", None)
                info["protection"] = guard
                if children is not None:
                    info["children"] = children
            data[name] = value
            metadata[name] = info
        return data

    def _value(self, node: Node) -> tuple[Any, dict[str, Any]]:
        if isinstance(node, Atom):
            kind, text, offset = node
            if kind in ("double", "single"):
                text = text[1:-1]
            return text, self._info(_TYPES[kind], offset)
        children: dict[str, Any] = {}
        if isinstance(node, Table):
            data: Any = self._members(node.members, children)
            comment = self._comment_above(self.source.line(node.offset)) if self.comments else ""
            return data, {"type": "table", "comment": comment, "children": children}
        if isinstance(node, Sequence):
            data = []
            for index, item in enumerate(node.items):
                value, children[str(index)] = self._value(item)
                data.append(value)
            return data, {**self._info("sequence", node.offset), "children": children}
        return self._reference(node), self._info("string_unquoted", node.offset)

    def _reference(self, node: Reference) -> str:
        if "." in node.name or "[" in node.name:
            raise self.source.error(node.offset, f"{quoted(node.name)}: artdaqDB cannot hold references into tables")
        self.order_matters = node.offset
        return f"@{node.kind}::{node.name}"

    def _info(self, kind: str, offset: int) -> dict[str, Any]:
        if not self.comments:
            return {"type": kind, "comment": "", "annotation": ""}
        line = self.source.line(offset)
        return {"type": kind, "comment": self._comment_above(line), "annotation": self.comments.get(line, "")}

    def _comment_above(self, line: int) -> str:
        """The comment of the line before, also where it annotates the key there; `//` is an annotation only."""
        comment = self.comments.get(line - 1, "")
        return "" if comment.startswith("/") or "#include " in comment else comment


# ---- back to text --------------------------------------------------------------------------------------------------


def from_snippet(document: Mapping[str, Any]) -> bytes:
    """FHiCL text of a stored document's tree, for documents that other programs wrote.

    document: with `data` and `metadata`, as `Snippet` has them or as artdaqDB stores them under `document`. Missing
    metadata is made up from the data. Raises FhiclError if the tree does not make a valid document.
    """
    data, metadata = document.get("data", {}), document.get("metadata", {})
    out: list[str] = []
    for section in ("prolog", "main"):
        members = data.get(section) or {}
        if not isinstance(members, Mapping):
            raise FhiclError(f"stored document: {section} is not a table", line=1)
        if section == "prolog" and not members:
            continue
        body: list[str] = []
        _write_members(members, _children(metadata.get(section)), body, 0)
        out += ["BEGIN_PROLOG", *body, "", "END_PROLOG"] if section == "prolog" else body
    text = "".join(line + "\n" for line in out).lstrip("\n")
    parse(text)  # what was stored may be anything; what is handed out is FHiCL
    return text.encode("ascii")


def _children(info: Any) -> Mapping[str, Any]:
    children = info.get("children", {}) if isinstance(info, Mapping) else {}
    return children if isinstance(children, Mapping) else {}


def _write_members(members: Mapping[str, Any], infos: Mapping[str, Any], out: list[str], depth: int) -> None:
    if depth > MAX_DEPTH:
        raise FhiclError(f"stored document: more than {MAX_DEPTH} tables inside one another", line=1)
    for key, value in members.items():
        info = infos.get(key, {})
        if not isinstance(info, Mapping):
            info = {}
        # A directive is stored like a definition of this name in double quotes; one in single quotes is a definition.
        is_directive = info.get("type", "string_doublequoted") == "string_doublequoted"
        if key.startswith("fhicl_pound_include_") and isinstance(value, str) and is_directive:
            out.append(f'#include "{value}"')
            continue
        if not _KEY.fullmatch(key):
            raise FhiclError(f"stored document: {quoted(key)} is not a name", line=1)
        out.append(_comment_line(info.get("comment")))
        guard = info.get("protection", "")
        guard = f" {guard}" if guard in ("@protect_ignore", "@protect_error") else ""
        annotation = "" if isinstance(value, Mapping) else _comment_line(info.get("annotation"))
        if isinstance(value, Mapping):
            out.append(f"{key}{guard}: {{")
            _write_members(value, _children(info), out, depth + 1)
            out.append("}")
        else:
            out.append(f"{key}{guard}: " + _written(value, info, depth) + (f" {annotation}" if annotation else ""))


def _written(value: Any, info: Any, depth: int) -> str:  # noqa: PLR0911  # one return per kind of value
    """A value on one line, but for tables inside sequences."""
    if depth > MAX_DEPTH:
        raise FhiclError(f"stored document: more than {MAX_DEPTH} sequences inside one another", line=1)
    if isinstance(value, Mapping):
        out: list[str] = []
        _write_members(value, _children(info), out, depth + 1)
        return "{\n" + "\n".join(out) + "\n}" if out else "{}"
    if isinstance(value, list):
        infos = _children(info)
        return "[" + ", ".join(_written(item, infos.get(str(i)), depth + 1) for i, item in enumerate(value)) + "]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if not isinstance(value, str):
        raise FhiclError(f"stored document: {type(value).__name__} is not a FHiCL value", line=1)
    kind = info.get("type") if isinstance(info, Mapping) else None
    if kind == "string_doublequoted":
        return f'"{value}"'
    if kind == "string_singlequoted":
        return f"'{value}'"
    if kind == "string_unquoted" or kind in ("number", "bool", "nil", "complex", "tableid"):
        match = scan.ITEM.fullmatch(value)
        # `true` before a `#` is a string; alone on its line it would become a boolean.
        as_string = kind == "string_unquoted" and match is not None and match.lastgroup in ("bool", "number")
        return f'"{value}"' if as_string else value
    bare = scan.ITEM.fullmatch(value)
    return value if bare is not None and bare.lastgroup not in (None, "open") else f'"{value}"'


def _comment_line(text: Any) -> str:
    """A stored comment as one line that is a comment and not a directive."""
    if not isinstance(text, str) or not text:
        return ""
    line = _UNPRINTABLE.sub("?", text)
    return line if line.startswith(("#", "//")) and not line.startswith("#include") else f"# {line}"
