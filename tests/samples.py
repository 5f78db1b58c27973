"""Test data that lies in files: FHiCL vectors of this repository, and real run records where a machine has them."""

from __future__ import annotations

from pathlib import Path

import pytest

VECTORS = Path(__file__).parent / "data" / "fhicl_vectors.json"
"""FHiCL texts, each with the judgement of the real FHiCL library."""
RECORDS = Path(__file__).resolve().parents[2] / "shared" / "data" / "run_records"
"""Records that DAQInterface wrote. They belong to experiments and are no part of this repository."""

with_real_records = pytest.mark.skipif(
    not RECORDS.is_dir(), reason="not here: the real records, ../shared/data/run_records"
)
