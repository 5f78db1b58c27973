"""Where the workflow's own files are: beside the package in a checkout, inside it in an installed wheel."""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
ROOT = _PACKAGE / "_files" if (_PACKAGE / "_files").is_dir() else _PACKAGE.parent
SNAKEFILE = ROOT / "workflow" / "Snakefile"
SCRIPTS = ROOT / "scripts"
PROFILES = ROOT / "workflow" / "profiles"
PROFILE = PROFILES / "default"
CLUSTER_PROFILE = PROFILES / "dask"
