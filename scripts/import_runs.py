"""Import stage of one run, when the workflow runs without its executor: import_runs.py CONFIG RUN."""

import sys

from rra_state.execution.single_run import run_job
from rra_state.workers.import_stage import import_runs

if __name__ == "__main__":
    run_job("import", import_runs, sys.argv[1:])
