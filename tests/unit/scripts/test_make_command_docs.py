"""The reference of the command line has every option, as `-h` explains it."""

from __future__ import annotations

import re

from rra_state.cli import options
from scripts import make_command_docs


def test_the_page_is_up_to_date() -> None:
    assert make_command_docs.main(["--check"]) == 0


def test_every_option_and_command_is_in_the_page() -> None:
    page = make_command_docs.PAGE.read_text()

    known = set(re.findall(r"(?<![\w-])--[a-z-]+", options.parser().format_help()))
    assert known
    assert known <= set(re.findall(r"(?<![\w-])--[a-z-]+", page))
    assert "run-record-archiver unpack [-h] BLOB DIR" in page
