"""Snakemake executor that hands chunks of runs to worker processes instead of starting a process per run.

Translates between Snakemake's jobs and the driver's runs, nothing else.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import FrameType
from typing import Any

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecMode

from rra_state.base import lock
from rra_state.base.errors import ArchiverError, Interrupted
from rra_state.cycle import snakemake_session
from rra_state.execution import events
from rra_state.execution.commit import Committer
from rra_state.execution.driver import Driver
from rra_state.execution.pool import open_pool
from rra_state.state import index_losses, newer_versions
from rra_state.state.changed_records import Refresh
from rra_state.state.markers import Tree
from rra_state.state.outcome import STAGES, Outcome, Stage
from rra_state.stores import artdaqdb

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
IMPATIENT_SIGNALS = 3
IMPATIENT_SECONDS = 2.0
_STAGES: dict[str, Stage] = {"import_run": "import", "migrate_run": "migrate", "refresh_run": "refresh"}


class Executor(RealExecutor):
    """Passes Snakemake's jobs to the driver, and the driver's results to Snakemake's scheduler."""

    def __post_init__(self) -> None:
        """Called by the base class. The driver is started with the first job."""
        self._jobs: dict[tuple[Stage, int], JobExecutorInterface] = {}
        self._jobs_lock = threading.Lock()
        self._driver: Driver | None = None
        self._signals: list[float] = []

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Pass all these ready jobs to the driver at once, in the window's order."""
        try:
            driver = self._driver or self._start()
        except ArchiverError as error:
            self._refused(jobs, error)
            return
        by_stage: dict[Stage, list[int]] = {}
        refreshes: list[Refresh] = []
        with self._jobs_lock:
            for job in jobs:
                stage, run, fingerprint = _wanted(job)
                if (stage, run) in self._jobs:
                    raise WorkflowError(f"run {run}: two refreshes at once; name one of them")
                self._jobs[stage, run] = job
                if stage == "refresh":
                    refreshes.append(Refresh(run, fingerprint))
                else:
                    by_stage.setdefault(stage, []).append(run)
        for job in jobs:
            # Not registered as incomplete: markers are renamed into place, so there are no incomplete ones.
            self.report_job_submission(SubmittedJobInfo(job=job), register_job=False)
        for stage, numbers in by_stage.items():
            driver.add(stage, snakemake_session.current().window.sorted(numbers))
        if refreshes:
            driver.add_refreshes(refreshes)

    def run_job(self, job: JobExecutorInterface) -> None:
        """See run_jobs."""
        self.run_jobs([job])

    def shutdown(self) -> None:
        """End the driver; Snakemake calls this when no job is left."""
        if self._driver is not None:
            self._driver.close()
            fault = snakemake_session.current().fault
            if fault is None or fault.stage is not None:
                index_losses.remember(self._tree, self._store)
                newer_versions.look(self._tree, self._store)

    def cancel(self) -> None:
        """End at once; Snakemake calls this when it gives up."""
        self.shutdown()

    @property
    def cores(self) -> str:
        """Not limited by Snakemake: the pool has its own size."""
        return "all"

    def get_exec_mode(self) -> ExecMode:
        """Jobs never start a Snakemake of their own."""
        return ExecMode.REMOTE

    def get_python_executable(self) -> str:
        """See get_exec_mode."""
        raise NotImplementedError("jobs of this executor start no Python of their own")

    # ---- driver.Listener ----

    def committed(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """Report a whole chunk to Snakemake at once: its scheduler then looks at its queue once, not once per run."""
        self._events.committed(stage, outcomes)
        snakemake_session.current().tally.add(stage, outcomes)
        if stage != "refresh":
            snakemake_session.current().tried |= not all(outcome.untried for outcome in outcomes)
        for outcome in outcomes:
            job = self._take(stage, outcome.run)
            if outcome.archived:
                self.report_job_success(SubmittedJobInfo(job=job))
            else:
                self._scheduler.error_callback(job)

    def dropped(self, stage: Stage, numbers: Sequence[int]) -> None:
        """Report these jobs to Snakemake as failed. The archiver did not begin them, and writes no failure record."""
        for run in numbers:
            self._scheduler.error_callback(self._take(stage, run))

    def stopping(self, number: int) -> None:
        """Report at once how many runs an interrupted cycle waits for."""
        self._events.stopping(number)

    def stage_stopped(self, error: ArchiverError) -> None:
        """End one stage."""
        snakemake_session.current().fault = error
        self._events.stopped(error)

    def stopped(self, error: ArchiverError) -> None:
        """End the window."""
        snakemake_session.current().fault = error
        self._events.stopped(error)
        self._scheduler.exit_gracefully()

    def broken(self, error: BaseException) -> None:
        """The driver ended with an error: let Snakemake raise it, or it would wait for ever."""
        if isinstance(error, ArchiverError):
            snakemake_session.current().fault = error
            self._events.stopped(error)
        self._scheduler.executor_error_callback(error if isinstance(error, Exception) else WorkflowError(repr(error)))

    # ---- private ----

    @property
    def _scheduler(self) -> Any:
        """Snakemake's scheduler. Its declared interface lacks methods that Snakemake's own executors call."""
        return self.workflow.scheduler

    def _refused(self, jobs: list[JobExecutorInterface], error: ArchiverError) -> None:
        """The workers or a store cannot be used: no job is begun."""
        self.stopped(error)
        for job in jobs:
            self._scheduler.error_callback(job)

    def _start(self) -> Driver:
        current = snakemake_session.current()
        if current.lock is None:
            raise WorkflowError(f"the archive's lock ({lock.VARIABLE}) is not held; use workflow/Snakefile as it is")
        if events.parent_is_gone(os.environ):
            os._exit(130)  # before it starts workers
        current.tried = False
        settings = current.settings
        self._events = events.event_sink(os.environ, self._totals())
        self._tree = Tree(settings.app.work_dir)
        self._tree.prepare()
        self._store = artdaqdb.open_store(settings.artdaq_db)
        committer = Committer(self._tree, self._store)
        pool = open_pool(settings, most=len(current.window))
        self._driver = Driver(pool, self._store, committer, self, validate=current.validate)
        for number in _SIGNALS:
            signal.signal(number, self._on_signal)
        events.when_parent_ends(os.environ, self._end_now)
        return self._driver

    def _totals(self) -> dict[Stage, int]:
        """Number of this process's jobs by stage."""
        jobs = self._scheduler.workflow.dag.needrun_jobs(exclude_finished=False)
        counts = Counter(_STAGES.get(job.rule.name) for job in jobs)
        return {stage: counts[stage] for stage in STAGES}

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Once: finish the runs that workers have. Three times within two seconds: end at once."""
        now = time.monotonic()
        self._signals = [moment for moment in self._signals if now - moment < IMPATIENT_SECONDS] + [now]
        if self._driver is None:
            return
        if len(self._signals) >= IMPATIENT_SIGNALS:
            for number in _SIGNALS:
                signal.signal(number, signal.SIG_IGN)  # each further one would begin the end anew
            self._end_now()
        self._driver.stop(Interrupted("interrupted; runs in hand were finished, the others wait for the next cycle"))

    def _end_now(self) -> None:
        """End this process; what is durable stays, and the next cycle tries the rest."""
        if self._driver is not None:
            self._driver.close()
        os._exit(130)

    def _take(self, stage: Stage, run: int) -> JobExecutorInterface:
        with self._jobs_lock:
            return self._jobs.pop((stage, run))


def _wanted(job: Any) -> tuple[Stage, int, str]:
    """Stage, run and (of a refresh) fingerprint of a job. Its declared interface lacks rule and wildcards."""
    return _STAGES[job.rule.name], int(job.wildcards_dict["run"]), job.wildcards_dict.get("fingerprint", "")
