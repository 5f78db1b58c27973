"""setup.txt to setup.fcl: the whole script as one string. Source: docs/design/run_records.md, Setup script."""

from __future__ import annotations

from rra_state.records import fhicl


def to_fhicl(data: bytes) -> bytes:
    """`setup_script: "..."` without a line end; `fhicl.unescape` of the value gives the script back byte for byte."""
    return f"setup_script: {fhicl.quote(data.decode('utf-8', 'surrogateescape'))}".encode("ascii")
