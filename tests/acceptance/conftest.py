"""The site fixture: real records, real stores, the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import in_process
from tests.servers import Folder
from tests.site import Site


@pytest.fixture
def site(tmp_path: Path, ucondb: Folder, request: pytest.FixtureRequest) -> Site:
    return in_process.chosen(request)(tmp_path, ucondb)
