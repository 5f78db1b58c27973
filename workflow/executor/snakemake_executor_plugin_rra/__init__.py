"""Snakemake executor that hands chunks of runs to worker processes instead of starting a process per run.

Translates between Snakemake's jobs and the driver's runs, nothing else. Source: docs/design/architecture.md, Executor.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Sequence
from types import FrameType

from snakemake_interface_common.exceptions import WorkflowError
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo
from snakemake_interface_executor_plugins.executors.real import RealExecutor
from snakemake_interface_executor_plugins.jobs import JobExecutorInterface
from snakemake_interface_executor_plugins.settings import CommonSettings, ExecMode

from rra_state.base import lock
from rra_state.base.errors import ArchiverError, Interrupted
from rra_state.cycle import snakemake_session
from rra_state.execution import events
from rra_state.execution.commit import Settler
from rra_state.execution.driver import Driver
from rra_state.execution.pool import open_pool
from rra_state.state import index_losses
from rra_state.state.markers import Tree
from rra_state.state.outcome import Outcome, Stage
from rra_state.stores import artdaqdb

common_settings = CommonSettings(
    non_local_exec=True,
    implies_no_shared_fs=False,
    job_deploy_sources=False,
    pass_envvar_declarations_to_cmd=False,
    auto_deploy_default_storage_provider=False,
)

IMPATIENT_SIGNALS = 3
IMPATIENT_SECONDS = 2.0
_STAGES: dict[str, Stage] = {"import_run": "import", "migrate_run": "migrate"}


class Executor(RealExecutor):
    """Listens to the driver and reports to Snakemake's scheduler."""

    def __post_init__(self) -> None:
        """Nothing is started before there is a job."""
        self._jobs: dict[tuple[Stage, int], JobExecutorInterface] = {}
        self._jobs_lock = threading.Lock()
        self._driver: Driver | None = None
        self._signals: list[float] = []
        logging.getLogger("snakemake.logging").addFilter(_is_news)

    def run_jobs(self, jobs: list[JobExecutorInterface]) -> None:
        """Take all these ready jobs on at once, in the window's order."""
        driver = self._driver or self._start()
        by_stage: dict[Stage, list[int]] = {}
        with self._jobs_lock:
            for job in jobs:
                stage, run = _STAGES[job.rule.name], int(job.wildcards_dict["run"])
                self._jobs[stage, run] = job
                by_stage.setdefault(stage, []).append(run)
        for job in jobs:
            # Not registered as incomplete: markers are renamed into place, so there are no incomplete ones.
            self.report_job_submission(SubmittedJobInfo(job=job), register_job=False)
        for stage, numbers in by_stage.items():
            driver.add(stage, snakemake_session.current().window.sorted(numbers))

    def run_job(self, job: JobExecutorInterface) -> None:
        """See run_jobs."""
        self.run_jobs([job])

    def shutdown(self) -> None:
        """All is done, or all that still can be."""
        if self._driver is not None:
            self._driver.close()
            if snakemake_session.current().fault is None:
                index_losses.remember(self._tree, self._store)

    def cancel(self) -> None:
        """Snakemake gives up at once."""
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

    # ---- what the driver tells ----

    def settled(self, stage: Stage, outcomes: Sequence[Outcome]) -> None:
        """Report a whole chunk in one go: the scheduler then looks at its queue once, not once per run."""
        self._teller.settled(stage, outcomes)
        snakemake_session.current().tally.add(stage, outcomes)
        snakemake_session.current().tried |= not all(outcome.untried for outcome in outcomes)
        for outcome in outcomes:
            job = self._take(stage, outcome.run)
            if outcome.archived:
                self.report_job_success(SubmittedJobInfo(job=job))
            else:
                self.workflow.scheduler.error_callback(job)

    def dropped(self, stage: Stage, numbers: Sequence[int]) -> None:
        """For Snakemake a job not begun is a failed one; for the archiver it is not."""
        for run in numbers:
            self.workflow.scheduler.error_callback(self._take(stage, run))

    def stopped(self, error: ArchiverError) -> None:
        """The window ends here."""
        snakemake_session.current().fault = error
        self._teller.stopped(error)
        self.workflow.scheduler.exit_gracefully()

    def broken(self, error: BaseException) -> None:
        """A bug in the driver: let Snakemake raise it, or it would wait for ever."""
        self.workflow.scheduler.executor_error_callback(
            error if isinstance(error, Exception) else WorkflowError(repr(error))
        )

    # ---- private ----

    def _start(self) -> Driver:
        current = snakemake_session.current()
        if not current.lock_held:
            raise WorkflowError(f"the archive's lock ({lock.VARIABLE}) is not held; use workflow/Snakefile as it is")
        current.tried = False
        settings = current.settings
        window = current.window
        self._teller = events.teller(os.environ, {"import": len(window.imports), "migrate": len(window.migrations)})
        self._tree = Tree(settings.app.work_dir)
        self._tree.prepare()
        self._store = artdaqdb.open_store(settings.artdaq_db)
        settler = Settler(self._tree, self._store)
        self._driver = Driver(open_pool(settings), self._store, settler, self, validate=current.validate)
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        events.when_nobody_listens(os.environ, self._end_now)
        return self._driver

    def _on_signal(self, _number: int, _frame: FrameType | None) -> None:
        """Once: finish what is in hand. Three times within two seconds: end at once."""
        now = time.monotonic()
        self._signals = [moment for moment in self._signals if now - moment < IMPATIENT_SECONDS] + [now]
        if self._driver is None:
            return
        if len(self._signals) >= IMPATIENT_SIGNALS:
            self._end_now()
        self._driver.stop(Interrupted("interrupted; runs in hand were finished, the others wait for the next cycle"))

    def _end_now(self) -> None:
        """End without ceremony; what is durable stays, the rest is tried again by the next cycle."""
        if self._driver is not None:
            self._driver.close()
        os._exit(130)

    def _take(self, stage: Stage, run: int) -> JobExecutorInterface:
        with self._jobs_lock:
            return self._jobs.pop((stage, run))


def _is_news(record: logging.LogRecord) -> bool:
    """Leave out what Snakemake says in every scheduling round."""
    text = str(record.msg)
    return not text.startswith(("Select jobs to execute", "Execute ", "Finished jobid"))
