"""Syntax tree -> value tree: prologs, references, splices, dotted and indexed names, `@erase` and protection.

References begin with `@local::`, splices with `@table::` or `@sequence::`.

Values are copied on reference, lazily: a referenced table is marked as shared and copied when one side changes it.
Source: docs/design/fhicl.md, Evaluation.
"""

from __future__ import annotations

from rra_state.records.fhicl.number import MAX_RADIX_DIGITS, canonical_number
from rra_state.records.fhicl.parse import (
    MAX_DEPTH,
    Atom,
    Definition,
    FhiclDocument,
    Node,
    Path,
    Reference,
    Sequence,
    Table,
    path_of,
)
from rra_state.records.fhicl.scan import Source, quoted
from rra_state.records.fhicl.values import (
    NIL,
    Scalar,
    SequenceValue,
    TableValue,
    Value,
    copied,
    share_items,
)
from rra_state.records.fhicl.write import printed_string

MAX_NIL_ITEMS = 1_000_000
"""How many @nil an index beyond the end (`s[5]: x`) may add in one document."""
MAX_COPIES = 10_000_000
"""How many values references may copy in one document: a few lines could ask for the square of their number."""

IGNORE, ERROR = 1, 2
_GUARDS = {None: 0, "@protect_ignore": IGNORE, "@protect_error": ERROR}
_GUARD_NAMES = {guard: name for name, guard in _GUARDS.items()}


def evaluate(document: FhiclDocument) -> TableValue:
    """The values of a document, prologs left out. Raises FhiclError, with the line.

    `#include` is an error: a record holds no other file it could mean.
    """
    source = document.source
    if source.includes:
        raise source.error(source.includes[0], "#include names a file that is not part of the record")
    return _Evaluator(source).run(document)


class _Evaluator:
    """The state of one evaluation: the prolog's names, the others, and where definitions go now."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.prolog = TableValue()
        self.main = TableValue()
        self.root = self.prolog
        self.guarded = False  # nothing is protected so far, and so nothing needs to be checked
        self.nil_items = 0
        self.copies = 0
        self.scalars: dict[tuple[str, str], Scalar] = {}
        self.id_offsets: dict[str, int] = {}

    def run(self, document: FhiclDocument) -> TableValue:
        for definition in document.prolog:
            self._define(definition)
        self.root = self.main
        for definition in document.main:
            self._define(definition)
        if self.id_offsets:
            self._refuse_ids()
        return self.main

    def _refuse_ids(self) -> None:
        """An `@id::` may be written if it is overwritten or erased later, or only a prolog has it."""
        seen: set[int] = set()
        waiting: list[Value] = [self.main]
        while waiting:
            value = waiting.pop()
            if isinstance(value, Scalar):
                if value.kind == "id":
                    message = "@id:: names a parameter set that only the process that made it knows"
                    raise self.source.error(self.id_offsets[value.text], message)
            elif id(value) not in seen:
                seen.add(id(value))
                waiting.extend(value.items.values() if isinstance(value, TableValue) else value.items)

    # ---- definitions -------------------------------------------------------------------------------------------

    def _define(self, definition: Definition) -> None:
        name, node, offset, guard_name, _ = definition
        if node is None:
            self._erase(name, offset)
        elif not name:
            spliced = self._spliced_table(node)
            for member, value in spliced.items.items():
                self._assign((member,), value, spliced.guards.get(member, 0), offset)
        else:
            value = self._value(node)
            guard = _GUARDS[guard_name] if guard_name else 0
            if guard:
                self._check_inside(name, guard, value, offset)
            if guard or self.guarded or "." in name or "[" in name:
                self._assign(self._path(name, offset), value, guard, offset)
            else:
                if self.root is self.main:
                    self.prolog.items.pop(name, None)
                self.root.items[name] = value

    def _path(self, name: str, offset: int) -> Path:
        """The parts of a name. Raises FhiclError for an index that no sequence may have."""
        path = path_of(name)
        too_far = next((part for part in path if isinstance(part, int) and part >= MAX_NIL_ITEMS), None)
        if too_far is not None:
            raise self.source.error(offset, f"index {too_far} is too far beyond the end of the sequence")
        return path

    def _assign(self, path: Path, value: Value, guard: int, offset: int) -> None:
        """Bind a value at document level. Missing containers on the path are made; other values there are an error."""
        if len(path) > MAX_DEPTH:
            raise self.source.error(offset, f"name of more than {MAX_DEPTH} parts")
        first = path[0]
        if self.root is self.main and isinstance(first, str) and self.prolog.items.pop(first, None) is not None:
            self.prolog.guards.pop(first, None)
        container: TableValue | SequenceValue = self.root
        key: str | int = first
        blocked = self._enter(container, key, path, offset)
        for part in path[1:]:
            container = self._container(container, key, part, path, offset)
            key = part
            blocked = self._enter(container, key, path, offset) or blocked
        present = container.items[key]  # type: ignore[index]  # str for tables, int for sequences
        if present is not NIL and guard > container.guards.get(key, 0):  # type: ignore[arg-type]
            raise self.source.error(offset, f"{quoted(_text(path))} was defined without {_GUARD_NAMES[guard]} before")
        if not blocked:
            container.items[key] = value  # type: ignore[index]
            self._guard(container, key, guard)

    def _enter(self, container: TableValue | SequenceValue, key: str | int, path: Path, offset: int) -> bool:
        """Make sure that there is something at `key`; True if assignments to it are to be ignored."""
        if isinstance(container, TableValue):
            container.items.setdefault(str(key), NIL)
        elif isinstance(key, int) and key >= len(container.items):
            missing = key + 1 - len(container.items)
            self.nil_items += missing
            if self.nil_items > MAX_NIL_ITEMS:
                raise self.source.error(offset, f"index {key} is too far beyond the end of the sequence")
            container.items.extend([NIL] * missing)
        guard = container.guards.get(key, 0)  # type: ignore[arg-type]
        if guard == ERROR:
            raise self.source.error(offset, f"{quoted(_text(path))} is protected by @protect_error")
        return guard == IGNORE

    def _container(
        self, parent: TableValue | SequenceValue, key: str | int, part: str | int, path: Path, offset: int
    ) -> TableValue | SequenceValue:
        """The table or sequence at `key`, ready to be changed at `part`."""
        wanted = SequenceValue if isinstance(part, int) else TableValue
        present: Value = parent.items[key]  # type: ignore[index]
        if present is NIL:
            present = wanted()
            self._guard(parent, key, 0)
        elif not isinstance(present, wanted):
            kind = "sequence" if wanted is SequenceValue else "table"
            raise self.source.error(offset, f"{quoted(_text(path))}: {quoted(str(key))} is not a {kind}")
        elif present.shared:
            self._count(len(present.items), offset)
            present = copied(present)
        else:
            return present
        parent.items[key] = present  # type: ignore[index]
        return present

    def _guard(self, container: TableValue | SequenceValue, key: str | int, guard: int) -> None:
        if guard:
            self.guarded = True
            container.guards[key] = guard  # type: ignore[index]
        elif container.guards:
            container.guards.pop(key, None)  # type: ignore[arg-type]

    def _erase(self, name: str, offset: int) -> None:
        """`name: @erase`. A part that is absent is no error; a name that only a prolog has is left alone."""
        path = self._path(name, offset)
        container: TableValue | SequenceValue = self.root
        for part, following in zip(path, (*path[1:], None), strict=True):
            if isinstance(container, SequenceValue):
                if int(part) >= len(container.items):
                    return
                if following is None:
                    raise self.source.error(offset, f"{quoted(name)}: an item of a sequence cannot be erased")
            else:
                if part not in container.items:
                    return
                guard = container.guards.get(str(part), 0)
                if guard == ERROR:
                    raise self.source.error(offset, f"{quoted(name)} is protected by @protect_error")
                if guard == IGNORE:
                    return
                if following is None:
                    del container.items[str(part)]
                    return
            if container.items[part] is NIL:  # type: ignore[index]  # str for tables, int for sequences
                raise self.source.error(offset, f"{quoted(name)}: {quoted(str(part))} is @nil")
            container = self._container(container, part, following, path, offset)

    # ---- values ------------------------------------------------------------------------------------------------

    def _value(self, node: Node) -> Value:
        if isinstance(node, Atom):
            key = (node.kind, node.text)
            scalar = self.scalars.get(key)
            if scalar is None:
                scalar = self.scalars[key] = self._scalar(node)
            return scalar
        if isinstance(node, Table):
            return self._table(node)
        if isinstance(node, Sequence):
            return self._sequence(node)
        if node.kind == "local":
            return self._lookup(node)
        if node.kind == "db":
            raise self.source.error(node.offset, "@db:: cannot be resolved by any FHiCL library")
        self.id_offsets.setdefault(node.name, node.offset)
        return Scalar("id", node.name)

    def _scalar(self, atom: Atom) -> Scalar:
        kind, text = atom.kind, atom.text
        if kind == "number":
            return Scalar("number", self._number(text, atom.offset))
        if kind == "complex":
            real, imaginary = (self._number(part, atom.offset) for part in text[1:-1].split(","))
            return Scalar("complex", f"({real},{imaginary})")
        if kind == "nil":
            return NIL
        if kind == "bool":
            return Scalar("bool", text)
        return Scalar("string", printed_string(kind, text))

    def _number(self, text: str, offset: int) -> str:
        number = canonical_number(text)
        if number is None:
            raise self.source.error(offset, f"{quoted(text)} has more than {MAX_RADIX_DIGITS} digits")
        return number

    def _table(self, table: Table) -> TableValue:
        result = TableValue()
        items, guards = result.items, result.guards
        for name, node, offset, guard_name, _ in table.members:
            if node is None:
                if guards.get(name) == ERROR:
                    raise self.source.error(offset, f"{quoted(name)} is protected by @protect_error")
                if name not in guards:
                    items.pop(name, None)
            elif name:
                value = self._value(node)
                guard = _GUARDS[guard_name] if guard_name else 0
                if guard:
                    self._check_inside(name, guard, value, offset)
                if guard or guards:
                    self._insert(result, name, value, guard, offset)
                else:
                    items[name] = value
            else:
                spliced = self._spliced_table(node)
                for member, value in spliced.items.items():
                    self._insert(result, member, value, spliced.guards.get(member, 0), offset)
        return result

    def _insert(self, table: TableValue, name: str, value: Value, guard: int, offset: int) -> None:
        present = table.guards.get(name, 0)
        if name in table.items:
            if guard > present:
                raise self.source.error(offset, f"{quoted(name)} was defined without {_GUARD_NAMES[guard]} before")
            if present == ERROR:
                raise self.source.error(offset, f"{quoted(name)} is protected by @protect_error")
            if present == IGNORE:
                return
        table.items[name] = value
        self._guard(table, name, guard)

    def _sequence(self, sequence: Sequence) -> SequenceValue:
        result = SequenceValue()
        items = result.items
        for node in sequence.items:
            if isinstance(node, Reference) and node.kind == "sequence":
                spliced = self._lookup(node)
                if not isinstance(spliced, SequenceValue):
                    raise self.source.error(node.offset, f"{quoted(node.name)} is not a sequence")
                self._count(len(spliced.items), node.offset)
                share_items(spliced.items)
                items.extend(spliced.items)
            else:
                items.append(self._value(node))
        return result

    def _spliced_table(self, node: Node) -> TableValue:
        assert isinstance(node, Reference)  # noqa: S101  # the parser makes no other
        table = self._lookup(node)
        if not isinstance(table, TableValue):
            raise self.source.error(node.offset, f"{quoted(node.name)} is not a table")
        self._count(len(table.items), node.offset)
        share_items(table.items.values())
        # A table may be spliced into itself at document level: walk over a copy of its members.
        return TableValue(dict(table.items), dict(table.guards))

    def _lookup(self, reference: Reference) -> Value:
        """What a reference names, prologs included. There are no forward references."""
        path = path_of(reference.name)
        first = str(path[0])
        value: Value | None = self.main.items.get(first)
        if value is None:
            value = self.prolog.items.get(first)
        for part in path[1:]:
            if value is None:
                break
            if isinstance(part, int):
                if not isinstance(value, SequenceValue):
                    raise self.source.error(
                        reference.offset, f"{quoted(reference.name)}: [{part}] of what is no sequence"
                    )
                value = value.items[part] if part < len(value.items) else None
            else:
                if not isinstance(value, TableValue):
                    raise self.source.error(reference.offset, f"{quoted(reference.name)}: .{part} of what is no table")
                value = value.items.get(part)
        if value is None:
            raise self.source.error(reference.offset, f"{quoted(reference.name)} is not defined before this line")
        if not isinstance(value, Scalar):
            value.shared = True
        return value

    def _count(self, copies: int, offset: int) -> None:
        self.copies += copies
        if self.copies > MAX_COPIES:
            raise self.source.error(offset, f"references copy more than {MAX_COPIES} values")

    def _check_inside(self, name: str, guard: int, value: Value, offset: int) -> None:
        """Nothing inside a protected value may be protected less than itself. Visits every shared part once."""
        if not self.guarded:
            return
        seen: set[tuple[int, int]] = set()
        waiting: list[tuple[Value, int]] = [(value, guard)]
        while waiting:
            present, least = waiting.pop()
            if isinstance(present, Scalar) or (id(present), least) in seen:
                continue
            seen.add((id(present), least))
            self._count(len(present.items), offset)
            pairs = present.items.items() if isinstance(present, TableValue) else enumerate(present.items)
            for key, child in pairs:
                inner = present.guards.get(key, 0)  # type: ignore[arg-type]
                if inner and inner < least:
                    raise self.source.error(
                        offset,
                        f"{quoted(str(key))} in {quoted(name)} has {_GUARD_NAMES[inner]} only, {quoted(name)} more",
                    )
                waiting.append((child, max(least, inner)))


def _text(path: Path) -> str:
    """`("a", 2)` as `a[2]`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).removeprefix(".")
