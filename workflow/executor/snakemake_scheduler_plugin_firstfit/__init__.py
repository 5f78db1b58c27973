"""A scheduler that takes every ready job at once. The executor queues by itself; choosing would only cost time.

Source: docs/design/decisions.md, The firstfit scheduler.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from snakemake_interface_common.io import AnnotatedStringInterface
from snakemake_interface_scheduler_plugins.base import SchedulerBase
from snakemake_interface_scheduler_plugins.interfaces.jobs import JobSchedulerInterface


class Scheduler(SchedulerBase):
    """Takes jobs in their order, as many as there are free cores."""

    def select_jobs(
        self,
        selectable_jobs: Sequence[JobSchedulerInterface],
        remaining_jobs: Sequence[JobSchedulerInterface],  # noqa: ARG002 - the interface's
        available_resources: Mapping[str, int | str],
        input_sizes: dict[AnnotatedStringInterface, int],  # noqa: ARG002 - the interface's
    ) -> Sequence[JobSchedulerInterface]:
        """All ready jobs, or as many as there are free cores."""
        return list(selectable_jobs)[: int(available_resources["_cores"])]
