"""What people are told: only what changed, each thing once, with what to type."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from rra_state.base.errors import AccessDenied, Interrupted, StoreUnavailable
from rra_state.monitoring import changes, messages
from rra_state.monitoring.changes import Condition, Delivered, Episode, Fault
from rra_state.monitoring.cycle_history import History
from rra_state.reporting.counts import RUN_STATES, Counts, count_runs
from rra_state.reporting.failures import FailureGroup
from rra_state.state.outcome import Stage
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended
from tests.unit.archive_site import Site

NOW = datetime(2026, 11, 23, 20, 20, 41, tzinfo=UTC).timestamp()
HOUR = 3600
BOTH: tuple[Stage, ...] = ("import", "migrate")


def failed(
    imports: Iterable[int] = (), migrations: Iterable[int] = (), refreshes: Iterable[int] = ()
) -> dict[Stage, frozenset[int]]:
    found: dict[Stage, frozenset[int]] = dict(changes.NO_RUNS)
    return found | {"import": frozenset(imports), "migrate": frozenset(migrations), "refresh": frozenset(refreshes)}


def episode(kind: str, stages: tuple[Stage, ...]) -> Episode:
    return Episode(Fault(kind, stages, "no answer"), frozenset({kind}), NOW, NOW)


def counted(site: Site, now: float | None = None) -> Counts:
    return count_runs(Snapshot.take(site.settings, now))


def words(found: changes.Changes, counts: Counts | None = None) -> messages.Message:
    return messages.message(found, counts, "daq01", "./run_archiver.sh c.yaml")


def test_nothing_new_is_no_news() -> None:
    now = Condition(failed({3}))

    assert changes.since(Delivered(), now)
    assert not changes.since(Delivered().after(now), now)


def test_a_new_failure_has_ranges_reason_and_command() -> None:
    delivered = Delivered(failed({7}))

    found = changes.since(delivered, Condition(failed({7, 101, 102, 103}, {9})))

    reason = FailureGroup("import", "RecordError", "metadata.txt is missing", (7, 101, 102, 103))
    said = words(found, Counts(NOW, dict.fromkeys(RUN_STATES, frozenset()), {}, (reason,), {}))
    assert said.title == "run record archiver on daq01: 4 runs failed"
    assert "3 runs failed (import): 101-103\n    run 101: metadata.txt is missing [RecordError, 3 runs]" in said.text
    assert "./run_archiver.sh c.yaml --retry-failed-import" in said.text
    assert "1 run failed (migrate): 9" in said.text
    assert said.bad


def test_a_failed_refresh_is_reported_with_its_command() -> None:
    found = changes.since(Delivered(failed({7})), Condition(failed({7}, refreshes={5})))

    assert "1 run failed (refresh): 5" in words(found).text
    assert "Once that is repaired: ./run_archiver.sh c.yaml\n" in words(found).text


def test_a_recovered_run_is_good_news() -> None:
    found = changes.since(Delivered(failed({7, 8})), Condition(failed({8})))

    said = words(found)
    assert said.title == "run record archiver on daq01: 1 run recovered"
    assert "1 run no longer failed (import): 7" in said.text
    assert not said.bad


def test_a_fault_is_told_once_and_its_end_too() -> None:
    broken = changes.condition(Ended(BOTH, 1, fault=StoreUnavailable("no answer"), at=NOW), History(NOW), None, 24)

    first = changes.since(Delivered(), broken)
    delivered = Delivered().after(broken)
    again = changes.since(delivered, broken)
    well = delivered.after(Condition(failed(), at=NOW + 60))
    end = changes.since(well, Condition(failed(), at=NOW + 60 + HOUR))

    assert not changes.since(delivered, Condition(failed(), at=NOW + 60))
    assert "no answer" in words(first).text
    assert "--check" in words(first).text
    assert not again
    assert "Cycles go well again; before: no answer" in words(end).text
    over = well.after(Condition(failed(), at=NOW + 60 + HOUR))
    assert not changes.since(over, Condition(failed(), at=NOW + 2 * HOUR))


def test_case_b12_a_store_that_comes_and_goes_is_one_message() -> None:
    """An outage every other cycle for an hour, of two kinds in turns, then none."""
    delivered, sent = Delivered(), []
    for number in range(60):
        error = None if number % 2 or number >= 12 else StoreUnavailable() if number % 4 else AccessDenied()
        ended = Ended(BOTH, 1, fault=error, at=NOW + 300 * number)
        now = changes.condition(ended, History(NOW), None, 24)
        if found := changes.since(delivered, now):
            sent.append((number, words(found).title.partition(": ")[2]))
        delivered = delivered.after(now)

    assert sent == [
        (0, "cycles end by an error"),
        (2, "cycles still end by an error"),
        (23, "cycles go well again"),
    ]


def test_case_b12_a_fault_that_lasts_is_reminded_of_daily() -> None:
    delivered, sent = Delivered(), []
    for number in range(50):
        ended = Ended(BOTH, 1, fault=StoreUnavailable("no answer"), at=NOW + number * HOUR)
        now = changes.condition(ended, History(NOW, dict.fromkeys(BOTH, NOW)), None, 1000)
        if found := changes.since(delivered, now):
            sent.append((number, words(found).text.splitlines()[0]))
        delivered = delivered.after(now)

    assert [number for number, _ in sent] == [0, 24, 48]
    assert sent[1][1].endswith("Faults end cycles since 2026-11-23 20:20 UTC.")


def test_another_fault_is_told_though_one_is_known() -> None:
    delivered = Delivered(episode=episode("StoreUnavailable", BOTH))
    denied = changes.condition(Ended(BOTH, 1, fault=AccessDenied("wrong password"), at=NOW), History(NOW), None, 24)

    found = changes.since(delivered, denied)

    assert "wrong password" in words(found).text
    assert found.over is None


def test_a_cycle_of_one_stage_ends_no_other_outage() -> None:
    known = episode("StoreUnavailable", ("migrate",))
    delivered = Delivered(episode=replace(known, well=NOW))
    imported = Condition(failed(), judged=("import",), at=NOW + HOUR)

    assert not changes.since(delivered, imported)
    assert changes.since(delivered.after(imported), Condition(failed(), at=NOW + HOUR)).over == known.fault


def test_an_unexpected_error_is_told_too() -> None:
    found = changes.since(
        Delivered(), changes.condition(Ended(BOTH, 1, fault=KeyError("x"), at=NOW), History(NOW), None, 24)
    )

    assert "unexpected error: KeyError('x')" in words(found).text


def test_an_interrupted_cycle_is_nobodys_news() -> None:
    now = changes.condition(Ended(BOTH, 1, fault=Interrupted(), at=NOW), History(NOW), None, 24)

    assert not changes.since(Delivered(), now)
    known = replace(episode("StoreUnavailable", BOTH), well=NOW - HOUR)
    assert not changes.since(Delivered(episode=known), now), "nor does it end a fault"


def test_runs_that_cannot_be_counted_are_neither_failed_nor_recovered() -> None:
    delivered = Delivered(failed({7}), frozenset({"import"}))
    now = changes.condition(Ended(BOTH, 1, at=NOW), History(NOW), None, 24)

    assert not changes.since(delivered, now)
    assert delivered.after(now) == delivered


@pytest.mark.parametrize(("began", "stuck"), [(NOW - 100 * HOUR, True), (NOW - 10 * HOUR, False)])
def test_a_run_that_waits_too_long_is_stuck(site: Site, began: float, stuck: bool) -> None:
    site.record(1, age=0)
    late = (site.records / "1" / "metadata.txt").stat().st_mtime
    ended = Ended(BOTH, 1, at=late + 25 * HOUR)
    history = History(late + began - NOW + 25 * HOUR, dict.fromkeys(BOTH, ended.at))

    now = changes.condition(ended, history, counted(site, ended.at), 24)

    found = changes.since(Delivered(), now)
    assert bool(found) is stuck
    if stuck:
        assert "Run 1 has been waiting since " in words(found).text
        assert "--report-status" in words(found).text
        assert not changes.since(Delivered().after(now), now)
        site.archive("import", 1)
        site.archive("migrate", 1)
        end = changes.since(Delivered().after(now), changes.condition(ended, history, counted(site), 24))
        assert "No run waits too long any more (import)." in words(end).text


def test_a_long_outage_is_reported_once_more() -> None:
    history = History(NOW - 100 * HOUR, {"import": NOW - 30 * HOUR, "migrate": NOW - 30 * HOUR})
    broken = changes.condition(Ended(BOTH, 1, fault=StoreUnavailable(), at=NOW), history, None, 24)
    delivered = Delivered(episode=episode("StoreUnavailable", BOTH))

    found = changes.since(delivered, broken)

    assert "No migrate cycle has gone well since 2026-11-22 14:20 UTC." in words(found).text
    assert not changes.since(delivered.after(broken), broken)


def test_many_runs_make_a_short_message() -> None:
    found = changes.since(Delivered(), Condition(failed(range(1, 100_000, 2))))

    said = words(found)
    assert len(said.text) < 500
    assert "50000 runs failed (import): 1, 3, 5, " in said.text
    assert "more ranges)" in said.text
