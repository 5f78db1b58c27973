"""A Snakemake process whose command line was killed ends before it begins a run."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from rra_state.execution import events
from tests.paths import REPOSITORY
from tests.unit.archive_site import Site
from tests.waiting import scaled

BEGIN = """
import sys
from rra_state.cycle import snakemake_session
snakemake_session.begin({}, [sys.argv[1]], ["snakemake"])
"""


@pytest.mark.parametrize(("killed", "status"), [(False, 0), (True, 130)])
def test_a_workflow_begins_only_while_its_command_line_lives(site: Site, *, killed: bool, status: int) -> None:
    reader, writer = os.pipe()
    if killed:
        os.close(reader)

    done = subprocess.run(
        [sys.executable, "-c", BEGIN, str(site.settings.path)],
        cwd=REPOSITORY,
        env=os.environ | {events.VARIABLE: str(writer)},
        pass_fds=(writer,),
        timeout=scaled(20),
        check=False,
    )

    for descriptor in (writer,) if killed else (reader, writer):
        os.close(descriptor)
    assert done.returncode == status
    assert (site.settings.app.work_dir / "markers" / ".lock").exists() != killed
