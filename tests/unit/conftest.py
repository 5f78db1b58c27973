"""A small site for the tests of the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.unit.archive_site import Site


@pytest.fixture
def make_site(tmp_path: Path) -> Callable[..., Site]:
    """Make the site anew with these keys of `app`."""
    return lambda **app: Site(tmp_path, app)


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """A site with default settings, and nothing in it."""
    return Site(tmp_path)
