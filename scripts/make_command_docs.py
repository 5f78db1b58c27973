"""Write docs/command_line.md, the reference of the command line, from what its `-h` prints."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from unittest import mock

from rra_state.cli import commands, options
from scripts.generated import write_or_check

PAGE = Path(__file__).resolve().parent.parent / "docs/command_line.md"

_PAGE = """\
# Command line

<!-- python -m scripts.make_command_docs writes this page. -->

What `run_archiver.sh -h` prints. `run-record-archiver` is the same program on hosts where it is installed. What to type
for which task: [Operate](operate.md), [Restore](restore.md), [Parameters](parameters.md).

```text
{options}```

RANGES are run numbers and ranges of them, with commas: `100-200,305`. Every key of the configuration file is in
[its reference](../config/README.md).

## Commands

```text
{commands}```

## Exit status

| status | meaning |
| --- | --- |
| 0 | success |
| 1 | a known error, a run that failed, or a verdict, comparison or check that is not SAFE or OK |
| 2 | an unexpected error, or an option that does not exist |
| 130 | interrupted |
"""


def page() -> str:
    """The whole page."""
    with mock.patch.dict(os.environ, COLUMNS="118"):  # argparse wraps its lines there
        return _PAGE.format(
            options=options.parser().format_help(), commands="\n".join(map(_help_of_command, commands.NAMES))
        )


def _help_of_command(name: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
        commands.main([name, "-h"])
    return printed.getvalue()


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the page, or look whether it is up to date; the exit status."""
    return write_or_check(arguments, "scripts.make_command_docs", {PAGE: page()})


if __name__ == "__main__":
    sys.exit(main())
