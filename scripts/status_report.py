"""Status report as a Snakemake script."""

import sys

from rra_state import config, report, status

if "snakemake" in globals():
    settings = config.load(snakemake.params.config)  # type: ignore[name-defined]  # noqa: F821 - Snakemake's own
    sys.stdout.write(report.text(status.collect(settings)))
