"""What a worker does with a chunk of runs: import, migrate, refresh, verify."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import TYPE_CHECKING

import rra_state

if TYPE_CHECKING:
    import pandas as pd

_frame = rra_state.__dict__["stages"]  # not yet replaced by this module: Python does that once it is loaded


class _Stages(ModuleType):
    """The room, which bears the name of a public function, `rra_state.stages(config)` that has to work too."""

    def __call__(self, source: rra_state.Source) -> pd.DataFrame:
        """See `rra_state.stages`."""
        found: pd.DataFrame = _frame(source)
        return found


sys.modules[__name__].__class__ = _Stages
