"""`python -m rra_state CONFIG ...`."""

import os
import signal

for _number in (signal.SIGINT, signal.SIGTERM):
    # While the modules load there is nothing to finish; the command line sets its own handlers.
    signal.signal(_number, lambda *_: os._exit(130))

from rra_state.cli import main  # noqa: E402 - after the handlers

if __name__ == "__main__":
    raise SystemExit(main())
