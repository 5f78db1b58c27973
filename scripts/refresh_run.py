"""Refresh of one run, when the workflow runs without its executor: refresh_run.py CONFIG RUN FINGERPRINT."""

import sys

from rra_state.execution.single_run import run_refresh_job

if __name__ == "__main__":
    run_refresh_job(sys.argv[1:])
