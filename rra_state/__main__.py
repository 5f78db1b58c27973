"""`python -m rra_state CONFIG ...`."""

import os
import signal
import sys

for _number in (signal.SIGINT, signal.SIGTERM):
    # While the modules load there is nothing to finish; the command line sets its own handlers.
    signal.signal(_number, lambda *_: os._exit(130))

try:
    from rra_state.cli.main import main
except (MemoryError, OSError, ImportError) as _error:
    from rra_state.base import host_limits

    _refused = host_limits.refusal(_error)
    if _refused is None:
        raise
    sys.exit(str(_refused))

if __name__ == "__main__":
    raise SystemExit(main())
