"""Which options go together, and what each has to name."""

from __future__ import annotations

import pytest

from rra_state.base.errors import UsageError
from rra_state.cli.options import parser, reject_conflicting_options


@pytest.mark.parametrize("options", [["--runs", ""], ["--refresh", " "], ["--forget", ""], ["--verify", "--runs", ""]])
def test_an_option_for_runs_names_at_least_one(options: list[str]) -> None:
    with pytest.raises(UsageError, match=r"names no run \(write --(runs|refresh|forget) 100-200,305\)"):
        reject_conflicting_options(parser().parse_args(["config.yaml", *options]))


@pytest.mark.parametrize(
    "options",
    [["--incremental", "--runs", "5"], ["--refresh", "5", "--report-status"], ["--check", "--verify"]],
)
def test_two_options_that_contradict_each_other_are_refused(options: list[str]) -> None:
    with pytest.raises(UsageError, match="do not go together"):
        reject_conflicting_options(parser().parse_args(["config.yaml", *options]))


def test_a_loss_is_accepted_by_a_recovery_only() -> None:
    with pytest.raises(UsageError, match="belongs to --recover-import-state"):
        reject_conflicting_options(parser().parse_args(["config.yaml", "--accept-loss"]))


def test_a_drill_restores_at_least_one_run(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["config.yaml", "--verify", "--restore-drill", "0"])
    assert "0 is no number of runs: write 1 or more" in capsys.readouterr().err
