"""Errors say what is wrong where, and cross process boundaries whole."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest

from rra_state.base import errors
from rra_state.base.errors import ArchiverError, FhiclError, NotListed


def _below(kind: type[ArchiverError]) -> Iterator[type[ArchiverError]]:
    yield kind
    for narrower in kind.__subclasses__():
        yield from _below(narrower)


EVERY = sorted({kind for kind in _below(ArchiverError) if kind.__module__ == errors.__name__}, key=lambda k: k.__name__)


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_crosses_a_process_boundary_whole(kind: type[ArchiverError]) -> None:
    error = kind("is wrong", run=7, path=Path("/a/b"), line=3, hint="mend it")
    error.tries = 5

    for copied in (pickle.loads(pickle.dumps(error)), copy.deepcopy(error)):
        assert type(copied) is kind
        assert vars(copied) == vars(error)
        assert str(copied) == str(error) == "run 7: /a/b line 3: is wrong (mend it)"
        assert copied.args == ("is wrong",)


@pytest.mark.parametrize("kind", EVERY)
def test_every_error_has_words_of_its_own(kind: type[ArchiverError]) -> None:
    text = str(kind())

    assert text
    assert text[0].islower() or kind in (FhiclError, NotListed)
    assert not text.endswith((".", "!"))


def test_an_outage_stops_the_cycle_a_failed_run_does_not() -> None:
    stopping = {kind.__name__ for kind in EVERY if kind.stops_cycle}

    assert stopping == {
        "AccessDenied",
        "CycleError",
        "HostLimit",
        "IndexDamaged",
        "Interrupted",
        "LockHeld",
        "SiteShrank",
        "SourceUnreadable",
        "StateFileError",
        "StoreError",
        "StoreUnavailable",
        "WorkDirError",
        "WorkersUnusable",
    }


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"run": 7027}, "run 7027: m"),
        ({"path": "a.fcl", "line": 12}, "a.fcl line 12: m"),
        ({"line": 12}, "line 12: m"),
        ({"hint": "quote it"}, "m (quote it)"),
        ({}, "m"),
    ],
)
def test_a_message_names_what_is_known(given: dict[str, object], text: str) -> None:
    assert str(ArchiverError("m", **given)) == text  # type: ignore[arg-type]
