"""Read a record in a test, by its directory alone."""

from __future__ import annotations

from pathlib import Path

from rra_state.config.models import SourceFiles
from rra_state.records import source
from rra_state.records.model import Record


def read_record(directory: Path, run: int, **limits: int) -> Record:
    """The record in `directory`, `.../<run>`, ready or not. limits: keys of the section `source_files`."""
    settings = SourceFiles(run_records_dir=directory.parent, **limits)
    return source.read_record(settings, run, even_if_open=True)
