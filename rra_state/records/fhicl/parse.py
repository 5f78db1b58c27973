"""FHiCL text -> syntax tree. Resolves nothing: references, dotted names and erasures stay as written.

One loop over compiled patterns with a stack of open tables and sequences; linear in the text, no recursion.
Source: docs/design/fhicl.md, Grammar.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, NamedTuple

from rra_state.records.fhicl import scan
from rra_state.records.fhicl.scan import Source, quoted

MAX_DEPTH = 200
"""Tables and sequences inside one another. Real configurations stay below 20; much deeper, no JSON writer follows."""

AtomKind = Literal["nil", "bool", "number", "complex", "word", "single", "double"]
ReferenceKind = Literal["local", "db", "id", "table", "sequence"]
Path = tuple[str | int, ...]


class Atom(NamedTuple):
    """A value that holds no other. text: as in the source, quotes included; complex without white space."""

    kind: AtomKind
    text: str
    offset: int


class Reference(NamedTuple):
    """`@local::name` and its like. name: without white space, `a.b[0]`; the 40 digits for `id`."""

    kind: ReferenceKind
    name: str
    offset: int


class Sequence(NamedTuple):
    """`[...]`"""

    items: list[Node]
    offset: int


class Table(NamedTuple):
    """`{...}`"""

    members: list[Definition]
    offset: int


class Definition(NamedTuple):
    """`name guard: value`.

    value: None for `@erase`; a Reference of kind `table`, with an empty name, for `@table::x`.
    guard: `@protect_ignore`, `@protect_error` or None.
    include: this is an `#include` directive and the value the file's name.
    """

    name: str
    value: Node | None
    offset: int
    guard: str | None = None
    include: bool = False


Node = Atom | Reference | Sequence | Table


@dataclass(frozen=True, slots=True)
class FhiclDocument:
    """A parsed document: the definitions of all its prologs, and the others, in the order of the text."""

    source: Source
    prolog: list[Definition]
    main: list[Definition]


class _Frame(NamedTuple):
    """An open scope. `kind` is `main`, `prolog`, `{` or `[`; `offset` is where it was opened."""

    kind: str
    content: list[Definition] | list[Node]
    offset: int


def path_of(name: str) -> Path:
    """Parts of a name.

    >>> path_of("a.b[2]")
    ('a', 'b', 2)
    """
    # Of an index that no sequence can have, as many digits as a message may show.
    parts = scan.NAME_PART.findall(name)
    return tuple(int(part.lstrip("0")[:40] or "0") if part[0].isdigit() else part for part in parts)


def parse(text: str | bytes) -> FhiclDocument:
    """Read a document. Raises FhiclError, with the line, for everything the grammar does not allow."""
    return _Parser(Source(text)).run()


class _Parser:
    """The state of one pass over a text."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.text = source.text
        self.document = FhiclDocument(source, [], [])
        self.stack: list[_Frame] = []
        self.frame = _Frame("main", self.document.main, 0)
        self.position = 0
        self.last_word: int | None = None  # offset of the value just read if it was an unquoted one
        self.includes = list(reversed(source.includes))
        self.include_count = 0

    def run(self) -> FhiclDocument:
        text = self.text
        while True:
            self._definitions()
            if self.frame.kind == "[":
                self._items()
                continue
            offset = self._skip()
            if offset >= len(text):
                break
            self._other_than_definition(offset)
        self._require_closed()
        return self.document

    # ---- what is met -------------------------------------------------------------------------------------------

    def _definitions(self) -> None:
        """Read definitions of the present scope and of the tables opened by them, until something else comes."""
        text, frame = self.text, self.frame
        while frame.kind != "[":
            position = self.position
            if self.includes or (frame.kind == "main" and not frame.content):
                # A directive looks like a comment to the patterns, and BEGIN_PROLOG like a name.
                offset = self._skip()
                if text.startswith(("BEGIN_PROLOG", "#include"), offset):
                    return
            match = (scan.MEMBER if frame.kind == "{" else scan.DEFINITION).match(text, position)
            if match is None:
                return
            if self.includes and match.end() > self.includes[-1]:
                self._misplaced_include()
            name, guard, kind = match["name"], match["guard"], match.lastgroup
            if kind == "erase":
                if guard is not None:
                    return
                value: Node | None = None
            else:
                value = self._value(match, str(kind))
            if frame.kind != "{" and not name.isalnum():
                name = _tidy(name)
            definition = Definition(name, value, match.start("name"), guard)
            frame.content.append(definition)  # type: ignore[arg-type]  # not a "[": its content is definitions
            self.position = match.end()
            if kind == "open":
                self._open(value)
                frame = self.frame

    def _items(self) -> None:
        """Read the rest of an open sequence, or up to a table or sequence in it."""
        text, frame = self.text, self.frame
        separated = False
        while True:
            if frame.content or text.startswith(",", self._skip()):  # `[ , 1]`: the real parser accepts that
                separated = True
                separator = scan.SEPARATOR.match(text, self.position)
                if separator is None:
                    raise self._no_separator()
                self.position = separator.end()
                if separator[1] == "]":
                    self._close()
                    return
            match = scan.ITEM.match(text, self.position)
            if match is None:
                offset = self._skip()
                if not separated and text.startswith("]", offset):
                    self.position = offset + 1
                    self._close()
                    return
                raise self._no_value(offset, None)
            if self.includes and match.end() > self.includes[-1]:
                self._misplaced_include()
            kind = str(match.lastgroup)
            value = self._value(match, kind)
            frame.content.append(value)  # type: ignore[arg-type]  # a "[": its content is values
            self.position = match.end()
            if kind == "open":
                self._open(value)
                return

    def _value(self, match: re.Match[str], kind: str) -> Node:  # noqa: PLR0911  # one return per kind of token
        raw, offset = match[kind], match.start(kind)
        self.last_word = None
        if kind == "word":
            self.last_word = offset
            return Atom("word", raw, offset)
        if kind in ("number", "bool", "nil"):
            return Atom(kind, raw, offset)  # type: ignore[arg-type]  # the three are AtomKinds
        if kind == "double":
            if "\\" in raw or not raw.isprintable():
                self._require_good_string(raw, offset)
            return Atom("double", raw, offset)
        if kind == "single":
            if not raw.isprintable():
                self._require_good_string(raw, offset)
            return Atom("single", raw, offset)
        if kind == "open":
            return Table([], offset) if raw == "{" else Sequence([], offset)
        if kind == "complex":
            index = match.re.groupindex["complex"]
            return Atom("complex", f"({match[index + 1]},{match[index + 2]})", offset)
        if kind == "splice":
            return Reference("sequence", _tidy(raw[len("@sequence::") :]), offset)
        return Reference(kind, _tidy(raw.partition("::")[2]), offset)  # type: ignore[arg-type]  # local, db, id

    def _other_than_definition(self, offset: int) -> None:
        """Handle what may stand where a definition could, or raise."""
        text, frame = self.text, self.frame
        if self.includes and text.startswith("#include", offset) and offset == self.includes[-1]:
            self._include(offset)
        elif frame.kind == "{" and text[offset] == "}":
            self.position = offset + 1
            self.last_word = None
            self._close()
        elif text.startswith("@table::", offset):
            match = scan.SPLICE.match(text, offset)
            if match is None:
                raise self._no_value(offset, None)
            definition = Definition("", Reference("table", _tidy(match["name"]), offset), offset)
            frame.content.append(definition)  # type: ignore[arg-type]
            self.position = match.end()
            self.last_word = None
        elif frame.kind == "main" and not frame.content and text.startswith("BEGIN_PROLOG", offset):
            self.stack.append(frame)
            self.frame = _Frame("prolog", self.document.prolog, offset)
            self.position = offset + len("BEGIN_PROLOG")
        elif frame.kind == "prolog" and not scan.HEAD.match(text, offset) and text.startswith("END_PROLOG", offset):
            self.position = offset + len("END_PROLOG")
            self.last_word = None
            self.frame = self.stack.pop()
        else:
            raise self._no_definition(offset)

    def _include(self, offset: int) -> None:
        end = self.text.index("\n", offset)
        file_offset = self.text.index('"', offset)
        atom = Atom("double", self.text[file_offset:end].rstrip(" \t"), file_offset)
        name = f"fhicl_pound_include_{self.include_count}"
        self.frame.content.append(Definition(name, atom, offset, include=True))  # type: ignore[arg-type]
        self.include_count += 1
        self.includes.pop()
        self.position = end

    # ---- scopes ------------------------------------------------------------------------------------------------

    def _open(self, value: Node | None) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise self.source.error(self.position - 1, f"more than {MAX_DEPTH} tables and sequences inside one another")
        self.stack.append(self.frame)
        if isinstance(value, Table):
            self.frame = _Frame("{", value.members, value.offset)
        elif isinstance(value, Sequence):
            self.frame = _Frame("[", value.items, value.offset)

    def _close(self) -> None:
        self.frame = self.stack.pop()
        self.last_word = None

    def _require_closed(self) -> None:
        if self.includes:
            self._misplaced_include()
        if self.frame.kind == "{":
            raise self.source.error(self.frame.offset, '"{" is never closed')
        if self.frame.kind == "prolog":
            raise self.source.error(self.frame.offset, "BEGIN_PROLOG without END_PROLOG")

    def _skip(self) -> int:
        """The offset of the next text that is neither white space nor comment; an `#include` line is no comment."""
        # Not beyond the next directive: it looks like a comment, and so would all that follow, again and again.
        ahead = self.includes and self.includes[-1] >= self.position
        match = scan.SKIP.match(self.text, self.position, self.includes[-1] if ahead else len(self.text))
        return match.end() if match else self.position

    # ---- what is wrong -----------------------------------------------------------------------------------------

    def _misplaced_include(self) -> None:
        raise self.source.error(self.includes[-1], "#include stands inside a value")

    def _require_good_string(self, raw: str, offset: int) -> None:
        if raw[0] == '"':
            match = scan.BAD_ESCAPE.match(raw, 1, len(raw) - 1)
            if match is not None and match.end() < len(raw) - 1:
                escape = raw[match.end() : match.end() + 2]
                raise self.source.error(
                    offset + match.end(), f"{quoted(escape)} is not an escape of FHiCL", r"write \\ for a backslash"
                )
        bad = scan.BAD_CHARACTER.search(raw)
        if bad is not None:
            raise self.source.error(offset + bad.start(), f"control character 0x{ord(bad[0]):02X} in a string")

    def _no_value(self, offset: int, name: str | None) -> Exception:  # noqa: PLR0911  # one return per message
        text, error = self.text, self.source.error
        where = f"the value of {quoted(name)}" if name else "a value"
        if offset >= len(text):
            if name is None:
                return error(self.frame.offset, '"[" is never closed')
            return error(self.position, f"{quoted(name)} has no value")
        if text[offset] in "\"'":
            closed = scan.CLOSED_STRING.match(text, offset)
            if closed is None:
                double = 'a backslash before the closing quote keeps it open, also in "x\\\\"'
                hint = double if text[offset] == '"' else None
                return error(offset, f"string without a closing {text[offset]}", hint)
            end = self.source.line(closed.end() - 1)
            after = quoted(self.source.word(closed.end()))
            return error(offset, f"string that ends on line {end} is followed directly by {after}", "check its quotes")
        if text[offset] in ",:]}":
            return error(offset, f"{quoted(text[offset])} where {where} should be")
        if text[offset] == "\0":
            return error(offset, "NUL byte; only a comment may hold one")
        word = self.source.word(offset)
        if text[offset] == "@":
            return error(offset, f"{quoted(word)} is not a reference FHiCL knows")
        if text[offset] == "(":
            return error(offset, f"{quoted(word)} is not a complex number", "two numbers with a comma between")
        return error(offset, f"{quoted(word)} is not a FHiCL value", "quote it")

    def _no_separator(self) -> Exception:
        offset = self._skip()
        if offset >= len(self.text):
            return self.source.error(self.frame.offset, '"[" is never closed')
        return self._after_value(offset) or self.source.error(
            offset, f"comma missing before {quoted(self.source.word(offset))}"
        )

    def _after_value(self, offset: int) -> Exception | None:
        """`a: host:port` and `a: two words`: say that the whole of it is no value."""
        start = self.last_word
        if start is None or "\n" in self.text[start:offset] or "#" in self.text[start:offset]:
            return None
        if self.text[offset] in "]}":
            return None
        whole = self.text[start:offset] + self.source.word(offset)
        if whole.count("[") > whole.count("]") and self.text.startswith("]", start + len(whole)):
            whole += "]"  # a name with an index
        return self.source.error(offset, f"{quoted(whole)} is not a FHiCL value", "quote it")

    def _no_definition(self, offset: int) -> Exception:  # noqa: PLR0911  # one return per message
        text, source = self.text, self.source
        head = scan.HEAD.match(text, offset)
        if head is not None and self.frame.kind == "{" and ("." in head["name"] or "[" in head["name"]):
            return source.error(offset, f"{quoted(_tidy(head['name']))}: a name inside a table has no dots or brackets")
        if head is not None:
            skipped = scan.SKIP.match(text, head.end())
            value_offset = skipped.end() if skipped else head.end()
            if head["guard"] and text.startswith("@erase", value_offset):
                return source.error(offset, f"@erase with {head['guard']}")
            if value_offset >= len(text):
                return source.error(offset, f"{quoted(head['name'])} has no value")
            return self._no_value(value_offset, head["name"])
        if text.startswith("BEGIN_PROLOG", offset):
            return source.error(offset, "prologs must be the first thing and may not nest")
        if text[offset] in "}]":
            return source.error(offset, f"{quoted(text[offset])} closes nothing")
        after = self._after_value(offset)
        if after is not None:
            return after
        name = scan.QUALIFIED_NAME.match(text, offset)
        if name is not None and text.startswith("[", name.end()):
            return source.error(
                name.end(), f"the index of {quoted(_tidy(name[0]))} is not closed", "write name[0]: value"
            )
        if name is not None:
            return source.error(offset, f"{quoted(_tidy(name[0]))} is not followed by a colon")
        return source.error(offset, f"{quoted(source.word(offset))} is not a name", "letters, digits and _ only")


_BLANKS = re.compile(scan.WS.removesuffix("*+") + "++")


def _tidy(name: str) -> str:
    """A qualified name without the white space and comments that may stand in it."""
    return name if name.isidentifier() else _BLANKS.sub("", name)
