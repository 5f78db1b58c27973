"""Records that change: how, and what the stores and the tree then show."""

from __future__ import annotations

import json

from tests.site import Site

STOP = b"\nDAQInterface stop time: Thu Oct 17 18:50:25 UTC 2024\n"


def without_stop_time(site: Site, run: int) -> None:
    """Leave a run as a DAQ does that died, or is still taking data."""
    edit(site, run, lambda text: text[: text.index(b"\nDAQInterface stop time")])


def stop(site: Site, run: int) -> None:
    """Append the stop time, as the DAQ does."""
    edit(site, run, lambda text: text + STOP)


def edit(site: Site, run: int, change: object, name: str = "metadata.txt") -> None:
    path = site.records / str(run) / name
    path.chmod(0o644)
    text = path.read_bytes()
    assert callable(change)
    path.write_bytes(change(text))
    path.chmod(0o444)


def versions(site: Site, run: int) -> tuple[str, int]:
    """The newest version in artdaqDB, and how many versions UconDB has of all runs."""
    return site.archive.locate([run])[run].version.partition("/")[2], site.versions()


def refresh_markers(site: Site) -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted((site.work / "markers" / "refresh").glob("*.json"))]
