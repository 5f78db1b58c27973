"""Import stage as a Snakemake script: one run, when the workflow runs without its executor."""

from rra_state.execution.single_run import run_job
from rra_state.stages.import_stage import import_runs

if "snakemake" in globals():
    run_job("import", import_runs, snakemake)  # type: ignore[name-defined]  # noqa: F821 - Snakemake's own
