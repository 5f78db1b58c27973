"""SecantusDB, made to do as MongoDB does where artdaq's documents meet a difference: two servers in one process.

Started as a program: `python -I mongodb_server.py DIRECTORY`. Prints a line with two URIs, that of a replica set of one
member and that of a server by itself, and runs until its standard input ends. Source of what MongoDB does:
docs/design/artdaqdb.md, MongoDB.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from secantus import SecantusDBServer, commands, expressions, paths, server, storage

PARALLEL = "cannot index parallel arrays"
OF_GEOMETRY, OF_PARALLEL_ARRAYS = 16572, 171
TRANSACTION_SECONDS = 1.0
NO_REPLICA_SET = "Transaction numbers are only allowed on a replica set member or mongos"


class ParallelArrays(storage.GeoExtractError):  # type: ignore[misc]
    """Reported by SecantusDB wherever MongoDB refuses a document or an index; `answer` puts the code right."""

    def __init__(self, fields: list[str]) -> None:
        Exception.__init__(self, f"{PARALLEL} {' '.join(f'[{field}]' for field in reversed(fields))}")


def value(document: Any, path: str, default: Any = None) -> Any:
    """The value of `"$a.b"`: of an array of documents, the array of their values."""
    first, _, rest = path.partition(".")
    if isinstance(document, list):
        found = [value(each, path, expressions.MISSING) for each in document if isinstance(each, dict | list)]
        return [each for each in found if each is not expressions.MISSING]
    if not isinstance(document, Mapping) or first not in document:
        return default
    return value(document[first], rest, default) if rest else document[first]


def refuse_parallel_arrays(document: Mapping[str, Any], fields: Mapping[str, Any]) -> None:
    """Raise ParallelArrays if more than one of the fields of an index is in an array, each another array."""
    arrays = []
    for field in fields:
        first = field.partition(".")[0]
        if first not in arrays and isinstance(document.get(first), list):
            arrays.append(first)
    if len(arrays) > 1:
        raise ParallelArrays(arrays)


def with_parallel_arrays(keys: Any) -> Any:
    """The function that makes the keys of an index, refusing first."""

    def variants(document: Mapping[str, Any], fields: Mapping[str, Any], **options: Any) -> Any:
        refuse_parallel_arrays(document, fields)
        return keys(document, fields, **options)

    return variants


def with_validation(validate: Any) -> Any:
    """The check that SecantusDB makes before a document is written, and parallel arrays."""

    def check(self: Any, *names_and_document: Any) -> None:
        _, _, document, indexes, *_ = names_and_document
        for _, fields, *_ in indexes:
            refuse_parallel_arrays(document, fields)
        validate(self, *names_and_document)

    return check


def with_answers(dispatch: Any) -> Any:
    """The function that answers a command: MongoDB's code for parallel arrays, and no transaction without a set."""

    def answer(command: dict[str, Any], context: Any) -> dict[str, Any]:
        if "autocommit" in command and context.replica_set_name is None:
            return {"ok": 0.0, "errmsg": NO_REPLICA_SET, "code": 20, "codeName": "IllegalOperation"}
        reply: dict[str, Any] = dispatch(command, context)
        for each in (reply, *reply.get("writeErrors", ())):
            if each.get("code") == OF_GEOMETRY and PARALLEL in each.get("errmsg", ""):
                each["code"] = OF_PARALLEL_ARRAYS
                each.pop("codeName", None)
        return reply

    return answer


def end_old_transactions(of_set: SecantusDBServer, over: threading.Event) -> None:
    """End transactions whose client died, as MongoDB does by itself after a minute. Returns once `over` is set.

    SecantusDB ends them only when another transaction begins.
    """
    while not over.wait(TRANSACTION_SECONDS / 2):
        of_set.transactions.prune_expired()


def main(directory: Path) -> None:
    """Run the two servers until standard input ends."""
    expressions.get_path = value
    paths.get_path = value  # for the command distinct, which looks it up when it is called
    storage._index_key_variants = with_parallel_arrays(storage._index_key_variants)
    storage.Storage._validate_geo_indexes = with_validation(storage.Storage._validate_geo_indexes)
    server.dispatch = with_answers(commands.dispatch)
    with (
        SecantusDBServer(
            storage_path=str(directory / "set"), transaction_lifetime_seconds=TRANSACTION_SECONDS
        ) as of_set,
        SecantusDBServer(storage_path=str(directory / "alone"), replica_set_name=None) as alone,
    ):
        over = threading.Event()
        ending = threading.Thread(target=end_old_transactions, args=(of_set, over))
        ending.start()
        print(of_set.uri, alone.uri, flush=True)
        sys.stdin.read()
        over.set()
        ending.join()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
