"""Migration stage as a Snakemake script: one run, when the workflow runs without its executor."""

from rra_state.execution.single_run import run_job
from rra_state.stages.migrate_stage import migrate_runs

if "snakemake" in globals():
    run_job("migrate", migrate_runs, snakemake)  # type: ignore[name-defined]  # noqa: F821 - Snakemake's own
