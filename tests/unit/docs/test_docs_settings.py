"""Every piece of configuration in the pages is one that the archiver takes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from rra_state.config import loading
from rra_state.config.loading import Settings
from tests.paths import REPOSITORY

PAGES = [REPOSITORY / "README.md", *sorted((REPOSITORY / "docs").glob("*.md"))]
SMALLEST = {
    "app": {"work_dir": "/var/lib/rra"},
    "source_files": {"run_records_dir": "/daq/run_records"},
    "artdaq_db": {"database_uri": "filesystemdb:///srv/artdaqdb"},
    "ucon_db": {"server_url": "http://localhost:9000/app", "folder_name": "run_records"},
}

_INDENTED = re.compile(r"(?:^(?: {4}| {8}).*\n|^\n(?= {4}))+", re.MULTILINE)
_FENCED = re.compile(r"^```ya?ml\n(.*?)^```", re.MULTILINE | re.DOTALL)


def pieces() -> Iterator[tuple[str, dict[str, dict[str, object]]]]:
    """Every block that begins with the name of a section, and its page."""
    for page in PAGES:
        text = page.read_text()
        for block in [*_FENCED.findall(text), *_INDENTED.findall(text)]:
            first = block.strip().partition("\n")[0]
            if first.rstrip(":") in Settings.model_fields and first.endswith(":"):
                yield page.name, yaml.safe_load(block)


@pytest.mark.parametrize(("page", "piece"), list(pieces()))
def test_a_configuration_in_a_page_is_accepted(page: str, piece: dict[str, dict[str, object]], tmp_path: Path) -> None:
    merged = {section: SMALLEST.get(section, {}) | piece.get(section, {}) for section in SMALLEST.keys() | piece.keys()}
    file = tmp_path / "config.yaml"
    file.write_text(yaml.safe_dump(merged))
    names = dict.fromkeys(re.findall(r"\$\{([A-Z_]+)", file.read_text()), "json://localhost")

    loading.load(file, names)


def test_the_pages_have_such_pieces() -> None:
    assert len({page for page, _ in pieces()}) >= 2
