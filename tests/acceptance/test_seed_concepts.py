"""docs/design/state.md, State file, Last contiguous run, Last attempted run, Failure log."""

from __future__ import annotations

import pytest

from tests.acceptance.guide import log_file, numbers, state_file, take, write_state
from tests.site import Site

pytestmark = pytest.mark.in_process


@pytest.mark.parametrize(
    ("runs", "contiguous"),
    [
        pytest.param([100, 101, 102, 103, 104, 105], 105, id="example_1_no_gaps"),
        pytest.param([100, 101, 102, 105, 106, 107], 102, id="example_2_with_gap"),
        pytest.param([100, 101, 103, 104, 106, 107], 101, id="example_3_multiple_gaps"),
    ],
)
def test_seed_last_contiguous_run(site: Site, runs: list[int], contiguous: int) -> None:
    take(site, runs)

    site.archive_runs("--import-only")

    assert numbers(site) == (contiguous, runs[-1])
    assert site.failures("import") == []


def test_seed_last_attempted_run_counts_failures(site: Site) -> None:
    take(site, range(100, 107), broken=[103, 104])

    site.archive_runs("--import-only", status=1)

    assert site.markers("import") == {100, 101, 102, 105, 106}
    assert numbers(site) == (102, 106)
    assert site.failures("import") == [103, 104]


def test_seed_incremental_mode_begins_above_the_higher_of_both_numbers(site: Site) -> None:
    take(site, range(100, 108), broken=[103])
    site.archive_runs("--import-only", status=1)
    assert numbers(site) == (102, 107)
    take(site, [103, 108])

    site.archive_runs("--import-only", "--incremental")

    assert site.markers("import") == {100, 101, 102, 104, 105, 106, 107, 108}
    assert numbers(site) == (102, 108)
    assert site.failures("import") == [103]


def test_seed_incremental_mode_with_stage_selection(site: Site) -> None:
    take(site, range(100, 103))

    site.archive_runs("--import-only", "--incremental")
    after_import = numbers(site), site.markers("migrate")
    take(site, [103])
    site.archive_runs("--migrate-only", "--incremental")

    assert after_import == ((102, 102), set())
    assert site.markers("import") == site.markers("migrate") == {100, 101, 102}
    assert numbers(site, "migrate") == (102, 102)


def test_seed_initial_state(site: Site) -> None:
    site.archive_runs("--incremental")

    for stage in ("import", "migrate"):
        text = state_file(site, stage).read_text()
        assert text == '{\n  "last_contiguous_run": 0,\n  "last_attempted_run": 0\n}\n'
        assert log_file(site, stage).read_bytes() == b""


def test_seed_state_file_locations(site: Site) -> None:
    site.configure(
        app={
            "import_state_file": "${work_dir}/state/one.json",
            "import_failure_log": "${work_dir}/logs/one.log",
            "migrate_state_file": "${work_dir}/state/two.json",
        }
    )

    site.archive_runs("--incremental")

    files = {str(path.relative_to(site.work)) for path in site.work.rglob("*") if path.is_file()}
    documented = {"state/one.json", "state/two.json", "logs/one.log", "migrate_failures.log", ".archiver.lock"}
    assert files >= documented
    assert "importer_state.json" not in files


def test_seed_failure_log_is_sorted_and_holds_every_run_once(site: Site) -> None:
    failing = [12345, 12347, 12349, 12352]
    take(site, range(12345, 12354), broken=failing)
    site.archive_runs("--import-only", status=1)
    assert log_file(site).read_text() == "12345\n12347\n12349\n12352\n"
    log_file(site).write_text("12352\n12352\n12345\n")

    site.archive_runs("--import-only", "--incremental")

    assert log_file(site).read_text() == "12345\n12347\n12349\n12352\n"


def test_seed_retry_removes_what_succeeds_and_keeps_what_fails(site: Site) -> None:
    take(site, range(12345, 12350), broken=[12345, 12347, 12349])
    site.archive_runs("--import-only", status=1)
    take(site, [12347])

    done = site.archive_runs("--retry-failed-import", status=1)

    assert site.failures("import") == [12345, 12349]
    assert "run 12345: " in done.stderr
    assert "run 12347: " not in done.stderr
    assert site.markers("migrate") == set()


def test_seed_state_update_example(site: Site) -> None:
    take(site, [100])
    site.archive_runs()
    assert numbers(site) == numbers(site, "migrate") == (100, 100)
    take(site, range(101, 106), broken=[103])

    site.archive_runs("--incremental", status=1)

    assert numbers(site) == (102, 105)
    assert site.failures("import") == [103]
    assert numbers(site, "migrate") == (102, 105)
    assert site.failures("migrate") == []


def test_seed_normal_execution_takes_all_runs_whatever_the_state_says(site: Site) -> None:
    take(site, range(100, 104))
    write_state(site, 102, 102)

    site.archive_runs("--import-only")

    assert site.markers("import") == {100, 101, 102, 103}
    assert numbers(site) == (103, 103)
