"""The JSON files of the marker tree: read one, or those of many runs, and write them. Errors become WorkDirError."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson

from rra_state.base import host_limits
from rra_state.base.errors import WorkDirError
from rra_state.state.outcome import Damaged

T = TypeVar("T")
SUFFIX = ".json"
_ONE_READ = 2**16
"""Bytes that hold all but the most unusual of these files."""


@contextmanager
def writing(root: Path) -> Iterator[None]:
    """Make a WorkDirError of every OSError of writing below `root`."""
    try:
        yield
    except OSError as error:
        raise WorkDirError(
            f"cannot be written: {host_limits.plain(error)}",
            path=error.filename or root,
            hint=host_limits.REMEDIES.get(error.errno or 0, f"check space, owner and mode of {root}"),
        ) from error


def names(directory: Path) -> list[str]:
    """Names in a directory; none if it does not exist. Raises WorkDirError."""
    try:
        return os.listdir(directory)  # noqa: PTH208 - ten times faster than Path.iterdir at 100,000 entries
    except FileNotFoundError:
        return []
    except OSError as error:
        raise unreadable(directory, error) from error


def contents(directory: Path, chosen: Iterable[int]) -> Iterator[tuple[int, bytes | OSError]]:
    """What the files of these runs hold, ascending; those that are gone are left out. Raises WorkDirError."""
    try:
        descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    except OSError as error:
        raise unreadable(directory, error) from error
    try:
        for run in sorted(chosen):
            try:
                yield run, _content(f"{run}{SUFFIX}", descriptor)
            except FileNotFoundError:
                continue
            except OSError as error:
                yield run, error
    finally:
        os.close(descriptor)


def _content(name: str, directory: int) -> bytes:
    file = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=directory)
    try:
        text = os.read(file, _ONE_READ)
        while len(text) % _ONE_READ == 0 and (more := os.read(file, _ONE_READ)):
            text += more
        return text
    finally:
        os.close(file)


def parsed(
    directory: Path, chosen: Iterable[int], parse: Callable[[Mapping[str, Any]], T]
) -> Iterator[tuple[int, T | Damaged]]:
    """The files of these runs, parsed. Raises WorkDirError if the directory cannot be read."""
    for run, content in contents(directory, chosen):
        try:
            yield run, parse(values(directory / f"{run}{SUFFIX}", content))
        except (ValueError, WorkDirError) as error:
            yield run, damaged(directory, run, error)


def read(path: Path, parse: Callable[[Mapping[str, Any]], T]) -> T | None:
    """One file, parsed; None if there is none. Raises WorkDirError."""
    try:
        return parse(values(path, path.read_bytes()))
    except FileNotFoundError:
        return None
    except OSError as error:
        raise unreadable(path, error) from error
    except ValueError as error:
        raise _invalid(path, str(error)) from error


def values(path: Path, content: bytes | OSError) -> dict[str, Any]:
    """The JSON object in a file. Raises WorkDirError."""
    if isinstance(content, OSError):
        raise unreadable(path, content) from content
    try:
        values = orjson.loads(content)
    except ValueError:  # an old failure's message may hold a lone surrogate, which orjson refuses
        try:
            values = json.loads(content)
        except (ValueError, RecursionError) as error:
            raise _invalid(path, "cannot be read as JSON") from error
    if type(values) is not dict:
        raise _invalid(path, "cannot be read as JSON")
    return values


def unreadable(path: Path, error: OSError) -> WorkDirError:
    """The error of a file or directory that cannot be read."""
    return WorkDirError(f"cannot be read: {host_limits.plain(error)}", path=path, hint="check owner and mode")


def _invalid(path: Path, reason: str) -> WorkDirError:
    return WorkDirError(reason, path=path, hint="remove it, then --recover-import-state or --recover-migrate-state")


def damaged(directory: Path, run: int, error: Exception) -> Damaged:
    """What is said of a run whose file cannot be read or parsed."""
    found = error if isinstance(error, WorkDirError) else _invalid(directory / f"{run}{SUFFIX}", str(error))
    return Damaged(run, str(found))


def encode(values: Mapping[str, Any]) -> bytes:
    """One key per line; `indent` would do that in Python, eight times slower."""
    return _JSON(values).encode() + b"\n"


_JSON = json.JSONEncoder(separators=(",\n ", ": ")).encode
