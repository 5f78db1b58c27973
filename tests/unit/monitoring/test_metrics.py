"""What is told after a cycle as numbers: each as it is, in both formats."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime

import pytest
from prometheus_client.parser import text_string_to_metric_families

from rra_state.base.errors import StoreUnavailable
from rra_state.monitoring import metrics
from rra_state.monitoring.cycle_history import History, after, record
from rra_state.monitoring.metrics import FAMILIES, Sample
from rra_state.reporting.counts import count_runs
from rra_state.state.outcome import Facts, Outcome
from rra_state.state.snapshot import Snapshot
from rra_state.state.tally import Ended, Tally
from tests.unit.archive_site import Site

NOW = datetime(2026, 11, 23, 20, 20, 41, tzinfo=UTC).timestamp()
Numbers = dict[tuple[str, ...], float]


def read(text: str) -> Numbers:
    """Prometheus' own reading of a text file: metric and the values of its labels, the stage first -> number."""
    return {
        (sample.name, *(sample.labels[name] for name in sorted(sample.labels, key="stage".__ne__))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def told(site: Site, ended: Ended) -> Numbers:
    return read(
        metrics.prometheus(
            metrics.samples(ended, after(site.tree, ended), count_runs(Snapshot.take(site.settings, ended.at)))
        )
    )


def test_runs_are_told_by_stage_state_and_class_of_failure(site: Site) -> None:
    site.record(1, 2, 3, 4)
    site.record(5, ended=False)
    site.archive("import", 1, 2)
    site.archive("migrate", 1)
    site.fail("import", 3)

    found = told(site, Ended(("import", "migrate"), 2.5))

    assert found["rra_runs", "archived"] == 1
    assert found["rra_runs", "open"] == 1
    assert found["rra_stage_runs", "import", "archived"] == 2
    assert found["rra_stage_runs", "migrate", "waiting"] == 1
    assert found["rra_failures", "import", "RecordError"] == 1
    assert found["rra_last_contiguous_run", "import"] == 2
    assert found["rra_cycle_duration_seconds",] == 2.5
    assert found["rra_cycle_good",] == 1


def test_the_oldest_waiting_run_has_its_time(site: Site) -> None:
    site.record(1, age=7200)
    site.record(2)
    written = (site.records / "1" / "metadata.txt").stat().st_mtime

    found = told(site, Ended(("import", "migrate"), 1))

    assert found["rra_oldest_waiting_timestamp_seconds", "import"] == pytest.approx(written, abs=1)
    assert ("rra_oldest_waiting_timestamp_seconds", "migrate") not in found


def test_totals_grow_and_an_outage_keeps_the_last_success(site: Site) -> None:
    tally = Tally()
    tally.add("migrate", [Outcome(1, facts=Facts(verified=True, size=100), tries=3), Outcome(2, facts=Facts(True))])
    record(site.tree, Ended(("import", "migrate"), 1, tally, at=NOW))

    found = told(site, Ended(("import", "migrate"), 1, tally, fault=StoreUnavailable(), at=NOW + 300))

    assert found["rra_stored_bytes_total", "migrate"] == 200
    assert found["rra_retries_total", "migrate"] == 4
    assert found["rra_archived_runs_total", "migrate"] == 4
    assert found["rra_cycle_good",] == 0
    assert found["rra_success_timestamp_seconds", "migrate"] == NOW


def test_a_cycle_of_one_stage_says_nothing_of_the_other(site: Site) -> None:
    record(site.tree, Ended(("import", "migrate"), 1, at=NOW))

    found = told(site, Ended(("import",), 1, at=NOW + 300))

    assert found["rra_success_timestamp_seconds", "import"] == NOW + 300
    assert found["rra_success_timestamp_seconds", "migrate"] == NOW
    assert ("rra_cycle_runs", "migrate", "archived") not in found


def test_runs_that_cannot_be_counted_are_not_told_as_none(site: Site) -> None:
    site.record(1)
    site.archive("import", 1)
    shutil.rmtree(site.records)

    found = told(site, Ended(("import", "migrate"), 1, fault=StoreUnavailable()))

    assert not any(name.startswith(("rra_runs", "rra_stage_runs")) for name, *_ in found)
    assert found["rra_cycle_good",] == 0


def test_every_metric_is_described(site: Site) -> None:
    site.record(1, 2, 3, age=10)
    site.fail("import", 2)

    found = told(site, Ended(("import", "migrate"), 1))

    assert {name for name, *_ in found} == set(FAMILIES)


def test_odd_characters_in_a_label_survive() -> None:
    odd = 'a "quoted"\nback\\slash'

    found = read(metrics.prometheus([Sample("rra_info", 1, {"version": odd})]))

    assert found == {("rra_info", odd): 1}


def test_carbon_gets_the_documented_prefix_and_ages() -> None:
    found = [
        Sample("rra_stage_runs", 3, {"stage": "import", "state": "failed"}),
        Sample("rra_success_timestamp_seconds", NOW - 60, {"stage": "migrate"}),
        Sample("rra_info", 1, {"version": "0.1.0"}),
    ]

    assert list(metrics.carbon_lines("sbnd.rra", found, NOW)) == [
        f"sbnd.rra.stage_runs.import.failed 3 {int(NOW)}",
        f"sbnd.rra.success_age_seconds.migrate 60 {int(NOW)}",
        f"sbnd.rra.info.0_1_0 1 {int(NOW)}",
    ]


def test_a_damaged_history_begins_anew(site: Site) -> None:
    for damage in ("{", '{"began": "x"}', "[]"):
        (site.tree.root / "state" / "cycles.json").write_text(damage)

        assert record(site.tree, Ended(("import",), 1, at=NOW)) == History(
            NOW, {"import": NOW}, after(site.tree, Ended((), 0)).totals
        )
