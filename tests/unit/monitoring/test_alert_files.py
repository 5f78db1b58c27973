"""The files for Prometheus and Grafana: accepted by their own tools, and about metrics that exist."""

from __future__ import annotations

import json
import re
import subprocess

import pytest
import yaml

from rra_state.monitoring.metrics import FAMILIES
from tests.paths import REPOSITORY
from tests.programs import needed
from tests.waiting import scaled

ALERTS = REPOSITORY / "monitoring" / "alerts.yml"
ALERTS_TEST = REPOSITORY / "monitoring" / "alerts_test.yml"
DASHBOARD = REPOSITORY / "monitoring" / "dashboard.json"
PAGE = REPOSITORY / "docs" / "monitoring.md"


def metrics_in(text: str) -> set[str]:
    return set(re.findall(r"\brra_[a-z_]+\b", text))


@pytest.mark.parametrize("arguments", [("check", "rules", str(ALERTS)), ("test", "rules", str(ALERTS_TEST))])
def test_prometheus_accepts_and_raises_the_alerts(arguments: tuple[str, ...]) -> None:
    done = subprocess.run(
        [needed("promtool"), *arguments], capture_output=True, text=True, timeout=scaled(60), check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr


def test_every_alert_is_tried() -> None:
    rules = [rule["alert"] for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]
    tried = {
        case["alertname"]
        for test in yaml.safe_load(ALERTS_TEST.read_text())["tests"]
        for case in test["alert_rule_test"]
        if case.get("exp_alerts")
    }

    assert set(rules) == tried
    assert all(f"| `{rule}` |" in PAGE.read_text() for rule in rules)


def test_alerts_and_dashboard_use_metrics_that_exist() -> None:
    assert metrics_in(ALERTS.read_text()) <= set(FAMILIES)
    assert metrics_in(DASHBOARD.read_text()) <= set(FAMILIES)


def test_every_metric_is_on_the_page() -> None:
    assert metrics_in(PAGE.read_text()) == set(FAMILIES)


def test_the_dashboard_fits_its_grid_and_data_source() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert all(panel["gridPos"]["x"] + panel["gridPos"]["w"] <= 24 for panel in panels)
    assert all(target["datasource"]["uid"] == "${datasource}" for panel in panels for target in panel["targets"])
