"""What a cycle tells while it works."""

from __future__ import annotations

import json
import logging
import os
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rra_state.base.errors import Interrupted, RecordChanged, RecordError, StoreUnavailable
from rra_state.execution import events as cycle_events
from rra_state.execution.events import VARIABLE, EventLogger, EventSender, event_sink, lines, when_parent_ends
from rra_state.records.model import KEPT, Remark
from rra_state.state.outcome import Facts, Outcome
from tests.waiting import scaled


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer
    for descriptor in (reader, writer):
        try:
            os.close(descriptor)
        except OSError:
            continue


@pytest.fixture
def messages(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    monkeypatch.setattr(cycle_events.log, "propagate", True)
    caplog.set_level(logging.DEBUG, cycle_events.log.name)
    return caplog


def events(pipe: tuple[int, int]) -> list[dict[str, Any]]:
    """What was sent; closes the writer."""
    os.close(pipe[1])
    with os.fdopen(os.dup(pipe[0]), "rb") as stream:
        return [json.loads(line) for line in stream]


OUTCOMES = [
    Outcome(1, facts=Facts(verified=True)),
    Outcome(2, error=RecordError("bad", run=2)),
    Outcome(3, error=StoreUnavailable()),
]


def test_the_command_line_learns_what_became_of_each_run(pipe: tuple[int, int]) -> None:
    event_sink({VARIABLE: str(pipe[1])}, {}).committed("import", OUTCOMES)

    (event,) = events(pipe)
    assert (event["stage"], event["archived"], event["failed"]) == ("import", [1], [2])
    assert [logging.ERROR, "run 2: bad"] in event["lines"]


@pytest.mark.parametrize(("error", "interrupted"), [(Interrupted("by a person"), True), (StoreUnavailable("x"), False)])
def test_the_command_line_hears_why_a_cycle_ends_early(
    pipe: tuple[int, int], error: Interrupted | StoreUnavailable, interrupted: bool
) -> None:
    EventSender(pipe[1]).stopped(error)

    assert events(pipe) == [{"stopped": str(error), "stage": None, "interrupted": interrupted}]


def test_an_event_larger_than_the_pipe_arrives_whole(pipe: tuple[int, int]) -> None:
    outcomes = [Outcome(run, error=RecordError("x" * 1000, run=run)) for run in range(300)]
    received: list[dict[str, Any]] = []

    def read() -> None:
        with os.fdopen(os.dup(pipe[0]), "rb") as stream:
            received.append(json.loads(stream.readline()))

    reader = threading.Thread(target=read)
    reader.start()
    EventSender(pipe[1]).committed("import", outcomes)
    reader.join(scaled(10))

    assert received[0]["failed"] == list(range(300))


def test_names_that_are_not_utf8_break_no_event(pipe: tuple[int, int]) -> None:
    EventSender(pipe[1]).committed("import", [Outcome(1, error=RecordError("bad", run=1, path="a\udcff.fcl"))])

    assert events(pipe)[0]["failed"] == [1]


def test_a_plain_snakemake_logs_counts_and_failures(messages: pytest.LogCaptureFixture) -> None:
    news = event_sink({}, {"import": 5, "migrate": 0})

    news.committed("import", OUTCOMES)
    news.committed("import", [Outcome(4, facts=Facts(verified=True))])
    news.stopped(StoreUnavailable("no answer"))

    told = [record.getMessage() for record in messages.records if record.levelno >= logging.INFO]
    assert told == [
        "run 2: bad",
        "import: 1 of 5 runs in artdaqDB, 1 failed",
        "import: 2 of 5 runs in artdaqDB, 1 failed",
        "no answer",
    ]


@pytest.mark.parametrize(("number", "runs"), [(1, "1 run"), (12, "12 runs")])
def test_an_interrupted_cycle_says_what_it_finishes(messages: pytest.LogCaptureFixture, number: int, runs: str) -> None:
    event_sink({}, {"import": 5, "migrate": 0}).stopping(number)

    assert messages.messages == [f"finishing {runs}; Ctrl-C twice more to stop now"]


def test_the_command_line_gets_the_number_of_runs_being_finished(pipe: tuple[int, int]) -> None:
    EventSender(pipe[1]).stopping(12)

    assert events(pipe) == [{"stopping": 12}]


def test_a_percent_sign_in_a_message_stays_one(messages: pytest.LogCaptureFixture) -> None:
    EventLogger({"import": 1, "migrate": 0}).committed("import", [Outcome(1, error=RecordError("100%s of it", run=1))])

    assert "run 1: 100%s of it" in messages.messages


def test_a_run_not_tried_is_not_told_as_failed() -> None:
    assert list(lines("import", Outcome(1, error=StoreUnavailable()))) == []


def test_a_failure_names_its_run_once() -> None:
    assert list(lines("import", Outcome(7, error=RecordError("bad")))) == [(logging.ERROR, "run 7: bad")]
    assert list(lines("import", Outcome(7, error=RecordError("bad", run=7)))) == [(logging.ERROR, "run 7: bad")]


def test_case_e14_the_import_alone_logs_one_line_of_remarks() -> None:
    remarks = (Remark("a.fcl", 3, "no; kept as text"), Remark("x", None, "is a link; not archived"))
    outcome = Outcome(7, facts=Facts(verified=True, remarks=remarks), note="a note")

    logged = list(lines("import", outcome))

    assert [text for level, text in logged if level == logging.WARNING] == [
        "run 7: a.fcl line 3: no; kept as text (and 1 more)"
    ]
    assert (logging.INFO, "a note") in logged
    assert not any(level == logging.WARNING for level, _ in lines("migrate", outcome))


def test_files_that_are_always_kept_as_text_are_no_warning() -> None:
    outcome = Outcome(7, facts=Facts(verified=True, remarks=(Remark("rc_info_start.txt", None, KEPT),)))

    assert (logging.INFO, "run 7: rc_info_start.txt: kept as text") in list(lines("import", outcome))


def test_what_the_check_of_the_metadata_found_is_an_error() -> None:
    facts = Facts(verified=True, problems=("components is missing",))

    assert (logging.ERROR, "run 7: validation: components is missing") in list(
        lines("migrate", Outcome(7, facts=facts))
    )


def test_a_workflow_notices_that_its_command_line_is_gone(pipe: tuple[int, int]) -> None:
    gone = threading.Event()
    when_parent_ends({VARIABLE: str(pipe[1])}, gone.set)
    early = gone.is_set()

    os.close(pipe[0])

    assert gone.wait(scaled(10))
    assert not early


def test_without_a_command_line_nobody_is_watched() -> None:
    before = set(threading.enumerate())

    when_parent_ends({}, lambda: None)

    assert set(threading.enumerate()) <= before  # one of another test may end meanwhile


def test_a_record_that_kept_changing_is_reported() -> None:
    ((level, text),) = lines("import", Outcome(7, error=RecordChanged(run=7)))

    assert level == logging.WARNING
    assert text == "run 7: the run record changed while it was read; the next cycle takes it"


def test_a_refresh_that_failed_says_why() -> None:
    told = list(lines("refresh", Outcome(2, error=RecordError("metadata.txt is missing", run=2))))

    reason = "RecordError: metadata.txt is missing"
    assert told == [(logging.ERROR, f"run 2: its record has changed and could not be archived again: {reason}")]
