"""The site fixture: real records, real stores, the real command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.acceptance.site import Site
from tests.servers import Folder


@pytest.fixture
def site(tmp_path: Path, ucondb: Folder) -> Site:
    return Site(tmp_path, ucondb)
