"""Refresh of one run as a Snakemake script: rare enough for a process of its own."""

from rra_state.stages.refresh_stage import run_job

if "snakemake" in globals():
    run_job(snakemake)  # type: ignore[name-defined]  # noqa: F821 - Snakemake's own
