"""Migration stage of one run, when the workflow runs without its executor: migrate_runs.py CONFIG RUN."""

import sys

from rra_state.execution.single_run import run_job
from rra_state.workers.migrate_stage import migrate_runs

if __name__ == "__main__":
    run_job("migrate", migrate_runs, sys.argv[1:])
