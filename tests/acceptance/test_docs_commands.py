"""Every command in the operators' pages that the README has not got already does what the page says."""

from __future__ import annotations

import pytest

from tests.acceptance import documented
from tests.site import Site

pytestmark = pytest.mark.in_process

COMMANDS = [
    each for each in documented.commands(*documented.DOCS) if each not in documented.commands(documented.README)
]
AS_PROCESSES = ("--order newest", "--runs 100-200,305")
"""Options that Snakemake's process has to be given, and that no other test gives to a real one."""


@pytest.mark.parametrize("command", [each for each in COMMANDS if each in documented.EXAMPLES])
def test_a_command_of_the_pages_does_what_it_is_for(command: str, site: Site) -> None:
    real = command.endswith(AS_PROCESSES)
    documented.check(command, site, documented.run if real else documented.run_in_process)


def test_every_command_of_the_pages_is_run_somewhere() -> None:
    known = documented.EXAMPLES.keys() | documented.ELSEWHERE.keys()

    assert sorted(set(COMMANDS) - known) == []
