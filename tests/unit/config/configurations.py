"""A small configuration, loaded from a file, or refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from rra_state.base.errors import ConfigError
from rra_state.config import loading
from rra_state.config.loading import Settings

SMALL = """\
app:
    work_dir: work
source_files:
    run_records_dir: records
artdaq_db:
    database_uri: filesystemdb:///srv/artdaqdb
ucon_db:
    server_url: http://localhost:9000/app
    folder_name: run_records
"""


def load(tmp_path: Path, text: str = SMALL, environ: dict[str, str] | None = None) -> Settings:
    file = tmp_path / "config.yaml"
    file.write_text(text, encoding="utf-8")
    return loading.load(file, environ or {})


def complaint(tmp_path: Path, text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    return str(caught.value).removeprefix(f"{tmp_path}/")
