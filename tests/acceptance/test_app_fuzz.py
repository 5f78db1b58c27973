"""The section app_fuzz: faults made on purpose are told in every cycle, and each run has the tries that it should."""

from __future__ import annotations

import json

import pytest

from tests.site import Site

pytestmark = pytest.mark.in_process

TOLD = "app_fuzz is on: runs are skipped and failed on purpose"


@pytest.mark.parametrize(("final", "tries"), [(True, 1), (False, 3)])
def test_a_failed_run_is_tried_again_only_if_configured(site: Site, *, final: bool, tries: int) -> None:
    site.make(3)
    site.configure(
        app={"run_process_retries": 2, "retry_delay_seconds": 0, "window_size": 1},
        app_fuzz={"random_error_percent": 100, "random_error_retry": final},
    )

    done = site.archive_runs(status=1)

    attempts = [json.loads(path.read_text())["attempts"] for path in (site.work / "failures/import").glob("*.json")]
    assert attempts == [tries] * 3
    assert site.failures("import") == [1, 2, 3]
    assert done.stderr.count(TOLD) == 1


def test_a_skipped_run_is_taken_by_the_next_cycle(site: Site) -> None:
    site.make(3)
    site.configure(app_fuzz={"random_skip_percent": 100, "random_skip_retry": True})

    done = site.archive_runs(status=None)

    assert TOLD in done.stderr
    assert done.stderr.count("run 1: skipped on purpose") == 1
    assert site.markers("import") == set()
    assert site.failures("import") == []
    site.configure()
    assert TOLD not in site.archive_runs("--incremental").stderr
    site.assert_archived_once({1, 2, 3})
