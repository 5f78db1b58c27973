"""Many small JSON files of one directory, read fast: a report looks at every marker there is.

What is parsed in one go shares its keys: 100,000 markers cost 1.1 s of CPU instead of 2.6 s. Nothing is written.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

_TOGETHER = 500
_MOST = 2**16
"""Bytes that hold all but the most unusual of these files."""


def read(directory: Path, names: Sequence[str]) -> Iterator[tuple[str, dict[str, Any] | OSError | None]]:
    """Each file's object, in the order of `names`; its OSError, or None if it holds no JSON object.

    A file that is not there (any more) is left out. Raises OSError if the directory itself cannot be opened.
    """
    if not names:
        return
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        for first in range(0, len(names), _TOGETHER):
            yield from _parse([*_texts(descriptor, names[first : first + _TOGETHER])])
    finally:
        os.close(descriptor)


def _texts(descriptor: int, names: Sequence[str]) -> Iterator[tuple[str, bytes | OSError]]:
    for name in names:
        try:
            file = os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK, dir_fd=descriptor)
        except FileNotFoundError:
            continue
        except OSError as error:
            yield name, error
            continue
        try:
            yield name, _content(file)
        except OSError as error:
            yield name, error
        finally:
            os.close(file)


def _content(file: int) -> bytes:
    text = os.read(file, _MOST)
    while len(text) % _MOST == 0 and (more := os.read(file, _MOST)):
        text += more
    return text


def _parse(texts: list[tuple[str, bytes | OSError]]) -> Iterator[tuple[str, dict[str, Any] | OSError | None]]:
    """All in one go if every one is fine, which is the rule; else one by one, to blame the right one."""
    contents = [text for _, text in texts if isinstance(text, bytes)]
    if len(contents) == len(texts):
        together = _loads(b"[" + b",".join(contents) + b"]")
        if together is not None and len(together) == len(texts) and all(type(each) is dict for each in together):
            yield from ((name, values) for (name, _), values in zip(texts, together, strict=True))
            return
    for name, text in texts:
        values = text if isinstance(text, OSError) else _loads(text)
        yield name, values if isinstance(values, dict | OSError) else None


def _loads(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None
