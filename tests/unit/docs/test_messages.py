"""What every message is free of: representations of Python objects, class paths, words cut in two."""

from __future__ import annotations

import ast
import errno
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import rra_state
from rra_state.base import errors, host_limits
from rra_state.base.errors import ArchiverError, StoreError
from rra_state.records import blob
from rra_state.stores.artdaqdb import document
from rra_state.stores.artdaqdb.base import Item, Location
from rra_state.stores.artdaqdb.index import Index
from rra_state.stores.ucondb.client import UconDB
from tests.servers import canned
from tests.unit.stores.ucondb.ucondb_helpers import response, settings

PACKAGE = Path(rra_state.__file__).parent
FOREIGN = re.compile(
    r"<\w[\w.]* object|object at 0x|\w(Error|Exception)\(|NoneType|has no attribute|not subscriptable"
    r"|\b\w+(\.\w+)+\.[A-Z]\w+|Traceback|\[Errno|instance, \w+ found|HTTPConnectionPool"
)
BUGS = {("cli/main.py", "error"), ("monitoring/changes.py", "ended.fault")}
"""Unexpected errors, which only Python's own words describe."""
CLASSES = {"base/host_limits.py", "execution/events.py", "records/fhicl/snippet.py", "state/outcome.py"}
"""Modules that name a class of failure or of a value on purpose."""
DESCRIPTION = ("key", "id", "data_key", "adler32", "data_size", "tr")
WORDS = " ".join(f"word{number}" for number in range(400))


def formatted() -> Iterator[tuple[str, ast.FormattedValue]]:
    """Every value in an f-string of the package, with its module."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FormattedValue):
                yield path.relative_to(PACKAGE).as_posix(), node


def test_no_message_shows_the_representation_of_an_object() -> None:
    found = {(place, ast.unparse(node.value)) for place, node in formatted() if node.conversion == ord("r")}

    assert found == BUGS


def test_no_message_shows_the_class_of_an_object() -> None:
    assert {place for place, node in formatted() if ".__name__" in ast.unparse(node.value)} == CLASSES


ITEM = Item("RunHistory", "boot", "0" * 24)
IDENTITY = {
    "_id": {"$oid": ITEM.oid},
    "version": "v1",
    "collection": ITEM.collection,
    "configurations": [{"name": "c"}],
    "entities": [{"name": ITEM.entity}],
    "runs": [{"name": "7"}],
}


def _document(**content: object) -> Callable[[], object]:
    location = Location(7, "c", "v1", (ITEM,))
    return lambda: document.unpack(IDENTITY | content, ITEM, location)


def _ucondb(answer: bytes) -> Callable[[], object]:
    def ask() -> None:
        with canned(answer) as (url, _):
            UconDB(settings(url)).get(7)

    return ask


def _listing(records: list[object]) -> Callable[[], object]:
    def ask() -> None:
        with canned(response("200 OK", json.dumps(records).encode())) as (url, _):
            UconDB(settings(url)).versions()

    return ask


def _refused(error: BaseException) -> Callable[[], object]:
    def refuse() -> None:
        refusal = host_limits.refusal(error)
        assert refusal is not None
        raise refusal

    return refuse


RAISE: dict[str, Callable[[], object]] = {
    "index of a list": lambda: Index.parse(b"[]"),
    "index cut off": lambda: Index.parse(b'{"version": '),
    "index of other sections": lambda: Index.parse(b'{"version": 1}'),
    "document of nothing": _document(),
    "document of no tree": _document(document=None),
    "document of a list": _document(document={"data": {"main": [1]}}),
    "document of half a text": _document(origin={"format": "rra", "rawdata": ["rra:text", "!"]}),
    "blob of nothing": lambda: blob.unpack(b""),
    "blob of zeros": lambda: blob.unpack(bytes(1000)),
    "UconDB fails at length": _ucondb(response("500 No", f"<h3>{WORDS}</h3>".encode())),
    "UconDB answers nothing": _ucondb(b""),
    "UconDB is no HTTP server": _ucondb(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "UconDB gives no headers": _ucondb(response("200 OK", b"hello")),
    "nothing listens": lambda: UconDB(settings("http://127.0.0.1:9/x")).runs(),
    "no address": lambda: UconDB(settings("nonsense")).runs(),
    "UconDB lists no versions": _listing([7, WORDS]),
    "UconDB lists half a version": _listing([{"key": "7"}]),
    "UconDB lists no numbers": _listing([dict.fromkeys(DESCRIPTION, "7") | {"id": "x"}]),
    "no memory": _refused(MemoryError()),
    "no threads": _refused(RuntimeError("can't start new thread")),
    "no files": _refused(OSError(errno.EMFILE, os.strerror(errno.EMFILE))),
} | {kind.__name__: kind for kind in vars(errors).values() if isinstance(kind, type) and kind is not errors.PathLike}  # type: ignore[assignment]


@pytest.mark.parametrize("name", RAISE)
def test_every_message_is_in_plain_and_whole_words(name: str) -> None:
    try:
        said = str(RAISE[name]())
    except (ArchiverError, StoreError) as error:
        said = str(error)

    assert not FOREIGN.search(said), said
    assert not (WORDS[:20] in said and set(re.findall(r"word\d+", said)) - set(WORDS.split())), said
    assert "\n" not in said
